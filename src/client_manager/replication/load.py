r"""The full load: every table from a private copy of the source, in chunks, over several COPY streams.

The limit is the server's compression of long values (TOAST), not this program: lz4 where the server has it, and a
second stream, together take a third of what one ``psql \copy`` takes (bench/).
"""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias
from uuid import uuid4

import apsw
import psycopg
from psycopg import sql

from client_manager.replication import steps
from client_manager.replication.baseline import Baseline
from client_manager.replication.chunks import Chunk, plan
from client_manager.replication.descriptors import open_private
from client_manager.replication.difference import Changed
from client_manager.replication.digest import quoted
from client_manager.replication.image import FilePages
from client_manager.replication.reading import read_range, read_table
from client_manager.replication.replica import (
    SQL,
    Replica,
    ReplicaState,
    create_table,
    qualified,
    set_transaction,
)
from client_manager.replication.steps import Interrupt, uninterrupted
from client_manager.replication.tables import LOAD_TABLE, Column, Table
from client_manager.replication.trouble import Fenced
from client_manager.replication.values import Row, Stored, convert
from client_manager.replication.writer import NULL_KEY, REFUSALS, TableWriter, Written

_PROGRESS_ROWS: Final = 5000
_PAUSE_BYTES: Final = 4 * 1024 * 1024  # after so much, or so many rows, a stream asks whether to go on
_CACHE_KIB: Final = 8192
_LONG: Final = (str, bytes)

Progress: TypeAlias = Callable[[str, int], None]


class _Refused(Exception):
    """The fast path does not fit a row; the chunk is written row by row."""


@dataclass
class Load:
    """One full load into a schema beside the replica."""

    replica: Replica
    schema: str
    shadow: Path
    state: ReplicaState
    streams: int
    progress: Progress
    interrupt: Interrupt = uninterrupted
    written: Written = field(default_factory=Written)
    attempt: str = field(default_factory=lambda: uuid4().hex)
    quarantine: threading.Lock = field(default_factory=threading.Lock)

    def run(self, tables: dict[str, Table], pages: FilePages, load_id: str) -> None:
        """Make the schema, or go on where an earlier load of the same shadow was cut off, and fill it."""
        with self.replica.connect() as connection:
            done = self._begin(connection, tables, load_id)
        chunks = [chunk for chunk in plan(tables, pages) if (chunk.table.name, chunk.first) not in done]
        chunks.sort(key=lambda chunk: chunk.leaves, reverse=True)
        waiting = iter(chunks)
        turn = threading.Lock()

        def next_chunk() -> Chunk | None:
            with turn:
                return next(waiting, None)

        with ThreadPoolExecutor(self.streams, thread_name_prefix="copy") as pool:
            streams = [pool.submit(self._stream, next_chunk) for _ in range(min(self.streams, max(1, len(chunks))))]
            finished, _ = wait(streams, return_when=FIRST_EXCEPTION)
            if any(stream.exception() for stream in finished):
                with turn:
                    waiting = iter(())
            for stream in streams:
                stream.result()

    def _begin(
        self, connection: psycopg.Connection[Any], tables: dict[str, Table], load_id: str
    ) -> set[tuple[str, int]]:
        name = qualified(self.schema, LOAD_TABLE)
        with connection.transaction():
            set_transaction(connection, self.state.compression, self.state.owner)
            exists = connection.execute("SELECT to_regclass(%s)", (name.as_string(connection),)).fetchone() != (None,)
            if exists and self._taken_over(connection) == load_id:
                found = connection.execute(
                    sql.SQL("SELECT table_name, first FROM {} WHERE first IS NOT NULL").format(name)
                )
                return {(str(table), int(first)) for table, first in found}
            schema = quoted(self.schema)
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(schema))
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
            connection.execute(
                sql.SQL("CREATE TABLE {} (load_id text, attempt text, table_name text, first bigint)").format(name)
            )
            connection.execute(
                sql.SQL("INSERT INTO {} VALUES (%s, %s, NULL, NULL)").format(name), (load_id, self.attempt)
            )
            connection.execute(SQL["drop_kept_client"], {"client": self.schema, "generation": 2**62})
            for table in tables.values():
                create_table(connection, self.schema, table)
        return set()

    def _taken_over(self, connection: psycopg.Connection[Any]) -> str | None:
        """Shut earlier attempts out, whose last chunks may be committing yet, and return which load they were at."""
        statement = sql.SQL("UPDATE {} SET attempt = %s WHERE first IS NULL RETURNING load_id").format(
            qualified(self.schema, LOAD_TABLE)
        )
        found = connection.execute(statement, (self.attempt,)).fetchone()
        return str(found[0]) if found else None

    def _refuse_outdated(self, connection: psycopg.Connection[Any]) -> None:
        statement = sql.SQL("SELECT FROM {} WHERE first IS NULL AND attempt = %s FOR SHARE").format(
            qualified(self.schema, LOAD_TABLE)
        )
        if connection.execute(statement, (self.attempt,)).fetchone() is None:
            raise Fenced(
                f"{self.replica.name} is being loaded by another run.",
                why="It has begun later, and has taken this load over.",
                hint="Nothing was changed in the replica; wait for the other run.",
            )

    def _stream(self, next_chunk: Callable[[], Chunk | None]) -> None:
        with closing(open_private(self.shadow)) as source, self.replica.connect() as connection:
            source.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            while chunk := next_chunk():
                self.interrupt()
                self._load(source, connection, chunk)
                steps.reached("chunk loaded")

    def _load(self, source: apsw.Connection, connection: psycopg.Connection[Any], chunk: Chunk) -> None:
        """Load a chunk by COPY, and row by row where something in it does not fit."""
        try:
            with connection.transaction():
                set_transaction(connection, self.state.compression, self.state.owner)
                self._refuse_outdated(connection)
                rows, size = self._copy(source, connection, chunk)
                self._record(connection, chunk)
                written = Written(inserted=rows, bytes=size)
        except (*REFUSALS, _Refused, UnicodeError):
            with connection.transaction():
                set_transaction(connection, self.state.compression, self.state.owner)
                self._refuse_outdated(connection)
                written = self._write(source, connection, chunk)
                self._record(connection, chunk)
        with self.quarantine:
            self.written.inserted += written.inserted
            self.written.bytes += written.bytes

    def _record(self, connection: psycopg.Connection[Any], chunk: Chunk) -> None:
        statement = sql.SQL("INSERT INTO {} VALUES (NULL, NULL, %s, %s)").format(qualified(self.schema, LOAD_TABLE))
        connection.execute(statement, (chunk.table.name, chunk.first))

    def _copy(self, source: apsw.Connection, connection: psycopg.Connection[Any], chunk: Chunk) -> tuple[int, int]:
        columns = sql.SQL(", ").join([sql.Identifier(column.name) for column in chunk.table.columns])
        table = sql.Identifier(self.schema, chunk.table.name)
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(table, columns)  # sent without parameters
        with connection.cursor() as cursor, cursor.copy(statement) as copy:

            def told(rows: int) -> None:
                self.progress(chunk.table.name, rows)
                self.interrupt()

            return copy_rows(copy, chunk.table, _rows(source, chunk), told)

    def _write(self, source: apsw.Connection, connection: psycopg.Connection[Any], chunk: Chunk) -> Written:
        writer = TableWriter(
            connection, self.schema, self.schema, chunk.table, 0, has_kept=False, interrupt=self.interrupt
        )
        rows = _rows(source, chunk)
        writer.write(Changed(row, None) for row in _without_null_keys(chunk.table, rows, writer))
        self.progress(chunk.table.name, writer.written.inserted)
        return writer.written


def _rows(source: apsw.Connection, chunk: Chunk) -> Iterator[Row]:
    if chunk.last is None:
        return read_table(source, chunk.table)
    return read_range(source, chunk.table, chunk.first, chunk.last)


def _without_null_keys(table: Table, rows: Iterator[Row], writer: TableWriter) -> Iterator[Row]:
    for row in rows:
        if any(row[place] is None for place in table.key_places):
            writer.keeper.keep_row(row, NULL_KEY)
        else:
            yield row


def copy_rows(copy: psycopg.Copy, table: Table, rows: Iterator[Row], told: Callable[[int], None]) -> tuple[int, int]:
    """Write rows into an open COPY; return their number and their bytes.

    What a row needs depends on the storage classes of its values only, so it is worked out once for each combination.

    Raises:
        _Refused: a value does not fit its column; nothing of the COPY counts then.
    """
    plans: dict[tuple[type, ...], tuple[tuple[int, Column], ...]] = {}
    number = size = reported = 0
    pause = _PAUSE_BYTES
    for row in rows:
        classes = tuple(map(type, row))
        places = plans.get(classes)
        if places is None:
            places = plans[classes] = _plan(table, classes)
        if places:
            copy.write_row(_converted(row, places))
        else:
            copy.write_row(row)
        size += sum([len(value) for value in row if value.__class__ in _LONG])
        number += 1
        if number - reported == _PROGRESS_ROWS or size >= pause:
            told(number - reported)
            reported, pause = number, size + _PAUSE_BYTES
    told(number - reported)
    return number, size


def _plan(table: Table, classes: tuple[type, ...]) -> tuple[tuple[int, Column], ...]:
    """Return the columns whose values must be looked at; the server itself judges text, JSON and truth values."""
    looked_at = []
    for place, (column, kind) in enumerate(zip(table.columns, classes, strict=True)):
        if kind is type(None):
            if column.key_position:
                raise _Refused(column.name)
        elif kind not in _AS_IS[column.kind]:
            looked_at.append((place, column))
    return tuple(looked_at)


_AS_IS: Final[dict[str, frozenset[type]]] = {
    "text": frozenset({str}),
    "json": frozenset({str, int}),
    "bigint": frozenset({int}),
    "boolean": frozenset({int}),
    "double precision": frozenset({float}),
    "numeric": frozenset({int}),
    "date": frozenset(),
    "timestamp": frozenset(),
    "bytea": frozenset({bytes}),
}


def _converted(row: Row, places: tuple[tuple[int, Column], ...]) -> list[Stored]:
    stored: list[Any] = list(row)
    for place, column in places:
        stored[place], kept = convert(column.kind, row[place])
        if kept:
            raise _Refused(column.name)
    return stored


def load_id(baseline: Baseline, *, steady: bool) -> str:
    """Return what tells one load from another; equal only where the same state of the source is loaded again."""
    return json.dumps([baseline.fingerprint, baseline.generation]) if steady else uuid4().hex
