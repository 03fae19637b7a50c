"""The tenant's live database: looked at, never touched.

It is opened read-only and never checkpointed. A process that closes any descriptor of a file loses its locks on it,
SQLite's own included (https://www.sqlite.org/howtocorrupt.html section 2.2), so the plain descriptors of one file live
as long as its ``Source`` and there is one ``Source`` of a file in a process.
"""

import fcntl
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

import apsw

from client_manager.replication.image import (
    HEADER_BYTES,
    SLICE_BYTES,
    FilePages,
    Header,
    LivePages,
    MalformedPage,
    Pages,
)
from client_manager.replication.trouble import SourceTrouble, source_errors
from client_manager.replication.wal import INDEX_HEADER_BYTES, IndexHeader, Overlay, open_log

BLOCKING_BUDGET_S: Final = 0.25  # how long a rollback-journal writer may wait for us
_LOCK_SLICE_S: Final = 0.15
_COPY_PATIENCE_S: Final = 20.0
_BUSY_TIMEOUT_MS: Final = 5000
_SNAPSHOT_TRIES: Final = 1000
_COUNTERS_AT: Final = 24  # change counter, page count, free list: two commits may share a time stamp
_COUNTER_BYTES: Final = 20
_SHM_ALIVE_BYTE: Final = 128  # UNIX_SHM_DMS of SQLite's os_unix.c: locked by every connection that uses the index
_open_files: dict[tuple[int, int], Path] = {}


@dataclass(frozen=True)
class Mark:
    """Where in the log a baseline stands: so many frames of the log with these salts."""

    frames: int
    salts: tuple[int, int]


@dataclass(frozen=True)
class Snapshot:
    """One committed state of the source.

    Attributes:
        connection: reads it by SQL.
        pages: reads it by page.
        mark: where in the log it stands; None where there is no log.
        written: the page of every frame of the log up to the mark, in order.
        copy: a private file that is this state, where one had to be made.
        inode: of the source.
        change_counter: of the source's header.
    """

    connection: apsw.Connection
    pages: Pages
    mark: Mark | None
    written: list[int]
    copy: Path | None
    inode: int
    change_counter: int


class _Descriptor:
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


class Source:
    """One SQLite database that another process may be writing."""

    def __init__(self, path: Path, copy: Path) -> None:
        """Look at ``path``; ``copy`` is where a private copy goes when the file cannot be read in place."""
        self.path = path.absolute()
        self._copy = copy
        self._file = _Descriptor(self.path)
        self._index = _Descriptor(Path(f"{self.path}-shm"))
        self._overlay: Overlay | None = None
        self._registered: tuple[int, int] | None = None

    def close(self) -> None:
        """Give the descriptors back."""
        self._drop_overlay()
        self._file.close()
        self._index.close()
        if self._registered:
            _open_files.pop(self._registered, None)
            self._registered = None

    def fingerprint(self) -> list[int | str] | None:
        """Return what changes with every commit, from a few bytes and no lock.

        None where that cannot be told: the snapshot then says why.

        In WAL mode this is the index header: size and time of the log detect no change (Litestream 1037, 1083).
        """
        try:
            file = self._file.follow()
        except PermissionError:
            return None
        if file is None:
            return None
        counters = os.pread(self._file.number, _COUNTER_BYTES, _COUNTERS_AT).hex()
        stat: list[int | str] = [file.st_ino, file.st_size, file.st_mtime_ns, counters]
        if self._index.follow() is not None:
            raw = os.pread(self._index.number, 2 * INDEX_HEADER_BYTES, 0)
            header = IndexHeader.parse(raw)
            return [*stat, header.raw.hex()] if header else None
        try:
            log = os.stat(f"{self.path}-wal")  # noqa: PTH116
        except FileNotFoundError:
            return [*stat, "file"]
        return [*stat, log.st_ino, log.st_size, log.st_mtime_ns]

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Hold one committed state of the source.

        Raises:
            SourceTrouble: it is missing, empty, damaged, encrypted, or too busy to be read within the budget.
        """
        with source_errors(self.path):
            header = self._header()
            if not header.wal:
                self._copy_between_writes()
                reading = self._private_copy(header)
            elif self._in_use():
                reading = self._live(header)
            else:
                reading = self._copy_of_closed(header)
            with reading as snapshot:
                yield snapshot

    def _header(self) -> Header:
        file = self._file.follow()
        if file is None:
            raise SourceTrouble("source_missing", f"{self.path} does not exist")
        self._register(file)
        raw = os.pread(self._file.number, HEADER_BYTES, 0)
        if not raw:
            raise SourceTrouble("source_missing", f"{self.path} is empty (0 bytes)")
        header = Header.parse(raw)
        if header is None:
            raise SourceTrouble("source_corrupt", f"{self.path} is not a SQLite database, or is encrypted")
        return header

    def _register(self, file: os.stat_result) -> None:
        identity = (file.st_dev, file.st_ino)
        if identity == self._registered:
            return
        if identity in _open_files:
            raise SourceTrouble("source_busy", f"{self.path} is being replicated by this process already")
        if self._registered:
            _open_files.pop(self._registered, None)
        _open_files[identity] = self.path
        self._registered = identity

    def _in_use(self) -> bool:
        """Say whether a process has the database open in WAL mode: only then is the shared index to be trusted."""
        if self._index.follow() is None:
            return False
        question = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, _SHM_ALIVE_BYTE, 1, 0)
        answer = fcntl.fcntl(self._index.number, fcntl.F_GETLK, question)
        return bool(struct.unpack("hhqqi4x", answer)[0] != fcntl.F_UNLCK)

    def _connect(self) -> apsw.Connection:
        connection = apsw.Connection(
            f"file:{quote(str(self.path))}?mode=ro", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        )
        connection.set_busy_timeout(_BUSY_TIMEOUT_MS)
        connection.execute("PRAGMA query_only = 1")
        return connection

    @contextmanager
    def _live(self, header: Header) -> Iterator[Snapshot]:
        connection = self._connect()
        try:
            index = self._begin(connection)
            overlay = self._log_up_to(index, header)
            in_file = os.fstat(self._file.number).st_size // header.page_size
            pages = LivePages(self._file.number, header, overlay, index.pages if index.frames else in_file)
            first = Header.parse(pages.page(1)[:HEADER_BYTES])
            yield Snapshot(
                connection,
                pages,
                mark=Mark(index.frames, index.salts),
                written=overlay.order,
                copy=None,
                inode=os.fstat(self._file.number).st_ino,
                change_counter=first.change_counter if first else 0,
            )
        finally:
            connection.close()

    def _begin(self, connection: apsw.Connection) -> IndexHeader:
        """Begin a read transaction whose snapshot is exactly the header that stood before and after it began."""
        for _ in range(_SNAPSHOT_TRIES):
            before = self._index_header()
            connection.execute("BEGIN")
            connection.execute("SELECT 1 FROM sqlite_schema").fetchall()
            if before is not None and self._index_header() == before:
                return before
            connection.execute("ROLLBACK")
        raise SourceTrouble("source_busy", f"{self.path} is written without a pause")

    def _index_header(self) -> IndexHeader | None:
        self._index.follow()
        return IndexHeader.parse(os.pread(self._index.number, 2 * INDEX_HEADER_BYTES, 0))

    def _log_up_to(self, index: IndexHeader, header: Header) -> Overlay:
        """Return the frames of the snapshot; none where a writer has restarted the log, for then the file holds all."""
        if self._overlay and self._overlay.salts == index.salts and self._overlay.extend(index.frames):
            return self._overlay
        self._drop_overlay()
        descriptor = open_log(self.path) if index.frames else None
        if descriptor is None:
            return Overlay(-1, header.page_size, index.salts)
        self._overlay = Overlay(descriptor, header.page_size, index.salts)
        if self._overlay.extend(index.frames):
            return self._overlay
        self._drop_overlay()
        return Overlay(-1, header.page_size, index.salts)

    def _drop_overlay(self) -> None:
        if self._overlay:
            os.close(self._overlay.descriptor)
            self._overlay = None

    def _copy_between_writes(self) -> None:
        """Copy a rollback-journal database under short read locks.

        A reader keeps the writer from committing, so the lock is let go every 150 ms; an unchanged counter at its next
        turn says that all turns read one state. What the last copy holds already is not written again.

        Raises:
            SourceTrouble: no such pause came within 20 s.
        """
        connection = self._connect()
        deadline = time.monotonic() + _COPY_PATIENCE_S
        target = os.open(self._copy, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while not self._copy_once(connection, target):
                if time.monotonic() > deadline:
                    raise SourceTrouble(
                        "source_busy",
                        f"{self.path} uses a rollback journal and is written so often that no unblocking look at it"
                        f" succeeded in {_COPY_PATIENCE_S:.0f} s",
                    )
        finally:
            os.close(target)
            connection.close()

    def _copy_once(self, connection: apsw.Connection, target: int) -> bool:
        at, state = 0, b""
        while True:
            connection.execute("BEGIN")
            connection.execute("SELECT 1 FROM sqlite_schema").fetchall()
            try:
                size = os.fstat(self._file.number).st_size
                now = os.pread(self._file.number, HEADER_BYTES, 0)
                if at and now != state:
                    return False
                state = now
                at = _copy_slices(self._file.number, target, at, size)
            finally:
                connection.execute("ROLLBACK")
            if at >= size:
                os.ftruncate(target, size)
                return True

    @contextmanager
    def _copy_of_closed(self, header: Header) -> Iterator[Snapshot]:
        """Hold the state of a WAL database that nobody has open: copy file and log, and let SQLite read the copy."""
        before = self._closed_state()
        target = os.open(self._copy, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(self._file.number).st_size
            _copy_slices(self._file.number, target, 0, size, limit_s=float("inf"))
            os.ftruncate(target, size)
        finally:
            os.close(target)
        self._copy_log()
        if before != self._closed_state() or self._in_use():
            raise SourceTrouble("source_busy", f"{self.path} was opened while its copy was made")
        private = apsw.Connection(str(self._copy))
        try:
            private.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            private.close()
        with self._private_copy(header) as snapshot:
            yield snapshot

    def _copy_log(self) -> None:
        for suffix in ("-wal", "-shm", "-journal"):
            Path(f"{self._copy}{suffix}").unlink(missing_ok=True)
        log = open_log(self.path)
        if log is None:
            return
        target = os.open(f"{self._copy}-wal", os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _copy_slices(log, target, 0, os.fstat(log).st_size, limit_s=float("inf"))
        finally:
            os.close(target)
            os.close(log)

    def _closed_state(self) -> list[object]:
        return [
            (found.st_ino, found.st_size, found.st_mtime_ns) if found else None
            for found in (_stat(self.path), _stat(Path(f"{self.path}-wal")))
        ]

    @contextmanager
    def _private_copy(self, header: Header) -> Iterator[Snapshot]:
        descriptor = os.open(self._copy, os.O_RDONLY | os.O_CLOEXEC)
        header = Header.parse(os.pread(descriptor, HEADER_BYTES, 0)) or header  # with what its log held
        connection = open_private(self._copy)
        try:
            connection.execute("BEGIN")
            yield Snapshot(
                connection,
                FilePages(descriptor),
                mark=None,
                written=[],
                copy=self._copy,
                inode=os.fstat(self._file.number).st_ino,
                change_counter=header.change_counter,
            )
        except MalformedPage as error:
            raise SourceTrouble("source_corrupt", f"{self.path}: {error}") from error
        finally:
            connection.close()
            os.close(descriptor)


def open_private(path: Path) -> apsw.Connection:
    """Open a file of our own that nobody changes while it is open, without locks, journal or log."""
    return apsw.Connection(
        f"file:{quote(str(path))}?mode=ro&immutable=1", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    )


def _copy_slices(source: int, target: int, at: int, size: int, *, limit_s: float = _LOCK_SLICE_S) -> int:
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


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None
