"""The signals that end an operation early: Ctrl-C, a terminal that goes away, a polite kill."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Final, TypeVar

from client_manager.errors import Ended

T = TypeVar("T")

_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AGAIN_S: Final = 0.02
_LOOK_S: Final = 0.2

Unraisable = Callable[["sys.UnraisableHookArgs"], object]


def install() -> None:
    """Make SIGTERM and SIGHUP raise ``Ended`` where the program is, so that it takes back what it was doing.

    Where that is a finalizer, or another place whose errors Python drops, the signal strikes again a moment later; so
    does Ctrl-C.
    """
    signal.signal(signal.SIGTERM, _cancel)
    signal.signal(signal.SIGHUP, _cancel)
    if not isinstance(sys.unraisablehook, _StrikesAgain):
        sys.unraisablehook = _StrikesAgain(sys.unraisablehook)


@dataclass(frozen=True)
class _StrikesAgain:
    """Hears of every error that Python drops: docs.python.org, sys.unraisablehook."""

    others: Unraisable

    def __call__(self, dropped: "sys.UnraisableHookArgs") -> None:
        number = _number_of(dropped.exc_value)
        if number is None or sys.is_finalizing():
            self.others(dropped)
            return
        main = threading.main_thread().ident
        again = threading.Timer(_AGAIN_S, signal.pthread_kill, (main, number))
        again.daemon = True
        again.start()


def _number_of(error: BaseException | None) -> int | None:
    if isinstance(error, Ended):
        return error.number
    return signal.SIGINT if isinstance(error, KeyboardInterrupt) else None


@contextmanager
def deferred() -> Iterator[None]:
    """Let nothing interrupt the body; what arrives meanwhile takes effect after it, unless the body itself fails."""
    with _collected(lambda: None) as arrived:
        yield
    if arrived:
        signal.raise_signal(arrived[0])


@contextmanager
def told(end: Callable[[], object]) -> Iterator[list[int]]:
    """Let nothing interrupt the body, which ends itself when it is told to; then what arrived takes effect.

    For an event loop: what is raised in one of its callbacks it keeps to itself (asyncio, ``Handle._run``).

    Args:
        end: called by each signal, wherever the body is then; must not raise.

    Yields:
        What has arrived.
    """
    arrived: list[int] = []
    try:
        with _collected(end) as arrived:
            yield arrived
    finally:
        if arrived:
            signal.raise_signal(arrived[0])


def hearing(coming: Future[T]) -> T:
    """Return what a thread reads that may wait without end, and hear every signal meanwhile.

    Python runs handlers between its instructions only: a signal that arrives just before a read blocks, or that the
    kernel gives to another thread, would be heard when that read ends (docs.python.org, signal).
    """
    while not wait((coming,), timeout=_LOOK_S).done:
        continue
    return coming.result()


@contextmanager
def _collected(tell: Callable[[], object]) -> Iterator[list[int]]:
    """Note signals instead of being interrupted by them, and tell of each.

    By handlers, since a signal is blocked for one thread only: the kernel gives it to another, such as the one that
    draws the progress, and Python then interrupts the main thread all the same.
    """
    arrived: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # nothing interrupts it anyway
        yield arrived
        return

    def note(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            _leave_the_terminal()
        arrived.append(number)
        tell()

    before = {number: signal.getsignal(number) or signal.SIG_DFL for number in _ENDING}
    try:
        for number in _ENDING:
            signal.signal(number, note)
        yield arrived
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _cancel(number: int, _frame: FrameType | None) -> None:
    if number == signal.SIGHUP:
        _leave_the_terminal()
    ended = Ended(f"Ended by {signal.Signals(number).name}.")
    ended.number = number
    raise ended


def _leave_the_terminal() -> None:
    """Point the standard streams at nothing: writing to a terminal that is gone would fail halfway through an undo."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    os.close(nothing)
