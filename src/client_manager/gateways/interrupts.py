"""The signals that end an operation early: Ctrl-C, a terminal that goes away, a polite kill."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from client_manager.errors import Ended

_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def install() -> None:
    """Make SIGTERM and SIGHUP raise ``Ended`` where the program is, so that it takes back what it was doing."""
    signal.signal(signal.SIGTERM, _cancel)
    signal.signal(signal.SIGHUP, _cancel)


@contextmanager
def deferred() -> Iterator[None]:
    """Let nothing interrupt the body; what arrives meanwhile takes effect after it, unless the body itself fails.

    By handlers, since a signal is blocked for one thread only: the kernel gives it to another, such as the one that
    draws the progress, and Python then interrupts the main thread all the same.
    """
    if threading.current_thread() is not threading.main_thread():  # nothing interrupts it anyway
        yield
        return
    arrived: list[int] = []
    before = {number: signal.getsignal(number) or signal.SIG_DFL for number in _ENDING}
    try:
        for number in _ENDING:
            signal.signal(number, lambda number, _frame: arrived.append(number))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if arrived:
        signal.raise_signal(arrived[0])


def _cancel(number: int, _frame: FrameType | None) -> None:
    if number == signal.SIGHUP:
        _leave_the_terminal()
    raise Ended(f"Ended by {signal.Signals(number).name}.")


def _leave_the_terminal() -> None:
    """Point the standard streams at nothing: writing to a terminal that is gone would fail halfway through an undo."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    os.close(nothing)
