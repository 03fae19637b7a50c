"""The same rows in SQLite and in PostgreSQL, by code that shares nothing with the product's.

Both sides are written out in PostgreSQL's text format of COPY (one line a row, values as ``::text`` gives them) and
compared as bags of lines. This covers the types of the benchmark's data: text, JSON, whole numbers and truth values.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cluster import Cluster
from psycopg import sql

_TYPES: Final = {
    "VARCHAR": "text",
    "TEXT": "text",
    "JSON": "json",
    "BIGINT": "bigint",
    "INTEGER": "bigint",
    "BOOLEAN": "boolean",
    "DATE": "date",
    "DATETIME": "timestamp",
}
_ESCAPES: Final = (
    ("\\", r"\\"),
    ("\n", r"\n"),
    ("\t", r"\t"),
    ("\r", r"\r"),
    ("\b", r"\b"),
    ("\f", r"\f"),
    ("\v", r"\v"),
)


@dataclass(frozen=True)
class Table:
    """A table of the source: its columns with their types in PostgreSQL, and its key."""

    name: str
    columns: tuple[tuple[str, str], ...]
    key: tuple[str, ...]

    @property
    def quoted(self) -> list[str]:
        """The columns' names, quoted."""
        return [f'"{name}"' for name, _ in self.columns]

    def ddl(self, schema: str) -> str:
        """Return the table's CREATE TABLE."""
        parts = [f'"{name}" {kind}' for name, kind in self.columns]
        if self.key:
            names = ", ".join(f'"{name}"' for name in self.key)
            parts.append(f"PRIMARY KEY ({names})")
        return f'CREATE TABLE "{schema}"."{self.name}" ({", ".join(parts)});\n'


@dataclass(frozen=True)
class Loss:
    """What became of the rows: how many are there, and which are missing or not the same."""

    arrived: int
    lost: int
    by_table: dict[str, int]

    def __str__(self) -> str:
        named = ", ".join(f"{name} {count:,}" for name, count in sorted(self.by_table.items())[:4])
        return f"{self.arrived:,} rows, {self.lost:,} lost or altered" + (f" ({named})" if named else "")


def connect(path: Path) -> sqlite3.Connection:
    """Open a database that is only read."""
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True)


def tables(connection: sqlite3.Connection) -> list[Table]:
    """Return the source's tables."""
    names = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
    )
    return [_table(connection, str(name)) for (name,) in names.fetchall()]


def _table(connection: sqlite3.Connection, name: str) -> Table:
    declared = connection.execute("SELECT name, type, pk FROM pragma_table_info(?)", (name,)).fetchall()
    keyed = sorted((position, column) for column, _, position in declared if position)
    columns = tuple((str(column), _TYPES[kind.partition("(")[0]]) for column, kind, _ in declared)
    return Table(name, columns, tuple(str(column) for _, column in keyed))


def lines(connection: sqlite3.Connection, table: Table, where: str = "") -> Iterator[bytes]:
    """Yield the rows as COPY's text format has them."""
    kinds = [kind for _, kind in table.columns]
    query = f'SELECT {", ".join(table.quoted)} FROM "{table.name}" {where}'  # noqa: S608  names of our own file
    for row in connection.execute(query):
        yield "\t".join(map(_field, row, kinds)).encode() + b"\n"


def _field(value: object, kind: str) -> str:
    if value is None:
        return r"\N"
    if isinstance(value, str):
        for character, escaped in _ESCAPES:  # three times as fast as str.translate
            value = value.replace(character, escaped)
        return value
    return ("f", "t")[bool(value)] if kind == "boolean" else str(value)


@dataclass(frozen=True)
class Content:
    """What a source holds: a hash of every row, by table."""

    rows: dict[Table, Counter[int]]

    def compare(self, cluster: Cluster, database: str, schema: str) -> Loss:
        """Say which rows are not, to the byte, in the replica."""
        arrived, lost = 0, {}
        for table, wanted in self.rows.items():
            found = Counter(_replica(cluster, database, schema, table))
            arrived += found.total()
            missing = max((wanted - found).total(), (found - wanted).total())
            if missing:
                lost[table.name] = missing
        return Loss(arrived, sum(lost.values()), lost)


def read(source: Path) -> Content:
    """Read a source."""
    with closing(connect(source)) as reader:
        return Content({table: Counter(map(hash, lines(reader, table))) for table in tables(reader)})


def _replica(cluster: Cluster, database: str, schema: str, table: Table) -> Iterator[int]:
    query = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(
        sql.SQL(", ").join(sql.Identifier(name) for name, _ in table.columns), sql.Identifier(schema, table.name)
    )
    with cluster.connect(database) as connection, connection.cursor() as cursor:
        exists = cursor.execute("SELECT to_regclass(%s)", (f'"{schema}"."{table.name}"',)).fetchone()
        if not exists or exists[0] is None:
            return
        with cursor.copy(query) as copy:
            yield from (hash(bytes(line)) for line in copy)  # psycopg hands out one row at a time
