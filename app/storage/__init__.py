"""The journal: the only truth about the past, with its SQLite and in-memory adapters and its migrations."""
