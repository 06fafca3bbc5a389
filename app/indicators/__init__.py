"""Indicators on closed bars, in float64: pure NumPy and Numba, without look-ahead.

The stream node and research import this package; the trader never does (it reads published values).
"""
