"""One version of a SQLite database, page by page: a file that nobody writes, or a live one with its log.

The header is that of https://www.sqlite.org/fileformat2.html section 1.3.
"""

import os
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol

from client_manager.replication.wal import Overlay

HEADER_BYTES: Final = 100
SLICE_BYTES: Final = 256 * 1024  # comparing slices of this size runs at memory speed
_MAGIC: Final = b"SQLite format 3\x00"
_U32 = struct.Struct(">I").unpack_from
_U16 = struct.Struct(">H").unpack_from


class MalformedPage(Exception):
    """The bytes are not the page that was looked for."""


@dataclass(frozen=True)
class Header:
    """The fields of the database header that are used here; sizes in bytes."""

    page_size: int
    usable_bytes: int
    wal: bool
    change_counter: int
    page_count: int

    @classmethod
    def parse(cls, raw: bytes) -> "Header | None":
        """Return the header, or None where these are not the first bytes of a SQLite database."""
        if len(raw) < HEADER_BYTES or not raw.startswith(_MAGIC):
            return None
        page_size = _U16(raw, 16)[0]
        page_size = 65536 if page_size == 1 else page_size
        return cls(page_size, page_size - raw[20], raw[19] == 2, _U32(raw, 24)[0], _U32(raw, 28)[0])  # noqa: PLR2004


class Pages(Protocol):
    """One version of a database, page by page; the first page has number 1."""

    page_size: int
    usable_bytes: int
    count: int

    def page(self, number: int) -> bytes:
        """Return the page's bytes."""

    def read(self, first: int, buffer: bytearray) -> None:
        """Fill a buffer with pages as they stand in the file itself; with zeros beyond its end."""

    @property
    def overlaid(self) -> dict[int, int]:
        """The pages that do not stand in the file itself."""


class FilePages:
    """The pages of a database file that nobody writes meanwhile."""

    def __init__(self, descriptor: int) -> None:
        self.overlaid: dict[int, int] = {}
        raw = os.pread(descriptor, HEADER_BYTES, 0)
        header = Header.parse(raw)
        if header is None:
            raise MalformedPage("no database header")
        self._descriptor = descriptor
        self.page_size = header.page_size
        self.usable_bytes = header.usable_bytes
        self.count = os.fstat(descriptor).st_size // header.page_size

    def page(self, number: int) -> bytes:
        """Return the page's bytes."""
        return os.pread(self._descriptor, self.page_size, (number - 1) * self.page_size)

    def read(self, first: int, buffer: bytearray) -> None:
        """Fill a buffer with consecutive pages."""
        _read(self._descriptor, (first - 1) * self.page_size, buffer)


class LivePages:
    """The pages of a live database in WAL mode, as of one read transaction: frames of the log over the file."""

    def __init__(self, descriptor: int, header: Header, overlay: Overlay, count: int) -> None:
        self._descriptor = descriptor
        self._overlay = overlay
        self.page_size = header.page_size
        self.usable_bytes = header.usable_bytes
        self.count = count

    @property
    def overlaid(self) -> dict[int, int]:
        """The pages that the log holds."""
        return self._overlay.frames

    def page(self, number: int) -> bytes:
        """Return the page's bytes."""
        return self._overlay.page(number) or os.pread(self._descriptor, self.page_size, (number - 1) * self.page_size)

    def read(self, first: int, buffer: bytearray) -> None:
        """Fill a buffer with consecutive pages of the file itself."""
        _read(self._descriptor, (first - 1) * self.page_size, buffer)


def _read(descriptor: int, at: int, buffer: bytearray) -> None:
    """Read into memory that is used again: new memory for every slice takes the kernel longer than the comparison."""
    length = os.preadv(descriptor, [buffer], at)
    buffer[length:] = bytes(len(buffer) - length)


def differing_pages(old: Pages, new: Pages) -> set[int]:
    """Return the pages of either version that are not the same in the other."""
    common = min(old.count, new.count)
    differing = set(range(common + 1, max(old.count, new.count) + 1))
    overlaid = new.overlaid
    middle = common // 2
    with ThreadPoolExecutor(1, thread_name_prefix="compare") as other_half:  # reading lets the other one compare
        first = other_half.submit(_differing_in_file, old, new, range(1, middle + 1))
        differing |= _differing_in_file(old, new, range(middle + 1, common + 1)) - overlaid.keys()
        differing |= first.result() - overlaid.keys()
    differing.update(number for number in overlaid if number <= common and old.page(number) != new.page(number))
    return differing


def _differing_in_file(old: Pages, new: Pages, numbers: range) -> set[int]:
    differing: set[int] = set()
    size = old.page_size
    step = max(1, SLICE_BYTES // size)
    before, now = bytearray(step * size), bytearray(step * size)
    for first in numbers[::step]:
        pages = min(step, numbers.stop - first)
        if pages < step:
            before, now = bytearray(pages * size), bytearray(pages * size)
        old.read(first, before)
        new.read(first, now)
        if before != now:
            differing.update(
                first + at
                for at in range(pages)
                if before[at * size : (at + 1) * size] != now[at * size : (at + 1) * size]
            )
    return differing


def copy_pages(pages: Pages, target: int) -> None:
    """Write a version of a database into an open file."""
    step = max(1, 4 * SLICE_BYTES // pages.page_size)
    buffer = bytearray(step * pages.page_size)
    for first in range(1, pages.count + 1, step):
        pages.read(first, buffer)
        os.pwrite(target, buffer, (first - 1) * pages.page_size)
    for number in pages.overlaid:
        if number <= pages.count:
            os.pwrite(target, pages.page(number), (number - 1) * pages.page_size)
    os.ftruncate(target, pages.count * pages.page_size)
