"""What can go wrong, each with its exit code.

::

    ClientManagerError                1
    ├─ InvalidInput                   2
    ├─ ConfigurationError             3
    ├─ Blocked                        4
    ├─ NotFound                       5
    ├─ Conflict                       6
    ├─ Unavailable                    7
    ├─ Undone                         8
    ├─ NoAnswer                       9
    └─ Cancelled                    130
       └─ Ended                     130
"""

from collections.abc import Callable
from enum import IntEnum
from signal import SIGTERM
from typing import ClassVar, TypeVar

T = TypeVar("T")


class ExitCode(IntEnum):
    """The exit codes of every command; the table in the docs is held equal by a test."""

    OK = 0
    FAILED = 1
    USAGE = 2
    CONFIGURATION = 3
    BLOCKED = 4
    NOT_FOUND = 5
    CONFLICT = 6
    UNAVAILABLE = 7
    UNDONE = 8
    NO_ANSWER = 9
    QUARANTINED = 10
    BUG = 70
    CANCELLED = 130


class ClientManagerError(Exception):
    """An error that a person is shown: what happened, why, and what to do next.

    None of the three may hold a secret, a URL with a password, or a driver's raw message with either.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED

    def __init__(self, what: str, *, why: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.hint = hint


class InvalidInput(ClientManagerError):
    """A value that the operator gave cannot be used."""

    exit_code = ExitCode.USAGE


class ConfigurationError(ClientManagerError):
    """A setting is missing or wrong, or a file of ours cannot be read as what it should be."""

    exit_code = ExitCode.CONFIGURATION


class Blocked(ClientManagerError):
    """A safety rule said no."""

    exit_code = ExitCode.BLOCKED


class NotFound(ClientManagerError):
    """The named thing does not exist."""

    exit_code = ExitCode.NOT_FOUND


class Conflict(ClientManagerError):
    """The name, port or container is taken, or another operator is at work on it."""

    exit_code = ExitCode.CONFLICT


class Unavailable(ClientManagerError):
    """Docker, PostgreSQL or nginx does not answer, or does not let us in."""

    exit_code = ExitCode.UNAVAILABLE


class Undone(ClientManagerError):
    """The operation failed, and everything it had done was taken back."""

    exit_code = ExitCode.UNDONE


class NoAnswer(ClientManagerError):
    """A question came up and nobody is there to answer it."""

    exit_code = ExitCode.NO_ANSWER


class Cancelled(ClientManagerError):
    """The operator pressed Ctrl-C, refused a confirmation, or the terminal went away."""

    exit_code = ExitCode.CANCELLED

    def __init__(self, what: str = "Interrupted.", *, why: str = "", hint: str = "") -> None:
        super().__init__(what, why=why, hint=hint)


class Ended(Cancelled):
    """A signal ends the program: whatever was being done is taken back, and nothing else is begun.

    Attributes:
        number: the signal's.
    """

    number: int = SIGTERM


def value_or_error(ask: Callable[[], T]) -> T | ClientManagerError:
    """Return what ``ask`` returns, or the error that it raises, for what shows either in the same place.

    Raises:
        Cancelled: whoever asks does not want to know any more.
    """
    try:
        return ask()
    except Cancelled:
        raise
    except ClientManagerError as error:
        return error
