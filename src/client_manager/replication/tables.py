"""The tables of a source as it declares them, and how they look in PostgreSQL."""

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

import apsw

PostgresType = Literal["text", "json", "bigint", "boolean", "double precision", "numeric", "date", "timestamp", "bytea"]
Affinity = Literal["text", "integer", "real", "blob", "numeric"]

SKIPPED: Final = ("sqlite_", "_litestream_", "_alembic_tmp_")
UNFINISHED_COPY: Final = (
    "_alembic_tmp_"  # the copy that Alembic's batch mode makes of a table before it drops the table
)
LOAD_TABLE: Final = "client_manager_load"  # which chunks are in, so that a load that was cut off goes on
_LONGEST_NAME: Final = 63  # PostgreSQL cuts longer ones without an error (NAMEDATALEN)
_SYSTEM_COLUMNS: Final = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})
_DECLARED: Final[dict[str, PostgresType]] = {
    "JSON": "json",
    "BOOLEAN": "boolean",
    "BOOL": "boolean",
    "NUMERIC": "numeric",
    "DECIMAL": "numeric",
    "DATE": "date",
    "DATETIME": "timestamp",
    "TIMESTAMP": "timestamp",
}
# A column of NUMERIC affinity gives numbers back from their text, and holds text only where it is no number.
_BY_AFFINITY: Final[dict[Affinity, PostgresType]] = {
    "text": "text",
    "integer": "bigint",
    "real": "double precision",
    "blob": "bytea",
    "numeric": "text",
}


def identifier(name: str) -> str:
    """Return a name quoted for SQLite, which takes names in no other way."""
    return '"' + name.replace('"', '""') + '"'


def affinity(declared: str) -> Affinity:
    """Return the affinity of a declared type (https://www.sqlite.org/datatype3.html section 3.1, in its order)."""
    upper = declared.upper()
    if "INT" in upper:
        return "integer"
    if any(part in upper for part in ("CHAR", "CLOB", "TEXT")):
        return "text"
    if "BLOB" in upper or not upper.strip():
        return "blob"
    return "real" if any(part in upper for part in ("REAL", "FLOA", "DOUB")) else "numeric"


def postgres_type(declared: str, *, in_key: bool) -> PostgresType:
    """Return the type that a column gets in PostgreSQL; json has no order and cannot be a key."""
    base = re.sub(r"\s*\(.*", "", declared, flags=re.DOTALL).strip().upper()
    kind = _DECLARED.get(base) or _BY_AFFINITY[affinity(declared)]
    return "text" if in_key and kind == "json" else kind


@dataclass(frozen=True)
class Column:
    """One column; ``key_position`` counts from 1, 0 says that it is no part of the key."""

    name: str
    declared: str
    key_position: int

    @cached_property
    def kind(self) -> PostgresType:
        """The type in PostgreSQL."""
        return postgres_type(self.declared, in_key=self.key_position > 0)


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        root: the first page of its b-tree.
        rowid: a name of the rowid that no column hides; None where the rows have none.
        key: the columns that tell the rows apart; empty where nothing does.
    """

    name: str
    sql: str
    root: int
    rowid: str | None
    columns: tuple[Column, ...]

    @cached_property
    def key(self) -> tuple[Column, ...]:
        """The key's columns in the key's order."""
        members = [column for column in self.columns if column.key_position]
        return tuple(sorted(members, key=lambda column: column.key_position))

    @cached_property
    def key_places(self) -> tuple[int, ...]:
        """Where the key's columns stand in a row."""
        return tuple(self.columns.index(column) for column in self.key)

    @cached_property
    def shape(self) -> dict[str, PostgresType]:
        """Column name -> type in PostgreSQL."""
        return {column.name: column.kind for column in self.columns}


def read_tables(connection: apsw.Connection, database: str = "main") -> dict[str, Table]:
    """Return the tables that are replicated, by name."""
    listed = connection.execute(
        f"SELECT s.name, s.sql, s.rootpage, l.wr FROM {identifier(database)}.sqlite_schema s"  # noqa: S608  "main" or "base"
        " JOIN pragma_table_list l ON l.name = s.name AND l.schema = ?"
        " WHERE s.type = 'table' AND s.rootpage > 0 ORDER BY s.name",
        (database,),
    ).fetchall()
    tables = (
        _table(connection, database, str(name), str(sql), int(str(root)), without_rowid=bool(without_rowid))
        for name, sql, root, without_rowid in listed
        if not str(name).startswith(SKIPPED)
    )
    return {table.name: table for table in tables}


def unfit_name(tables: dict[str, Table]) -> str | None:
    """Return the first name that PostgreSQL would cut, or keeps for itself; None where all fit."""
    for table in tables.values():
        if len(table.name.encode()) > _LONGEST_NAME or table.name == LOAD_TABLE:
            return f"the table {table.name}"
        for column in table.columns:
            if len(column.name.encode()) > _LONGEST_NAME or column.name in _SYSTEM_COLUMNS:
                return f"the column {column.name} of {table.name}"
    return None


def unfinished_copies(connection: apsw.Connection) -> set[str]:
    """Return the tables that an unfinished migration is rebuilding."""
    names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB '_alembic_tmp_*'")
    return {str(name).removeprefix(UNFINISHED_COPY) for (name,) in names}


def schema_fingerprint(tables: dict[str, Table]) -> str:
    """Return a hash of what the source declares."""
    text = "\x1e".join(f"{table.name}\x1f{table.sql}" for table in tables.values())
    return hashlib.sha256(text.encode()).hexdigest()


def _table(  # noqa: PLR0913  one row of sqlite_schema
    connection: apsw.Connection, database: str, name: str, sql: str, root: int, *, without_rowid: bool
) -> Table:
    declared = [
        (str(column), str(kind or ""), int(position))
        for column, kind, position, hidden in connection.execute(
            "SELECT name, type, pk, hidden FROM pragma_table_xinfo(?, ?)", (name, database)
        )
        if hidden != 1
    ]
    if not any(position for _, _, position in declared):
        unique = _unique_key(connection, database, name)
        declared = [(c, k, unique.index(c) + 1 if c in unique else 0) for c, k, _ in declared]
    taken = {column.lower() for column, _, _ in declared}
    rowid = next((alias for alias in ("rowid", "_rowid_", "oid") if alias not in taken), None)
    return Table(
        name=name,
        sql=sql,
        root=root,
        rowid=None if without_rowid else rowid,
        columns=tuple(Column(*column) for column in declared),
    )


def _unique_key(connection: apsw.Connection, database: str, table: str) -> list[str]:
    """Return the columns of the first UNIQUE index that tells all rows apart: whole, and over NOT NULL columns."""
    required = {
        str(name)
        for name, needed in connection.execute(
            'SELECT name, "notnull" FROM pragma_table_xinfo(?, ?)', (table, database)
        )
        if needed
    }
    indexes = connection.execute(
        'SELECT name FROM pragma_index_list(?, ?) WHERE "unique" AND NOT partial ORDER BY seq DESC', (table, database)
    ).fetchall()
    for (index,) in indexes:
        members = [
            name for (name,) in connection.execute("SELECT name FROM pragma_index_info(?, ?)", (index, database))
        ]
        if all(name is not None and name in required for name in members):
            return [str(name) for name in members]
    return []
