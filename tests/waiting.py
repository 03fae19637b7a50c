"""Waiting for what another thread, process or container does a moment later."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

# Two cores have three tests at once, real containers among them, and may stand still for seconds.
PATIENCE_S: Final = 60


def until(condition: Callable[[], Any], within_s: float = PATIENCE_S, *, what: str = "") -> Any:
    """Wait for a condition, and return its first true value."""
    end = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {within_s} s: {what or condition}"
        time.sleep(0.01)
    return found


def is_gone(pid: int) -> bool:
    """Say whether a process has ended; one that waits for its parent's look has."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return status.rpartition(")")[2].split()[0] == "Z"
