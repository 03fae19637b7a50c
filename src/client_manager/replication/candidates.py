"""Which rows may differ, from the pages that do: the baseline's page numbers and rowids, without reading the rest.

A row can differ only if (a) its leaf page differs, or (b) its leaf page came into or left the table's tree, which shows
in a differing interior page, or (c) an overflow page of it differs, which then belonged to the same leaf before. Every
page found is checked by descending from a table's root, so that stale pages and pages of indexes drop out, and what is
found is a superset that SQLite compares (``difference``).
"""

from array import array
from collections.abc import Iterable, Sequence
from typing import Final

from client_manager.replication.btree import TABLE_INTERIOR, TABLE_LEAF, Leaf, leaf, page_type, pages_below, path
from client_manager.replication.image import MalformedPage, Pages
from client_manager.replication.owners import Owners
from client_manager.replication.tables import Table

_MANY: Final = 0.2  # with more pages than this share differing, comparing whole tables by SQL is faster


class _Side:
    """The tables of one version, and which of them a page belongs to."""

    def __init__(self, pages: Pages, tables: Iterable[Table]) -> None:
        self.pages = pages
        self._tables = list(tables)
        self._leaves: dict[int, Leaf | None] = {}

    def leaf(self, number: int) -> Leaf | None:
        if number not in self._leaves:
            try:
                self._leaves[number] = leaf(self.pages.page(number), number, self.pages.usable_bytes)
            except MalformedPage:
                self._leaves[number] = None
        return self._leaves[number]

    def table_of(self, number: int, rowid: int) -> Table | None:
        """Return the table that has the page on the way to the rowid; the one found last is asked first."""
        for place, table in enumerate(self._tables):
            if self.holds(table, number, rowid):
                self._tables.insert(0, self._tables.pop(place))
                return table
        return None

    def holds(self, table: Table, number: int, rowid: int) -> bool:
        try:
            return number in path(self.pages, table.root, rowid)
        except MalformedPage:
            return False

    def interior(self, number: int) -> tuple[list[int], int | None] | None:
        """Return the pages below an interior page and its first key; None of any other page."""
        try:
            return pages_below(self.pages.page(number), number)
        except MalformedPage:
            return None


class CandidateSearch:
    """The search over both versions for the tables whose declaration and root are the same in both."""

    def __init__(self, old: Pages, new: Pages, tables: Sequence[tuple[Table, Table]], owners: Owners) -> None:
        self._old = _Side(old, [before for before, _ in tables])
        self._new = _Side(new, [now for _, now in tables])
        self._owners = owners
        self._found: dict[str, set[int]] = {}
        self._asked: set[int] = set()
        self.touched: set[int] = set()

    def run(self, differing: set[int]) -> dict[str, "array[int]"]:
        """Return the rowids to compare, by table; ``touched`` then holds the leaves whose overflow pages may be others.

        Raises:
            MalformedPage: the pages do not tell; compare whole tables.
        """
        for number in differing:
            self._overflow(number)
            self._page(number, self._old, self._new, differing)
            self._page(number, self._new, self._old, differing)
        return {name: array("q", sorted(rowids)) for name, rowids in self._found.items()}

    def _overflow(self, number: int) -> None:
        owner = self._owners.owner(number)
        if owner in self._asked:
            return
        self._asked.add(owner)
        rows = self._old.leaf(owner) if owner else None
        if rows and rows.rowids:
            table = self._old.table_of(owner, rows.rowids[0])
            if table:
                self._add(table, [rowid for rowid, _ in rows.overflows])
                if self._new.holds(table, owner, rows.rowids[0]):
                    self.touched.add(owner)

    def _page(self, number: int, side: _Side, other: _Side, differing: set[int]) -> None:
        if number > side.pages.count:
            return
        kind = page_type(side.pages.page(number), number)
        if kind == TABLE_LEAF:
            self._leaf(number, side)
        elif kind == TABLE_INTERIOR:
            self._interior(number, side, other, differing)

    def _leaf(self, number: int, side: _Side) -> None:
        rows = side.leaf(number)
        if rows and rows.rowids:
            table = side.table_of(number, rows.rowids[0])
            if table:
                self._add(table, rows.rowids)
                if side is self._new:
                    self.touched.add(number)

    def _interior(self, number: int, side: _Side, other: _Side, differing: set[int]) -> None:
        """Look for leaves below that hang nowhere in the other version: they came or went without being written."""
        found = side.interior(number)
        if not found:
            return
        below, key = found
        if key is None:
            raise MalformedPage(f"interior page {number} has no key to find its table by")
        table = side.table_of(number, key)
        if table:
            self._below(below, table, side, other, differing, self._still_below(number, table, other))

    def _still_below(self, number: int, table: Table, other: _Side) -> set[int]:
        """Return the page's children in the other version, if it hangs in the table there too."""
        found = other.interior(number) if number <= other.pages.count else None
        if not found or found[1] is None or not other.holds(table, number, found[1]):
            return set()
        return set(found[0])

    def _below(  # noqa: PLR0913, PLR0917  the walk's state
        self, below: Iterable[int], table: Table, side: _Side, other: _Side, differing: set[int], known: set[int]
    ) -> None:
        for child in below:
            if child in differing or child in known:
                continue
            rows = side.leaf(child)
            if rows is None:
                found = side.interior(child)
                if found and (found[1] is None or not other.holds(table, child, found[1])):
                    self._below(found[0], table, side, other, differing, set())
            elif rows.rowids and not other.holds(table, child, rows.rowids[0]):
                self._add(table, rows.rowids)
                if side is self._new:
                    self.touched.add(child)

    def _add(self, table: Table, rowids: Iterable[int]) -> None:
        self._found.setdefault(table.name, set()).update(rowids)


def too_many(differing: set[int], old: Pages, new: Pages) -> bool:
    """Say whether whole tables should be compared instead."""
    return len(differing) > max(1000, _MANY * max(old.count, new.count))
