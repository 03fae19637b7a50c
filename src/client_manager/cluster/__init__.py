"""Sync clusters as the operator sees them: their machines, their leader, their health."""
