"""Files as plain descriptors: followed by path, copied by slice; and databases, opened for reading."""

import os
import time
from pathlib import Path
from typing import Final
from urllib.parse import quote

import apsw

from client_manager.replication.image import SLICE_BYTES

_BUSY_TIMEOUT_MS: Final = 5000
LOCK_SLICE_S: Final = 0.15  # of the 0.25 s that a rollback-journal writer may wait for us


class Descriptor:
    """A plain descriptor of a path, opened anew only when the path leads to another file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = -1
        self._identity = (0, 0)
        self._past: list[int] = []

    def follow(self) -> os.stat_result | None:
        """Make the descriptor that of the file that the path leads to now; None where it leads nowhere."""
        try:
            found = os.stat(self.path)  # noqa: PTH116  this is the idle path: 2 us, where Path.stat takes 4
        except FileNotFoundError:
            return None
        if (found.st_dev, found.st_ino) != self._identity:
            if self.number >= 0:
                self._past.append(self.number)
            self.number = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            found = os.fstat(self.number)
            self._identity = (found.st_dev, found.st_ino)
        return found

    def close(self) -> None:
        """Close it; no SQLite connection of this process may be open on the file."""
        for number in (*self._past, self.number):
            if number >= 0:
                os.close(number)
        self.number, self._identity, self._past = -1, (0, 0), []


def open_live(path: Path) -> apsw.Connection:
    """Open a database that others write; it can only be read."""
    connection = apsw.Connection(
        f"file:{quote(str(path))}?mode=ro", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    )
    connection.set_busy_timeout(_BUSY_TIMEOUT_MS)
    connection.execute("PRAGMA query_only = 1")
    return connection


def open_private(path: Path) -> apsw.Connection:
    """Open a file of our own that nobody changes while it is open, without locks, journal or log."""
    return apsw.Connection(
        f"file:{quote(str(path))}?mode=ro&immutable=1", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    )


def copy_slices(source: int, target: int, at: int, size: int, *, limit_s: float = LOCK_SLICE_S) -> int:
    """Make the target equal from ``at`` on, for so long; return how far it came."""
    started = time.monotonic()
    while at < size and time.monotonic() - started < limit_s:
        piece = os.pread(source, 4 * SLICE_BYTES, at)
        if not piece:
            return size
        if os.pread(target, len(piece), at) != piece:
            os.pwrite(target, piece, at)
        at += len(piece)
    return at


def stat(path: Path) -> os.stat_result | None:
    """Return what the file system says of a file, or None where there is none."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None
