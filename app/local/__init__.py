"""The whole system on one machine, as real processes: what ``demo`` and ``run`` start, follow and stop."""
