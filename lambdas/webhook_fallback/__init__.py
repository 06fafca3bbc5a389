"""The webhook without a server: authenticates, stamps, queues. The engine node judges, as it judges its own gateway's alerts."""
