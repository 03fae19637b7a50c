"""A client's replication as the operator sees it: registered, paused, run, looked at."""
