"""What differs between the baseline and the source, row by row, by SQLite itself.

The connection reads the source as ``main`` and the baseline as ``base``. Where candidates are given, only rows with
these rowids are looked at, on both sides. Rows are paired by key, so that renumbered rowids (VACUUM) and moved keys
come out right.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import apsw

from client_manager.replication.reading import column_names, read_rows
from client_manager.replication.tables import Column, Table, identifier
from client_manager.replication.values import Row, Value

if TYPE_CHECKING:
    from array import array

Candidates: TypeAlias = "array[int] | None"
_CANDIDATES_A_QUERY: Final = 50_000


@dataclass(frozen=True)
class Changed:
    """A row as it is now; ``places`` are the columns that differ, None says that it is new."""

    row: Row
    places: tuple[int, ...] | None


@dataclass(frozen=True)
class TableDifference:
    """A table in the source, and what it was in the baseline."""

    connection: apsw.Connection
    new: Table
    old: Table
    candidates: Candidates = None

    def removed(self) -> Iterator[Row]:
        """Yield the rows of the baseline that are gone: their keys, or all of the row where there is no key."""
        if not self.new.key:
            yield from left_over(self._flagged("base", self.old), self._flagged("main", self.new))
            return
        now = f"main.{identifier(self.new.name)} n"
        tail = f"WHERE NOT EXISTS (SELECT 1 FROM {now} WHERE {self._same_key()})"  # noqa: S608  quoted names
        for rows, parameters in self._ranges("base", "o", self.old):
            yield from read_rows(self.connection, column_names("o", self.old.key), f"{rows} {tail}", parameters)

    def changed(self) -> Iterator[Changed]:
        """Yield the rows that are new or differ."""
        if not self.new.key:
            for row in left_over(self._flagged("main", self.new), self._flagged("base", self.old)):
                yield Changed(row, None)
            return
        before = [self._old_column(column) for column in self.new.columns]
        present = f"o.{identifier(self.new.key[0].name)}"
        tail = (
            f"LEFT JOIN base.{identifier(self.old.name)} o ON {self._same_key()}"
            f" WHERE {present} IS NULL OR {self._differs(before)}"
        )
        expressions = [*column_names("n", self.new.columns), *before, present]
        for rows, parameters in self._ranges("main", "n", self.new):
            for both in read_rows(self.connection, expressions, f"{rows} {tail}", parameters):
                yield _changed(both, len(before))

    def _ranges(self, database: str, alias: str, table: Table) -> Iterator[tuple[str, Sequence[str]]]:
        name = f"{database}.{identifier(table.name)} {alias}"
        if self.candidates is None or not table.rowid:
            yield f"FROM {name}", ()
            return
        for first in range(0, len(self.candidates), _CANDIDATES_A_QUERY):
            rowids = json.dumps(self.candidates[first : first + _CANDIDATES_A_QUERY].tolist())
            yield f"FROM json_each(?) c CROSS JOIN {name} ON {alias}.{table.rowid} = c.value", (rowids,)

    def _same_key(self) -> str:
        """Compare keys first as the index does, then byte by byte: 'a' and 'A' are two keys in PostgreSQL."""
        names = [identifier(column.name) for column in self.new.key]
        return " AND ".join(f"o.{name} = n.{name} AND o.{name} = n.{name} COLLATE BINARY" for name in names)

    def _old_column(self, column: Column) -> str:
        """Return the column's expression in the baseline; one that is new, or of a new type, was NULL before."""
        return f"o.{identifier(column.name)}" if self.old.shape.get(column.name) == column.kind else "NULL"

    def _differs(self, before: Sequence[str]) -> str:
        pairs = zip(column_names("n", self.new.columns), before, strict=True)
        return " OR ".join(
            f"{now} IS NOT {then} COLLATE BINARY OR typeof({now}) IS NOT typeof({then})" for now, then in pairs
        )

    def _flagged(self, database: str, table: Table) -> Iterator[Row]:
        """Yield the rows of a table without a key that are not the same under the same rowid on the other side."""
        other = "base" if database == "main" else "main"
        before = [self._old_column(column) for column in self.new.columns]
        alias, opposite = ("n", "o") if database == "main" else ("o", "n")
        tail = (
            f"LEFT JOIN {other}.{identifier(table.name)} {opposite} ON o.{self.old.rowid} = n.{self.new.rowid}"
            f" WHERE {opposite}.{table.rowid} IS NULL OR {self._differs(before)}"
        )
        wanted = column_names("n", self.new.columns) if database == "main" else before
        for rows, parameters in self._ranges(database, alias, table):
            yield from read_rows(self.connection, wanted, f"{rows} {tail}", parameters)


def same_value(one: Value, other: Value) -> bool:
    """Say whether two values are the same, storage class included."""
    return one.__class__ is other.__class__ and one == other


def _changed(both: Row, columns: int) -> Changed:
    now, before, present = both[:columns], both[columns : 2 * columns], both[-1]
    if present is None:
        return Changed(now, None)
    return Changed(now, tuple(place for place in range(columns) if not same_value(now[place], before[place])))


def left_over(rows: Iterator[Row], others: Iterator[Row]) -> Iterator[Row]:
    """Yield the rows that are left when every other row has taken one equal row away."""
    taken = Counter(_signature(row) for row in others)
    for row in rows:
        signature = _signature(row)
        if taken[signature]:
            taken[signature] -= 1
        else:
            yield row


def _signature(row: Row) -> bytes:
    return hashlib.sha256(repr(row).encode(errors="surrogatepass")).digest()
