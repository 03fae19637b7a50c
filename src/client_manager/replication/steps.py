"""Where a run can be cut off: at labelled steps by the fault tests, between batches by whoever has ordered it."""

from collections.abc import Callable
from typing import TypeAlias

Interrupt: TypeAlias = Callable[[], None]
"""Is called between phases and batches; what it raises ends the run, of which nothing takes effect."""

on_reach: Callable[[str], None] | None = None


def uninterrupted() -> None:
    """Go on."""


def reached(label: str) -> None:
    """Say that a step has been reached."""
    if on_reach is not None:
        on_reach(label)
