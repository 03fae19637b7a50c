"""What crosses rooms: one module for each operation that more than one feature takes part in."""
