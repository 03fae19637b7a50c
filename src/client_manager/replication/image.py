"""Pages of one version of a SQLite database, and its table b-trees, read from the bytes.

The format is https://www.sqlite.org/fileformat2.html, sections 1.3 (header), 1.6 (b-tree pages) and 1.7 (overflow).
What is parsed here only narrows down where SQLite itself compares; a wrong parse must cost time, never a row.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from client_manager.replication.wal import Overlay

TABLE_LEAF: Final = 0x0D
TABLE_INTERIOR: Final = 0x05
HEADER_BYTES: Final = 100
SLICE_BYTES: Final = 256 * 1024  # comparing slices of this size runs at memory speed
_MAGIC: Final = b"SQLite format 3\x00"
_U32 = struct.Struct(">I").unpack_from
_U16 = struct.Struct(">H").unpack_from
_DEPTH: Final = 20  # SQLite's own limit (BTCURSOR_MAX_DEPTH)


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

    def slice(self, first: int, pages: int) -> bytes:
        """Return consecutive pages as they stand in the file itself."""

    @property
    def overlaid(self) -> frozenset[int] | dict[int, int]:
        """The pages that do not stand in the file itself."""


class FilePages:
    """The pages of a database file that nobody writes meanwhile."""

    overlaid: frozenset[int] = frozenset()

    def __init__(self, descriptor: int) -> None:
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

    def slice(self, first: int, pages: int) -> bytes:
        """Return consecutive pages."""
        return os.pread(self._descriptor, pages * self.page_size, (first - 1) * self.page_size)


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

    def slice(self, first: int, pages: int) -> bytes:
        """Return consecutive pages of the file itself."""
        return os.pread(self._descriptor, pages * self.page_size, (first - 1) * self.page_size)


def differing_pages(old: Pages, new: Pages) -> set[int]:
    """Return the pages of either version that are not the same in the other."""
    common = min(old.count, new.count)
    differing = set(range(common + 1, max(old.count, new.count) + 1))
    overlaid = new.overlaid
    size = old.page_size
    step = max(1, SLICE_BYTES // size)
    for first in range(1, common + 1, step):
        pages = min(step, common + 1 - first)
        before, now = old.slice(first, pages), new.slice(first, pages)
        if before != now:
            differing.update(
                first + at
                for at in range(pages)
                if before[at * size : (at + 1) * size] != now[at * size : (at + 1) * size]
                and first + at not in overlaid
            )
    differing.update(number for number in overlaid if number <= common and old.page(number) != new.page(number))
    return differing


def copy_pages(pages: Pages, target: int) -> None:
    """Write a version of a database into an open file."""
    step = max(1, 4 * SLICE_BYTES // pages.page_size)
    for first in range(1, pages.count + 1, step):
        os.pwrite(target, pages.slice(first, min(step, pages.count + 1 - first)), (first - 1) * pages.page_size)
    for number in pages.overlaid:
        if number <= pages.count:
            os.pwrite(target, pages.page(number), (number - 1) * pages.page_size)
    os.ftruncate(target, pages.count * pages.page_size)


def varint(page: bytes, at: int) -> tuple[int, int]:
    """Return a variable-length integer and where it ends."""
    value = 0
    for index in range(at, at + 8):
        byte = page[index]
        value = (value << 7) | (byte & 0x7F)
        if byte < 0x80:  # noqa: PLR2004
            return value, index + 1
    return (value << 8) | page[at + 8], at + 9


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def page_type(page: bytes, number: int) -> int:
    """Return the b-tree type byte; of an overflow or free page it means nothing."""
    return page[HEADER_BYTES if number == 1 else 0] if page else 0


def children(page: bytes, number: int) -> tuple[list[int], list[int]]:
    """Return the child pages of an interior table page, and the largest rowid below each but the last.

    Raises:
        MalformedPage: it is no such page.
    """
    start = HEADER_BYTES if number == 1 else 0
    try:
        if page[start] != TABLE_INTERIOR:
            raise MalformedPage(f"page {number} is no interior page of a table")
        cells = _U16(page, start + 3)[0]
        below: list[int] = []
        keys: list[int] = []
        for (cell,) in struct.iter_unpack(">H", page[start + 12 : start + 12 + 2 * cells]):
            below.append(_U32(page, cell)[0])
            keys.append(_signed(varint(page, cell + 4)[0]))
        below.append(_U32(page, start + 8)[0])
    except (IndexError, struct.error) as error:
        raise MalformedPage(f"page {number} is cut short") from error
    return below, keys


@dataclass(frozen=True)
class Leaf:
    """What a leaf page of a table holds: rowids in order, and the first overflow page of those rows that have one."""

    rowids: list[int]
    overflows: list[tuple[int, int]]


def leaf(page: bytes, number: int, usable_bytes: int) -> Leaf:
    """Return the rows of a leaf page.

    Raises:
        MalformedPage: it is no such page.
    """
    start = HEADER_BYTES if number == 1 else 0
    largest = usable_bytes - 35
    smallest = (usable_bytes - 12) * 32 // 255 - 23
    rowids: list[int] = []
    overflows: list[tuple[int, int]] = []
    try:
        if page[start] != TABLE_LEAF:
            raise MalformedPage(f"page {number} is no leaf of a table")
        cells = _U16(page, start + 3)[0]
        for (cell,) in struct.iter_unpack(">H", page[start + 8 : start + 8 + 2 * cells]):
            payload, at = varint(page, cell)
            rowid, at = varint(page, at)
            rowids.append(_signed(rowid))
            if payload > largest:
                local = smallest + (payload - smallest) % (usable_bytes - 4)
                overflows.append((rowids[-1], _U32(page, at + (local if local <= largest else smallest))[0]))
    except (IndexError, struct.error) as error:
        raise MalformedPage(f"page {number} is cut short") from error
    return Leaf(rowids, overflows)


def chain(pages: Pages, first: int) -> Iterator[int]:
    """Yield the overflow pages that begin with ``first``."""
    number = first
    for _ in range(pages.count):
        if not 0 < number <= pages.count:
            return
        yield number
        number = _U32(pages.page(number), 0)[0]


def path(pages: Pages, root: int, rowid: int) -> list[int]:
    """Return the pages from the root of a table down to the leaf where ``rowid`` is or would be.

    Raises:
        MalformedPage: the root is no table's.
    """
    number = root
    passed: list[int] = []
    for _ in range(_DEPTH):
        page = pages.page(number)
        passed.append(number)
        if page_type(page, number) == TABLE_LEAF:
            return passed
        number = _child(page, number, rowid)
    raise MalformedPage(f"the b-tree of page {root} has no end")


def _child(page: bytes, number: int, rowid: int) -> int:
    """Return the page below an interior one that the rowid leads to; only the cells on the way are read."""
    start = HEADER_BYTES if number == 1 else 0
    try:
        if page[start] != TABLE_INTERIOR:
            raise MalformedPage(f"page {number} is no interior page of a table")
        cells = _U16(page, start + 3)[0]
        low, high = 0, cells
        while low < high:
            middle = (low + high) // 2
            cell = _U16(page, start + 12 + 2 * middle)[0]
            low, high = (low, middle) if rowid <= _signed(varint(page, cell + 4)[0]) else (middle + 1, high)
        at = _U16(page, start + 12 + 2 * low)[0] if low < cells else start + 8
        return int(_U32(page, at)[0])
    except (IndexError, struct.error) as error:
        raise MalformedPage(f"page {number} is cut short") from error


def leaves(pages: Pages, root: int) -> Iterator[int]:
    """Yield the leaf pages of a table in the order of their rowids.

    Raises:
        MalformedPage: a page of it is not a table's.
    """
    waiting = [root]
    seen = 0
    while waiting:
        number = waiting.pop()
        seen += 1
        if seen > pages.count:
            raise MalformedPage(f"the b-tree of page {root} has no end")
        page = pages.page(number)
        if page_type(page, number) == TABLE_LEAF:
            yield number
        else:
            waiting.extend(reversed(children(page, number)[0]))
