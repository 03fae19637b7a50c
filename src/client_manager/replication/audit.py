"""The audit of the search by pages: rows that a comparison of whole tables finds beyond its candidates; there are none.

The candidates are a superset of what differs (``candidates``), so that a row found here is a fault of this program.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import apsw

from client_manager.replication.difference import Changed, TableDifference, left_over
from client_manager.replication.reading import column_names, null_key_rows, read_rows
from client_manager.replication.tables import Table, identifier
from client_manager.replication.values import Row, Undecodable

if TYPE_CHECKING:
    from array import array


def missed(
    source: apsw.Connection,
    candidates: "Mapping[str, array[int] | None]",
    now: Mapping[str, Table],
    before: Mapping[str, Table],
) -> Iterator[tuple[Table, Row | None, Row | None]]:
    """Yield table, row before and row now of what the candidates miss; None where there was, or is, no row."""
    for name, rowids in candidates.items():
        if rowids is None:
            continue
        new, old = now[name], before[name]
        everything, narrowed = TableDifference(source, new, old), TableDifference(source, new, old, rowids)
        for row in left_over(_changed(source, everything), _rows(narrowed.changed())):
            yield new, _before(source, new, old, tuple(row[place] for place in new.key_places)), row
        for gone in left_over(_removed(source, everything), narrowed.removed()):
            yield new, _before(source, new, old, gone) if new.key else gone, None


def _changed(source: apsw.Connection, everything: TableDifference) -> Iterator[Row]:
    """Yield what is new or differs; rows with a NULL in the key equal none by key, so that all of each are compared."""
    new, old = everything.new, everything.old
    for row in _rows(everything.changed()):
        if all(row[place] is not None for place in new.key_places):
            yield row
    if new.key:
        yield from left_over(null_key_rows(source, new), null_key_rows(source, old, "base"))


def _removed(source: apsw.Connection, everything: TableDifference) -> Iterator[Row]:
    new, old = everything.new, everything.old
    for gone in everything.removed():
        if not new.key or None not in gone:
            yield gone
    if new.key:
        for row in left_over(null_key_rows(source, old, "base"), null_key_rows(source, new)):
            yield tuple(row[place] for place in new.key_places)


def _rows(changes: Iterator[Changed]) -> Iterator[Row]:
    return (change.row for change in changes)


def _before(source: apsw.Connection, new: Table, old: Table, key: Row) -> Row | None:
    """Return the baseline's row with a key; the search follows only tables whose declaration is the same."""
    if not new.key:
        return None
    values = ["CAST(? AS TEXT)" if isinstance(value, Undecodable) else "?" for value in key]
    where = " AND ".join(
        f"o.{identifier(column.name)} IS {value} COLLATE BINARY" for column, value in zip(new.key, values, strict=True)
    )
    tail = f"FROM base.{identifier(old.name)} o WHERE {where}"
    plain = [value.raw if isinstance(value, Undecodable) else value for value in key]
    return next(read_rows(source, column_names("o", new.columns), tail, plain), None)
