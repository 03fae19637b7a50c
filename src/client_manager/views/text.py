"""Text that came from elsewhere, made safe to show; and the words for numbers and times."""

import re
from datetime import UTC, datetime
from typing import Final

# CSI, OSC and the other escape sequences of ECMA-48; a log line must not repaint the operator's screen.
_ESCAPE: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "m"))


def plain(text: str) -> str:
    """Return text without escape sequences and control characters; line breaks and tabs stay."""
    return _CONTROL.sub("", _ESCAPE.sub("", text))


def one_line(text: str) -> str:
    """Return text that came from elsewhere as one line, fit for a row of a list."""
    return " ".join(plain(text).split())


def age(since: datetime | None) -> str:
    """Return how long ago something was, in its largest unit: ``3d``, ``5h``, ``12m``, ``40s``."""
    return span(None if since is None else (datetime.now(UTC) - since).total_seconds())


def span(seconds: float | None) -> str:
    """Return how long something takes, in its largest unit, as ``age`` does; ``-`` where nobody knows."""
    if seconds is None:
        return "-"
    whole = max(0, int(seconds))
    return next((f"{whole // size}{unit}" for size, unit in _UNITS if whole >= size), f"{whole}s")


def size(count: int | None) -> str:
    """Return a size in bytes in the unit that operators type: ``512m``, ``2g``."""
    if count is None:
        return "no limit"
    for unit, power in (("g", 3), ("m", 2), ("k", 1)):
        if count % 1024**power == 0:
            return f"{count // 1024**power}{unit}"
    return f"{count} bytes"
