"""Funding rates every ten minutes: a metric, the site's parameter, and a word when a limit is crossed."""
