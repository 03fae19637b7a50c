"""Faults on real containers and a real server; docs/faults.md has what came of them."""
