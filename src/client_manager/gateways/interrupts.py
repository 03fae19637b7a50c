"""The signals that end an operation early: Ctrl-C, a terminal that goes away, a polite kill."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from client_manager.errors import Cancelled

_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def install() -> None:
    """Make SIGTERM and SIGHUP raise ``Cancelled`` where the program is, so that it takes back what it was doing."""
    signal.signal(signal.SIGTERM, _cancel)
    signal.signal(signal.SIGHUP, _cancel)


@contextmanager
def deferred() -> Iterator[None]:
    """Let nothing interrupt the body; what arrives meanwhile takes effect after it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _cancel(number: int, _frame: FrameType | None) -> None:
    if number == signal.SIGHUP:
        _leave_the_terminal()
    raise Cancelled(f"Ended by {signal.Signals(number).name}.")


def _leave_the_terminal() -> None:
    """Point the standard streams at nothing: writing to a terminal that is gone would fail halfway through an undo."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    os.close(nothing)
