"""The tenant's live database: looked at, never touched.

It is opened read-only and never checkpointed. A process that closes any descriptor of a file loses its locks on it,
SQLite's own included (https://www.sqlite.org/howtocorrupt.html section 2.2), so the plain descriptors of one file live
as long as its ``Source`` and there is one ``Source`` of a file in a process.
"""

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import apsw

from client_manager.replication.copies import PrivateCopy
from client_manager.replication.descriptors import Descriptor, open_live, open_private
from client_manager.replication.image import (
    HEADER_BYTES,
    FilePages,
    Header,
    LivePages,
    MalformedPage,
    Pages,
)
from client_manager.replication.trouble import SourceTrouble, source_errors
from client_manager.replication.wal import INDEX_HEADER_BYTES, IndexHeader, Overlay, open_log

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


class Source:
    """One SQLite database that another process may be writing."""

    def __init__(self, path: Path, copy: Path) -> None:
        """Look at ``path``; ``copy`` is where a private copy goes when the file cannot be read in place."""
        self.path = path.absolute()
        self._file = Descriptor(self.path)
        self._copy = PrivateCopy(self.path, copy, self._file)
        self._index = Descriptor(Path(f"{self.path}-shm"))
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
                self._copy.between_writes()
                reading = self._private_copy(header)
            elif self._in_use():
                reading = self._live(header)
            else:
                self._copy.of_closed()
                if self._in_use():
                    raise SourceTrouble("source_busy", f"{self.path} was opened while its copy was made")
                reading = self._private_copy(header)
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

    @contextmanager
    def _live(self, header: Header) -> Iterator[Snapshot]:
        connection = open_live(self.path)
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

    @contextmanager
    def _private_copy(self, header: Header) -> Iterator[Snapshot]:
        descriptor = os.open(self._copy.path, os.O_RDONLY | os.O_CLOEXEC)
        header = Header.parse(os.pread(descriptor, HEADER_BYTES, 0)) or header  # with what its log held
        connection = open_private(self._copy.path)
        try:
            connection.execute("BEGIN")
            yield Snapshot(
                connection,
                FilePages(descriptor),
                mark=None,
                written=[],
                copy=self._copy.path,
                inode=os.fstat(self._file.number).st_ino,
                change_counter=header.change_counter,
            )
        except MalformedPage as error:
            raise SourceTrouble("source_corrupt", f"{self.path}: {error}") from error
        finally:
            connection.close()
            os.close(descriptor)
