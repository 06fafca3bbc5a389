"""The operator's way in when away from the node: status, trades, and commands that the trader takes from its inbox."""
