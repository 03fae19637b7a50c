"""Rows out of SQLite, also those whose text is not UTF-8."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final, TypeAlias

import apsw

from client_manager.replication.tables import Column, Table, identifier
from client_manager.replication.values import Row, Undecodable, Value

Parameters: TypeAlias = Sequence[Value]
_ROWS_A_STEP: Final = 1000


def column_names(alias: str, columns: Sequence[Column]) -> list[str]:
    """Return the columns as expressions of one table alias."""
    return [f"{alias}.{identifier(column.name)}" for column in columns]


def read_rows(
    connection: apsw.Connection, expressions: Sequence[str], tail: str, parameters: Parameters = ()
) -> Iterator[Row]:
    """Yield ``SELECT expressions tail`` row by row.

    Where a text turns out not to be UTF-8 the rest is read again as bytes, which costs twice as much.
    """
    read = 0
    try:
        for row in connection.execute(f"SELECT {', '.join(expressions)} {tail}", parameters):
            yield row
            read += 1
    except UnicodeDecodeError:
        typed = ", ".join(
            f"CASE typeof({e}) WHEN 'text' THEN CAST({e} AS BLOB) ELSE {e} END, typeof({e})" for e in expressions
        )
        rest = connection.execute(f"SELECT {typed} {tail}", parameters)
        for row in islice(rest, read, None):
            yield tuple(_decoded(row[at], row[at + 1]) for at in range(0, len(row), 2))


def _decoded(value: Value, storage: Value) -> Value:
    if storage != "text" or not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return Undecodable(value)


def read_table(connection: apsw.Connection, table: Table, database: str = "main") -> Iterator[Row]:
    """Yield all rows of a table."""
    order = f" ORDER BY t.{table.rowid}" if table.rowid else ""
    source = f"FROM {identifier(database)}.{identifier(table.name)} t"
    yield from read_rows(connection, column_names("t", table.columns), source + order)


def read_range(connection: apsw.Connection, table: Table, first: int, last: int) -> Iterator[Row]:
    """Yield the rows whose rowids lie between ``first`` and ``last``, both included."""
    yield from read_rows(
        connection,
        column_names("t", table.columns),
        f"FROM {identifier(table.name)} t WHERE t.{table.rowid} BETWEEN ? AND ? ORDER BY t.{table.rowid}",
        (first, last),
    )


def null_key_rows(connection: apsw.Connection, table: Table, database: str = "main") -> Iterator[Row]:
    """Yield the rows that no key can tell apart."""
    empty = " OR ".join(f"{name} IS NULL" for name in column_names("t", table.key))
    source = f"FROM {identifier(database)}.{identifier(table.name)} t WHERE {empty}"
    yield from read_rows(connection, column_names("t", table.columns), source)


def any_rows(connection: apsw.Connection, tables: Sequence[Table], database: str = "main") -> bool:
    """Say whether any of the tables holds a row."""
    return any(
        connection.execute(f"SELECT 1 FROM {identifier(database)}.{identifier(table.name)} LIMIT 1").fetchone()  # noqa: S608
        for table in tables
    )


def count_rows(connection: apsw.Connection, table: Table, database: str = "main") -> int:
    """Return the number of rows of a table."""
    found = connection.execute(
        f"SELECT count(*) FROM {identifier(database)}.{identifier(table.name)}"  # noqa: S608
    ).fetchone()
    return int(found[0]) if found else 0
