"""The one process that orders: it feeds facts to the pure trade machine and carries out its commands."""
