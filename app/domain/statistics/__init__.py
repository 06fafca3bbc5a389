"""What closed trades say of the strategy: results, flags, execution, hedges. Pure; shared by API, reports and research."""
