"""What a source declares beyond its rows: all that it takes to make a database like it again.

Kept in ``replication_state`` in the transaction of the rows, and written only when it has changed. The counters of
AUTOINCREMENT move with the rows, so they go with the mark of every run.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import apsw

from client_manager.models.base import Model
from client_manager.replication.descriptors import open_private
from client_manager.replication.source import Snapshot
from client_manager.replication.tables import SKIPPED

JournalMode = Literal["wal", "delete"]
_MODE_AT: Final = 18  # of the header: 2 says WAL (https://www.sqlite.org/fileformat2.html section 1.3.3)
_MODE_OF_WAL: Final = 2


class SchemaObject(Model):
    """A row of ``sqlite_schema``."""

    type: Literal["table", "index", "trigger", "view"]
    name: str
    tbl_name: str
    sql: str


class Declaration(Model):
    """What a source declares.

    Attributes:
        objects: in the order in which they came to be, but for what a replica does not hold.
        journal_mode: of the file.
    """

    objects: tuple[SchemaObject, ...]
    encoding: str
    page_size: int
    auto_vacuum: int
    user_version: int
    application_id: int
    journal_mode: JournalMode

    @property
    def digest(self) -> str:
        """What tells it from another."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class Kept(Model):
    """What is written of a declaration with one run: ``document`` only where it is not kept yet."""

    digest: str
    document: str | None
    sequence: dict[str, int]


def of_snapshot(snapshot: Snapshot, known: str | None) -> Kept:
    """Return what to keep of a source; ``known`` is the digest of what is kept."""
    return _kept(snapshot.connection, _mode_of(snapshot.pages.page(1)), known)


def of_copy(path: Path, known: str | None) -> Kept:
    """Return what to keep of a private copy of a source."""
    connection = open_private(path)
    try:
        return _kept(connection, _mode(path), known)
    finally:
        connection.close()


def of_file(path: Path) -> Declaration:
    """Return what a database declares that nobody writes, in an order that depends on nothing."""
    connection = open_private(path)
    try:
        return without_order(_declaration(connection, _mode(path)))
    finally:
        connection.close()


def without_order(declared: Declaration) -> Declaration:
    """Return a declaration whose order depends on nothing."""
    ordered = sorted(declared.objects, key=lambda one: (one.type, one.name))
    return declared.model_copy(update={"objects": tuple(ordered)})


def _mode(path: Path) -> JournalMode:
    with path.open("rb") as file:
        return _mode_of(file.read(_MODE_AT + 1))


def _mode_of(start: bytes) -> JournalMode:
    return "wal" if start[_MODE_AT] == _MODE_OF_WAL else "delete"


def _kept(connection: apsw.Connection, mode: JournalMode, known: str | None) -> Kept:
    found = _declaration(connection, mode)
    document = None if found.digest == known else found.model_dump_json()
    return Kept(digest=found.digest, document=document, sequence=dict(_sequence(connection)))


def _declaration(connection: apsw.Connection, mode: JournalMode) -> Declaration:
    listed = connection.execute(
        "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid"
    ).fetchall()
    return Declaration.model_validate(
        {
            "objects": [
                {"type": kind, "name": name, "tbl_name": table, "sql": text}
                for kind, name, table, text in listed
                if not str(name).startswith(SKIPPED) and not str(table).startswith(SKIPPED)
            ],
            "journal_mode": mode,
            **{
                name: next(iter(connection.execute(f"PRAGMA {name}")))[0]
                for name in ("encoding", "page_size", "auto_vacuum", "user_version", "application_id")
            },
        }
    )


def _sequence(connection: apsw.Connection) -> Mapping[str, int]:
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'").fetchone():
        return {}
    listed = connection.execute("SELECT name, seq FROM sqlite_sequence WHERE typeof(seq) = 'integer'").fetchall()
    return {str(name): int(str(seq)) for name, seq in listed if not str(name).startswith(SKIPPED)}
