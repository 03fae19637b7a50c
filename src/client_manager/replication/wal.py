"""The write-ahead log beside a live database, and the shared header that says what is committed.

Layout: https://www.sqlite.org/walformat.html (WAL-index header, 48 bytes, twice) and fileformat2.html section 4.
"""

import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

INDEX_HEADER_BYTES: Final = 48
_FRAME_HEADER: Final = 24
_WAL_HEADER: Final = 32
_READ_AHEAD: Final = 1024 * 1024


@dataclass(frozen=True)
class IndexHeader:
    """The last committed state of the log: number of valid frames, pages of the database, and the log's salts."""

    raw: bytes
    frames: int
    pages: int
    salts: tuple[int, int]

    @classmethod
    def parse(cls, raw: bytes) -> "IndexHeader | None":
        """Return the header, or None while it is being written (its two copies differ) or where there is none yet."""
        first, second = raw[:INDEX_HEADER_BYTES], raw[INDEX_HEADER_BYTES : 2 * INDEX_HEADER_BYTES]
        if len(second) < INDEX_HEADER_BYTES or first != second or not first[12]:
            return None
        frames, pages = struct.unpack_from("=II", first, 16)
        return cls(first, frames, pages, struct.unpack_from(">II", first, 32))


@dataclass
class Overlay:
    """The committed frames of one log up to one moment: page number -> the last frame that holds it.

    Attributes:
        frames: page -> frame, counted from 0.
        order: the page of every frame.
    """

    descriptor: int
    page_size: int
    salts: tuple[int, int]
    frames: dict[int, int] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)

    def _at(self, frame: int) -> int:
        return _WAL_HEADER + frame * (_FRAME_HEADER + self.page_size)

    def is_current(self) -> bool:
        """Say whether the log is still the same; whoever restarts it writes its header before any frame.

        The salts of single frames say nothing: SQLite writes zeros there while a transaction that has spilled its cache
        goes on, and some versions leave them (observed with 3.40.1, whose readers never look).
        """
        header = os.pread(self.descriptor, _WAL_HEADER, 0)
        return len(header) == _WAL_HEADER and struct.unpack_from(">II", header, 16) == self.salts

    def extend(self, count: int) -> bool:
        """Read on until ``count`` frames are known; False where the log is another one by now."""
        size = _FRAME_HEADER + self.page_size
        while len(self.order) < count:
            wanted = min(count - len(self.order), max(1, _READ_AHEAD // size))
            raw = os.pread(self.descriptor, wanted * size, self._at(len(self.order)))
            if len(raw) < wanted * size or not self.is_current():
                return False
            for at in range(0, len(raw), size):
                (page,) = struct.unpack_from(">I", raw, at)
                self.frames[page] = len(self.order)
                self.order.append(page)
        return self.is_current()

    def page(self, number: int) -> bytes | None:
        """Return a page's bytes, or None where the file itself holds it.

        A writer restarts the log only when the file holds all of it; a log that is still the same after the page was
        read vouches for the page.
        """
        frame = self.frames.get(number)
        if frame is None:
            return None
        page = os.pread(self.descriptor, self.page_size, self._at(frame) + _FRAME_HEADER)
        return page if self.is_current() else None


def open_log(database: Path) -> int | None:
    """Return a descriptor of the log, which carries no locks, or None where there is none."""
    try:
        return os.open(f"{database}-wal", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
