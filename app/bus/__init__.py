"""The bus port (alerts in, market data across, leases) and its two adapters: Redis, and in-process."""
