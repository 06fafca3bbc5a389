"""Binance USD-M Futures in a box: a pure matching venue, market tapes, and thin servers over both.

``venue`` and ``tape`` are pure and deterministic, with injected time; ``rest``, ``streams`` and ``server`` are shells.
"""
