"""A full load cut into chunks of about the same number of pages, along the separators of the tables' own b-trees."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from client_manager.replication.btree import TABLE_LEAF, children, page_type
from client_manager.replication.image import FilePages
from client_manager.replication.tables import Table

CHUNKS_A_TABLE: Final = 32
_LEAVES_A_CHUNK: Final = 64


@dataclass(frozen=True)
class Chunk:
    """A part of a table: the rowids from first to last; None for a table whose rows have none."""

    table: Table
    first: int
    last: int | None
    leaves: int


def plan(tables: dict[str, Table], pages: FilePages) -> list[Chunk]:
    """Cut large tables where their b-tree has separators already."""
    chunks: list[Chunk] = []
    for table in tables.values():
        if not table.rowid:
            chunks.append(Chunk(table, 0, None, 1))
            continue
        separators, leaves = _separators(pages, table.root)
        stride = max(_LEAVES_A_CHUNK, leaves // CHUNKS_A_TABLE)
        bounds = [-(2**63), *separators[stride::stride], 2**63 - 1]
        bounds = sorted(set(bounds))
        share = leaves // (len(bounds) - 1)
        chunks += [
            Chunk(table, first if first == bounds[0] else first + 1, last, share) for first, last in pairwise(bounds)
        ]
    return chunks


def _separators(pages: FilePages, root: int) -> tuple[list[int], int]:
    """Return the largest rowid below every page of the level above the leaves, in order, and the number of leaves."""
    level = [root]
    keys: list[int] = []
    while page_type(pages.page(level[0]), level[0]) != TABLE_LEAF:
        below: list[int] = []
        keys = []
        for number in level:
            found, separators = children(pages.page(number), number)
            below += found
            keys += separators
        level = below
    return keys, len(level)
