"""``quantcloud bridge``: what joins an engine node to AWS, in a process of its own. Trader and gateway know nothing of it."""
