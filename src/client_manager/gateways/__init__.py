"""The outside world, one file per thing; no foreign exception leaves this package."""
