"""A SQLite database out of a replica: every value as the source had it, compared with the replica before it counts.

All is read in one snapshot, and again in the same one by the comparison, so that a replica that is written to meanwhile
does not matter. Rows pass through one at a time; nothing of it is held but SQLite's cache.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import apsw
import psycopg
from psycopg import sql

from client_manager.errors import ClientManagerError, NotFound
from client_manager.gateways import client_files
from client_manager.gateways.database import Database
from client_manager.models.replication import RestoreResult
from client_manager.replication import declaration, target
from client_manager.replication.declaration import Declaration
from client_manager.replication.descriptors import open_private
from client_manager.replication.inverse import Originals, inverse
from client_manager.replication.replica import SQL, Replica, set_transaction
from client_manager.replication.runs import Clock
from client_manager.replication.tables import Table, read_tables
from client_manager.replication.values import Row
from client_manager.replication.verify import Comparison

Told = Callable[[str, int], None]
"""Is called with a table and how many rows of it are in."""

_PROGRESS_ROWS: Final = 5000
_SHOWN: Final = 5


@dataclass(frozen=True)
class _Wanted:
    """What is to be made."""

    declaration: Declaration
    tables: dict[str, Table]
    sequence: dict[str, int]
    generation: int
    verified_at: Any
    strict: frozenset[str]


class Restoration:
    """Makes one file of one replica."""

    def __init__(self, database: Database, client: str, told: Told) -> None:
        self._replica = Replica(database, client)
        self._told = told
        self._clock = Clock()
        self._rows = 0
        self._originals = 0

    def write(self, path: Path) -> RestoreResult:
        """Write a database that is not there yet, and prove that it holds what the replica holds.

        Raises:
            NotFound: there is no replica, or it was never told what its source declares.
            ClientManagerError: something could not be made, or is not the same; the file is gone then.
        """
        with client_files.disk_errors(path):
            target.begin(path)
        with _removed_on_failure(path), self._replica.connect() as connection, connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            set_transaction(connection, "pglz", None)
            wanted = self._wanted(connection)
            with target.sqlite_errors(path), closing(target.opened(path, wanted.declaration)) as made:
                self._fill(connection, made, wanted)
                self._clock.phase("write")
            _sync(path)
            left_out = self._prove(connection, path, wanted)
            self._clock.phase("verify")
        return RestoreResult(
            tables=len(wanted.tables),
            rows=self._rows,
            originals=self._originals,
            file_bytes=path.stat().st_size,
            generation=wanted.generation,
            verified_at=wanted.verified_at,
            left_out=left_out,
            seconds=self._clock.seconds,
        )

    def _wanted(self, connection: psycopg.Connection[Any]) -> _Wanted:
        client = self._replica.name
        found = connection.execute(SQL["find_declaration"], {"client": client}).fetchone()
        if found is None or not found[0]:
            raise NotFound(f"{client} has no replica.", hint="'client-manager sync status' shows those that have one.")
        generation, mark, document, verified_at = found
        if document is None:
            raise NotFound(
                f"The replica of {client} does not say yet what its source declares.",
                why="It was written by an earlier version; indexes and types cannot be guessed.",
                hint=f"Replicate it once while its database is there: client-manager sync run {client}.",
            )
        wanted = Declaration.model_validate(document)
        with closing(target.template(wanted)) as empty:
            tables = read_tables(empty)
            strict = empty.execute("SELECT name FROM pragma_table_list WHERE strict").fetchall()
        self._require_tables(connection, tables)
        strict_names = frozenset(str(name) for (name,) in strict)
        return _Wanted(wanted, tables, mark.get("sequence", {}), generation, verified_at, strict_names)

    def _require_tables(self, connection: psycopg.Connection[Any], tables: dict[str, Table]) -> None:
        present = self._replica.shape(connection)
        wrong = sorted(name for name, table in tables.items() if present.get(name) != table.shape)
        if wrong:
            raise ClientManagerError(
                f"The replica of {self._replica.name} is not whole.",
                why=f"Missing, or changed by somebody: {', '.join(wrong[:_SHOWN])}.",
                hint="If the client's database is still there, "
                f"'client-manager sync verify {self._replica.name}' mends the replica.",
            )

    def _fill(self, connection: psycopg.Connection[Any], made: apsw.Connection, wanted: _Wanted) -> None:
        kept = {str(name) for (name,) in connection.execute(SQL["list_kept_tables"], {"client": self._replica.name})}
        made.execute("BEGIN")
        objects = wanted.declaration.objects
        target.create(made, [o for o in objects if o.type == "table" and not target.is_virtual(o)])
        for table in wanted.tables.values():
            with closing(Originals(table)) as originals:
                if table.name in kept:
                    self._originals += originals.read(connection, self._replica.name)
                rows = self._rows_of(connection, table, originals, strict=table.name in wanted.strict)
                self._fill_table(target.RowWriter(made, table), rows, originals)
        for kind in target.AFTER_ROWS:
            target.create(made, [o for o in objects if o.type == kind])
        target.enter_virtual(made, [o for o in objects if target.is_virtual(o)])
        target.set_sequence(made, wanted.sequence)
        made.execute("COMMIT")
        made.execute(f"PRAGMA journal_mode = {wanted.declaration.journal_mode}")

    def _fill_table(self, writer: target.RowWriter, rows: Iterator[Row], originals: Originals) -> None:
        writer.write_all(rows)
        for row in originals.whole_rows():
            writer.write_named(row)
        self._refuse_left(writer.table, originals.left())
        self._rows += writer.written
        self._told(writer.table.name, writer.written)

    def _rows_of(
        self, connection: psycopg.Connection[Any], table: Table, originals: Originals, *, strict: bool
    ) -> Iterator[Row]:
        back = [inverse(column, strict=strict) for column in table.columns]
        columns = sql.SQL(", ").join([sql.Identifier(column.name) for column in table.columns])
        statement = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(
            columns, sql.Identifier(self._replica.name, table.name)
        )
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            for number, texts in enumerate(copy.rows(), start=1):
                values = tuple([None if text is None else make(text) for make, text in zip(back, texts, strict=True)])
                yield originals.put_back(values, texts)
                if not number % _PROGRESS_ROWS:
                    self._told(table.name, number)

    def _refuse_left(self, table: Table, left: list[tuple[str, str]]) -> None:
        if left:
            shown = ", ".join(f"{column} of {key[:80]}" for key, column in left)
            raise ClientManagerError(
                f"The replica of {self._replica.name} is not what it was written as.",
                why=f"In {table.name} originals are kept of rows that are not there: {shown}.",
                hint=f"Somebody has changed it; 'client-manager sync verify {self._replica.name}' mends it.",
            )

    def _prove(self, connection: psycopg.Connection[Any], path: Path, wanted: _Wanted) -> tuple[str, ...]:
        """Compare with the replica as it was when the first row was read; return what is none of the source's."""
        name = self._replica.name
        with target.sqlite_errors(path), closing(open_private(path)) as made:
            faults = [str(line) for (line,) in made.execute("PRAGMA integrity_check") if line != "ok"]
            tables = read_tables(made)
        same = declaration.of_file(path)
        if faults or same != declaration.without_order(wanted.declaration) or tables.keys() != wanted.tables.keys():
            raise ClientManagerError(
                "The database that was made is not sound.",
                why="; ".join(faults[:_SHOWN]) or "Its declarations are not those of the source.",
                hint="Nothing is left of it. Report this.",
            )
        comparison = Comparison(self._replica, name, name, path, tables)
        found = list(comparison.differences_in(connection))
        left_out = tuple(d.table.name for d in found if d.is_table and not d.table.columns)
        differing = [f"{d.table.name} {d.key[:80]} {' '.join(d.columns)}".strip() for d in found if d.table.columns]
        if differing or comparison.rows != self._rows:
            raise ClientManagerError(
                "The database that was made does not hold what the replica holds.",
                why=f"{len(differing)} rows differ, among them {', '.join(differing[:_SHOWN])}; "
                f"{comparison.rows} rows of {self._rows} were read back.",
                hint="Nothing is left of it. If somebody has changed rows of the replica, sync verify mends them.",
            )
        return left_out


@contextmanager
def _removed_on_failure(path: Path) -> Iterator[None]:
    with client_files.disk_errors(path):
        try:
            yield
        except BaseException:
            for suffix in ("", "-wal", "-shm", "-journal"):
                Path(f"{path}{suffix}").unlink(missing_ok=True)
            raise


def _sync(path: Path) -> None:
    for place, flags in ((path, os.O_RDONLY), (path.parent, os.O_RDONLY | os.O_DIRECTORY)):
        descriptor = os.open(place, flags)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
