"""The table b-trees of a SQLite database, read from the bytes of their pages.

The format is https://www.sqlite.org/fileformat2.html, sections 1.6 (b-tree pages) and 1.7 (overflow). What is parsed
here only narrows down where SQLite itself compares; a wrong parse must cost time, never a row.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from client_manager.replication.image import HEADER_BYTES, MalformedPage, Pages

TABLE_LEAF: Final = 0x0D
TABLE_INTERIOR: Final = 0x05
_U32 = struct.Struct(">I").unpack_from
_U16 = struct.Struct(">H").unpack_from
_DEPTH: Final = 20  # SQLite's own limit (BTCURSOR_MAX_DEPTH)


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


def pages_below(page: bytes, number: int) -> tuple[list[int], int | None]:
    """Return the child pages of an interior table page, and the first of its keys, if it has one.

    Raises:
        MalformedPage: it is no such page.
    """
    start = HEADER_BYTES if number == 1 else 0
    try:
        if page[start] != TABLE_INTERIOR:
            raise MalformedPage(f"page {number} is no interior page of a table")
        count = _U16(page, start + 3)[0]
        cells = struct.unpack_from(f">{count}H", page, start + 12)
        below = [_U32(page, cell)[0] for cell in cells]
        below.append(_U32(page, start + 8)[0])
        return below, _signed(varint(page, cells[0] + 4)[0]) if cells else None
    except (IndexError, struct.error) as error:
        raise MalformedPage(f"page {number} is cut short") from error


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
            waiting.extend(reversed(pages_below(page, number)[0]))
