"""Logging, metrics and latency stamps. Adapters and shells import this; the pure core does not."""
