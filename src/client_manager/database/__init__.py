"""The database that the sync system keeps its state in: which it is, and what of the schema is applied."""
