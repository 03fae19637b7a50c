"""What can be wrong with a client's source or replica: each stops that client, with a state that says why."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw

from client_manager.errors import Blocked, ClientManagerError, Conflict, Unavailable

_UNCHANGED: Final = "Nothing was changed in the replica."
_CONFIRM: Final = f"{_UNCHANGED} If it is to follow, run it again with --confirm and the schema's name."
_HINTS: Final = {
    "source_missing": f"{_UNCHANGED} Put the database back, or decommission the client.",
    "source_corrupt": f"{_UNCHANGED} It may be the last good copy; restore the client's database from a backup.",
    "source_replaced": _CONFIRM,
    "needs_confirmation": _CONFIRM,
    "source_busy": "Try again; if it stays so, give the client DATABASE_ENABLE_SQLITE_WAL=true.",
    "failed": f"{_UNCHANGED} Give it another name in the client's database, or report it.",
    "source_migrating": "Try again when the application's migration is over; if it failed, look at the client's logs.",
}
_TITLES: Final = {
    "source_missing": "The client's database is missing.",
    "source_corrupt": "The client's database cannot be read.",
    "source_replaced": "The client's database is another one than before.",
    "needs_confirmation": "This is not done before somebody has looked at it.",
    "source_busy": "The client's database could not be read without holding the application up.",
    "failed": "The client's database cannot be replicated as it is.",
    "source_migrating": "The application is in the middle of a migration.",
}
_BUSY: Final = (apsw.BusyError, apsw.LockedError)


class SourceTrouble(Exception):
    """The source is not fit to be replicated now.

    Attributes:
        status: the state that the client gets (``replication_state.status``).
        reason: what was seen.
    """

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason

    def as_error(self) -> ClientManagerError:
        """Return the error that a person is shown."""
        kind = Unavailable if self.status in ("source_busy", "source_migrating") else Blocked
        return kind(_TITLES[self.status], why=f"{self.reason}.", hint=_HINTS[self.status])


class Fenced(Conflict):
    """Another node has taken this client over, or has replicated it meanwhile."""


@contextmanager
def source_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system say about the source into trouble.

    Raises:
        SourceTrouble: damaged, locked, or not ours to read.
    """
    try:
        yield
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise SourceTrouble("source_corrupt", f"{path}: {error}") from error
    except _BUSY as error:
        raise SourceTrouble("source_busy", f"{path}: {error}") from error
    except (apsw.CantOpenError, apsw.ReadOnlyError, apsw.PermissionsError, apsw.IOError) as error:
        raise SourceTrouble("source_busy", f"{path} cannot be opened: {error}") from error
    except PermissionError as error:
        raise SourceTrouble("source_missing", f"{path} cannot be read: {error.strerror}") from error
