"""Yesterday, seven and thirty days, from the journal's exports: HTML and JSON to the bucket, a summary to people."""
