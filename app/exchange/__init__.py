"""The exchange port, its two adapters (ccxt over sockets; straight onto the simulated venue) and the error tree.

Shells import the port; only the composition root picks an adapter.
"""
