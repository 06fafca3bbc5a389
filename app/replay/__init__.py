"""``quantcloud replay``: recorded days through the code that trades, in one process under virtual time.

Gateway parsing, trader, the stream node's readings and the venue, joined by the in-memory adapters. Only ``app.cli`` imports it.
"""
