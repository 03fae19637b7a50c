"""The labelled steps of a run, where the fault tests cut it off."""

from collections.abc import Callable

on_reach: Callable[[str], None] | None = None


def reached(label: str) -> None:
    """Say that a step has been reached."""
    if on_reach is not None:
        on_reach(label)
