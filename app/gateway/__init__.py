"""HTTP in: authenticate, parse, make durable, answer in time. Never talks to the exchange."""
