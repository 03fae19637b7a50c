"""Waiting for an outside thing, but only so long, whatever it waits for itself."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from client_manager.errors import Unavailable

T = TypeVar("T")


def within(timeout_s: float, ask: Callable[[], T], who: str) -> T:
    """Return what ``ask`` returns; one that hangs is left behind in a thread, which ends with the program.

    A driver's own timeouts are for one step each (a name, an address, a packet); this one is for all of them.

    Args:
        timeout_s: how long to wait, in seconds.
        ask: what is done in a thread of its own; must write nothing.
        who: the subject of the sentence that it did not answer.

    Raises:
        Unavailable: there was no answer in time.
    """
    asking = Asking(ask)
    asking.join(timeout_s)
    if asking.is_alive():
        raise Unavailable(
            f"{who} did not answer in time.",
            why=f"Nothing came within {timeout_s:g} s.",
            hint="See whether the machine or the network is overloaded, then try again.",
        )
    return asking.answer()


class Asking(threading.Thread, Generic[T]):
    """One question under way from now on; the end of the program does not wait for it."""

    def __init__(self, ask: Callable[[], T]) -> None:
        super().__init__(daemon=True)
        self._ask = ask
        self._answers: list[T] = []
        self._error: Exception | None = None
        self.start()

    def run(self) -> None:
        """Ask."""
        try:
            self._answers.append(self._ask())
        except Exception as error:  # noqa: BLE001  whoever waits raises it
            self._error = error

    def answer(self) -> T:
        """Wait for the answer, however long it takes, and return it, or raise what it was instead."""
        self.join()
        if self._error is not None:
            raise self._error
        return self._answers[0]
