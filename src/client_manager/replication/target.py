"""A SQLite database that is being made: its declarations, its rows, and what SQLite itself keeps of them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import apsw

from client_manager.errors import ClientManagerError
from client_manager.replication.declaration import Declaration, SchemaObject
from client_manager.replication.inverse import plain
from client_manager.replication.tables import Table, identifier
from client_manager.replication.values import Row, Undecodable, Value

_CACHE_KIB: Final = 32768
_VIRTUAL: Final = "CREATE VIRTUAL"
AFTER_ROWS: Final = ("index", "trigger", "view")


@dataclass
class RowWriter:
    """Writes the rows of one table."""

    target: apsw.Connection
    table: Table
    written: int = 0

    def __post_init__(self) -> None:
        """Leave out what SQLite computes."""
        computed = {
            str(name)
            for (name,) in self.target.execute(
                "SELECT name FROM pragma_table_xinfo(?) WHERE hidden > 1", (self.table.name,)
            )
        }
        self.names = [column.name for column in self.table.columns if column.name not in computed]
        self.places = [p for p, column in enumerate(self.table.columns) if column.name not in computed]

    def write_all(self, rows: Iterator[Row]) -> None:
        """Write rows as they come."""
        cursor = self.target.cursor()
        cursor.executemany(self._statement(self.names, ["?"] * len(self.names)), self._plain(rows))

    def _plain(self, rows: Iterator[Row]) -> Iterator[Row]:
        """Yield the rows that SQLite takes as they are, and write the others."""
        whole = len(self.places) == len(self.table.columns)
        for row in rows:
            values = row if whole else tuple([row[place] for place in self.places])
            if plain(values):
                self.written += 1
                yield values
            else:
                self.write_named(dict(zip(self.names, values, strict=True)))

    def write_named(self, values: dict[str, Value]) -> None:
        """Write one row, column by column; a column that was added later has its default."""
        named = {name: value for name, value in values.items() if name in self.names}
        marks = ["CAST(? AS TEXT)" if isinstance(value, Undecodable) else "?" for value in named.values()]
        bound = [value.raw if isinstance(value, Undecodable) else value for value in named.values()]
        self.target.execute(self._statement(list(named), marks), bound)
        self.written += 1

    def _statement(self, columns: list[str], marks: list[str]) -> str:
        listed = ", ".join(identifier(name) for name in columns)
        return f"INSERT INTO {identifier(self.table.name)} ({listed}) VALUES ({', '.join(marks)})"  # noqa: S608  quoted


def is_virtual(wanted: SchemaObject) -> bool:
    """Say whether a module answers for a table."""
    return wanted.type == "table" and wanted.sql.upper().startswith(_VIRTUAL)


def create(target: apsw.Connection, objects: list[SchemaObject]) -> None:
    """Make tables, indexes, triggers or views.

    Raises:
        ClientManagerError: SQLite refuses one.
    """
    for wanted in objects:
        try:
            target.execute(wanted.sql)
        except apsw.Error as error:
            raise ClientManagerError(
                f"The {wanted.type} {wanted.name} cannot be made.",
                why=f"SQLite says: {error}.",
                hint="A UNIQUE index that two rows break says that somebody has changed the replica.",
            ) from error


def enter_virtual(target: apsw.Connection, virtual: list[SchemaObject]) -> None:
    """Enter virtual tables by hand: made by their statement, they would make the tables again that hold their rows."""
    if virtual:
        target.execute("PRAGMA writable_schema = ON")
        for wanted in virtual:
            target.execute(
                "INSERT INTO sqlite_schema (type, name, tbl_name, rootpage, sql) VALUES ('table', ?, ?, 0, ?)",
                (wanted.name, wanted.tbl_name, wanted.sql),
            )
        target.execute("PRAGMA writable_schema = OFF")


def set_sequence(target: apsw.Connection, sequence: dict[str, int]) -> None:
    """Set the counters of AUTOINCREMENT."""
    if target.execute("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'").fetchone():
        target.execute("DELETE FROM sqlite_sequence")
        target.executemany("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", list(sequence.items()))


def begin(path: Path) -> None:
    """Make the empty file, for its owner only.

    Raises:
        FileExistsError: there is one.
    """
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))


def opened(path: Path, wanted: Declaration) -> apsw.Connection:
    """Open the empty file, to be filled without a journal: it counts only when it is whole."""
    connection = _lenient(str(path))
    for name, value in (
        ("page_size", wanted.page_size),
        ("encoding", f"'{wanted.encoding}'"),
        ("auto_vacuum", wanted.auto_vacuum),
        ("journal_mode", "OFF"),
        ("synchronous", "OFF"),
        ("cache_size", -_CACHE_KIB),
        ("user_version", wanted.user_version),
        ("application_id", wanted.application_id),
    ):
        connection.execute(f"PRAGMA {name} = {value}")
    return connection


def template(wanted: Declaration) -> apsw.Connection:
    """Return a database in memory that declares the same and holds no row."""
    connection = _lenient(":memory:")
    order = ("table", *AFTER_ROWS)
    create(connection, [o for kind in order for o in wanted.objects if o.type == kind and not is_virtual(o)])
    return connection


def _lenient(path: str) -> apsw.Connection:
    """Open a database that takes whatever its source took: old spellings, orphans, rows that a CHECK would refuse."""
    connection = apsw.Connection(path)
    for option in (apsw.SQLITE_DBCONFIG_DQS_DDL, apsw.SQLITE_DBCONFIG_DQS_DML, apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA):
        connection.config(option, 1)
    connection.execute("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON")
    return connection


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite says about the file that is being made into an error, which holds no value of it."""
    try:
        yield
    except apsw.Error as error:
        raise ClientManagerError(
            f"{path} cannot be made.",
            why=f"SQLite says: {error}.",
            hint="'df -h' shows whether the disk is full; rows that break a UNIQUE were changed in the replica.",
        ) from error
