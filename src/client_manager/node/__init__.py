"""The sync node itself: it elects a leader, and the leader replicates the clients of its machine."""
