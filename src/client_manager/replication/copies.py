"""A private copy of a source that cannot be read in place: in rollback-journal mode, or when nobody has it open."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import apsw

from client_manager.replication.descriptors import Descriptor, copy_slices, open_live, stat
from client_manager.replication.image import HEADER_BYTES
from client_manager.replication.trouble import SourceTrouble
from client_manager.replication.wal import open_log

_COPY_PATIENCE_S: Final = 20.0


@dataclass(frozen=True)
class PrivateCopy:
    """The copy of one source.

    Attributes:
        file: the descriptor of the source that stays open; another one, closed, would take SQLite's locks with it.
    """

    source: Path
    path: Path
    file: Descriptor

    def between_writes(self) -> None:
        """Copy a rollback-journal database under short read locks.

        A reader keeps the writer from committing, so the lock is let go every 150 ms; an unchanged counter at its next
        turn says that all turns read one state. What the last copy holds already is not written again.

        Raises:
            SourceTrouble: no such pause came within 20 s.
        """
        connection = open_live(self.source)
        deadline = time.monotonic() + _COPY_PATIENCE_S
        target = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while not self._once(connection, target):
                if time.monotonic() > deadline:
                    raise SourceTrouble(
                        "source_busy",
                        f"{self.source} uses a rollback journal and is written so often that no unblocking look at it"
                        f" succeeded in {_COPY_PATIENCE_S:.0f} s",
                    )
        finally:
            os.close(target)
            connection.close()

    def _once(self, connection: apsw.Connection, target: int) -> bool:
        at, state = 0, b""
        while True:
            connection.execute("BEGIN")
            connection.execute("SELECT 1 FROM sqlite_schema").fetchall()
            try:
                size = os.fstat(self.file.number).st_size
                now = os.pread(self.file.number, HEADER_BYTES, 0)
                if at and now != state:
                    return False
                state = now
                at = copy_slices(self.file.number, target, at, size)
            finally:
                connection.execute("ROLLBACK")
            if at >= size:
                os.ftruncate(target, size)
                return True

    def of_closed(self) -> None:
        """Copy a WAL database that nobody has open: file and log, which SQLite then brings together in the copy.

        Raises:
            SourceTrouble: it was written meanwhile.
        """
        before = self._closed_state()
        target = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(self.file.number).st_size
            copy_slices(self.file.number, target, 0, size, limit_s=float("inf"))
            os.ftruncate(target, size)
        finally:
            os.close(target)
        self._copy_of_log()
        if before != self._closed_state():
            raise SourceTrouble("source_busy", f"{self.source} was written while its copy was made")
        private = apsw.Connection(str(self.path))
        try:
            private.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            private.close()

    def _copy_of_log(self) -> None:
        for suffix in ("-wal", "-shm", "-journal"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        log = open_log(self.source)
        if log is None:
            return
        target = os.open(f"{self.path}-wal", os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            copy_slices(log, target, 0, os.fstat(log).st_size, limit_s=float("inf"))
        finally:
            os.close(target)
            os.close(log)

    def _closed_state(self) -> list[object]:
        return [
            (found.st_ino, found.st_size, found.st_mtime_ns) if found else None
            for found in (stat(self.source), stat(Path(f"{self.source}-wal")))
        ]
