"""Every trading decision, as pure code: no I/O, no clock, no randomness, no logging.

Anything may import this package; it imports nothing of the others.
"""
