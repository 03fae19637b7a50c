"""Rows into one table of a replica, in batches of which one bad row never costs the rest."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg import sql

from client_manager.replication.difference import Changed
from client_manager.replication.digest import local_digest, quoted, row_text
from client_manager.replication.keeping import Keeper
from client_manager.replication.replica import names, qualified
from client_manager.replication.steps import Interrupt, uninterrupted
from client_manager.replication.tables import Table
from client_manager.replication.values import (
    Kept,
    Row,
    Stored,
    convert,
    is_json,
    row_key,
)

BATCH_ROWS: Final = 1000
BATCH_BYTES: Final = 4 * 1024 * 1024
NULL_KEY: Final = "the key is NULL"
# What one row can be refused for; anything else concerns the connection, the role or the server.
REFUSALS: Final = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.errors.ProgramLimitExceeded,
    psycopg.errors.StatementTooComplex,
)
_TO_VALIDATE: Final = "json"


@dataclass
class Written:
    """What a run has written."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    bytes: int = 0


@dataclass
class _Item:
    """One row under way: what stands in the replica, which columns of it are sent, and which originals are kept."""

    row: Row
    stored: list[Stored]
    kept: dict[int, Kept]
    places: tuple[int, ...] | None
    size: int = 0


@dataclass
class TableWriter:
    """Writes the rows of one table inside the caller's transaction.

    Attributes:
        has_kept: whether the table has entries in quarantine that rows written anew must replace.
    """

    connection: psycopg.Connection[Any]
    client: str
    schema: str
    table: Table
    generation: int
    has_kept: bool
    interrupt: Interrupt = uninterrupted
    written: Written = field(default_factory=Written)
    null_keys: bool = False
    keeper: Keeper = field(init=False)
    _waiting: list[_Item] = field(default_factory=list)
    _waiting_bytes: int = 0

    def __post_init__(self) -> None:
        """Keep what does not fit under the client's name."""
        self.keeper = Keeper(self.connection, self.client, self.table, self.generation)

    def write(self, changes: Iterable[Changed]) -> None:
        """Write new and changed rows."""
        for change in changes:
            item = self._item(change)
            if item is None:
                continue
            self._waiting.append(item)
            self._waiting_bytes += item.size
            if len(self._waiting) >= BATCH_ROWS or self._waiting_bytes >= BATCH_BYTES:
                self.flush()
        self.flush()

    def delete(self, keys: Sequence[Row]) -> None:
        """Delete rows by their keys; the rows of a table without a key by their content."""
        if not self.table.key:
            self._delete_by_content(keys)
            return
        found: list[list[Stored]] = []
        for key in keys:
            stored = self._stored_key(key)
            if stored is not None:
                found.append(stored)
            if None in key:
                self.null_keys = True
            elif self.has_kept:
                self.keeper.drop_row(row_key(key))
        if found:
            self._many(sql.SQL("DELETE FROM {} WHERE {}").format(self._name(), self._by_key()), found)
        self.written.deleted += len(keys)

    def keep_null_keys(self, rows: Iterable[Row]) -> None:
        """Keep whole all rows whose key is NULL; no key tells which of them are new."""
        self.keeper.drop_reason(NULL_KEY)
        for row in rows:
            self.keeper.keep_row(row, NULL_KEY)

    def keep_anew(self, rows: Iterable[Row]) -> None:
        """Keep the originals of a table without a key; no key tells which of them are new."""
        self.keeper.drop_table()
        for row in rows:
            item = self._item(Changed(row, None))
            if item is not None:
                self._validate(item)
                self._keep(item, range(len(item.stored)))

    def flush(self) -> None:
        """Send what waits."""
        self.interrupt()
        items, self._waiting, self._waiting_bytes = self._waiting, [], 0
        if self.has_kept and self.table.key:
            self._replace_kept(items)
        self._send(items)

    def _item(self, change: Changed) -> _Item | None:
        """Convert a row; None where it has no place in the replica and is kept whole."""
        stored: list[Stored] = []
        kept: dict[int, Kept] = {}
        sent = range(len(change.row)) if change.places is None else change.places
        for column, value in zip(self.table.columns, change.row, strict=True):
            result, reason = convert(column.kind, value)
            stored.append(result)
            if reason:
                kept[len(stored) - 1] = reason
        for place in self.table.key_places:
            if change.row[place] is None:
                self.null_keys = True
                return None
            if place in kept:
                if self.has_kept:
                    self.keeper.drop_row(self.keeper.row_key(change.row, stored))
                self.keeper.keep_row(change.row, f"key column {self.table.columns[place].name}: {kept[place].reason}")
                return None
        size = sum(len(value) if isinstance(value, str | bytes) else 8 for value in (stored[place] for place in sent))
        return _Item(change.row, stored, kept, change.places, size)

    def _send(self, items: list[_Item]) -> None:
        """Send a batch; where the server refuses it, look for the values that it cannot take, then for the row."""
        inserts = [item for item in items if item.places is None]
        groups: dict[tuple[int, ...], list[_Item]] = {}
        for item in items:
            if item.places is not None:
                groups.setdefault(item.places, []).append(item)
        for places, group in groups.items():
            if not self._update(places, group):
                if self.has_kept:
                    self._replace_kept(group, whole=True)
                inserts += group
        self._insert(inserts)

    def _update(self, places: tuple[int, ...], items: list[_Item]) -> bool:
        """Update only the columns that differ; False where a row is not there or was refused."""
        places = tuple(place for place in places if place not in self.table.key_places)
        if not places:
            return False
        assignments = sql.SQL(", ").join(
            [sql.SQL("{} = %s").format(quoted(self.table.columns[place].name)) for place in places]
        )
        statement = sql.SQL("UPDATE {} SET {} WHERE {}").format(self._name(), assignments, self._by_key())
        wanted = [*places, *self.table.key_places]

        def send() -> bool:
            return self._many(statement, [[item.stored[place] for place in wanted] for item in items]) == len(items)

        if not self._guarded(send):
            return False
        self._count(items)
        for item in items:
            self._keep(item, places)
        return True

    def _insert(self, items: list[_Item]) -> None:
        if not items:
            return
        if self._guarded(lambda: self._upsert(items)):
            self._count(items)
            for item in items:
                self._keep(item, range(len(item.stored)))
            return
        unfit = [item for item in items if self._validate(item)]
        if unfit:
            self._insert(items)
        elif len(items) == 1:
            self._give_up(items[0])
        else:
            middle = len(items) // 2
            self._insert(items[:middle])
            self._insert(items[middle:])

    def _upsert(self, items: list[_Item]) -> bool:
        values = sql.SQL(", ").join([sql.Placeholder()] * len(self.table.columns))
        statement = sql.SQL("INSERT INTO {} ({}) VALUES ({}) {}").format(
            self._name(), names(self.table.columns), values, self._on_conflict()
        )
        self._many(statement, [item.stored for item in items])
        return True

    def _on_conflict(self) -> sql.Composable:
        if not self.table.key:
            return sql.SQL("")
        rest = [column for column in self.table.columns if not column.key_position]
        if not rest:
            return sql.SQL("ON CONFLICT DO NOTHING")
        assignments = sql.SQL(", ").join([sql.SQL("{0} = excluded.{0}").format(quoted(c.name)) for c in rest])
        return sql.SQL("ON CONFLICT ({}) DO UPDATE SET {}").format(names(self.table.key), assignments)

    def _guarded(self, send: Callable[[], bool]) -> bool:
        """Send inside a savepoint; False where the server refused a row."""
        try:
            with self.connection.transaction():
                if send():
                    return True
                raise psycopg.Rollback
        except REFUSALS:
            pass
        return False

    def _many(self, statement: sql.Composed, rows: Sequence[Sequence[Stored]]) -> int:
        """Send one statement for many rows in a pipeline; return the rows that it met."""
        with self.connection.cursor() as cursor:
            cursor.executemany(statement, rows)
            return cursor.rowcount

    def _validate(self, item: _Item) -> bool:
        """Take out the JSON that the server would refuse; True where there was any."""
        found = False
        for place, column in enumerate(self.table.columns):
            value = item.stored[place]
            if column.kind == _TO_VALIDATE and isinstance(value, str) and is_json(value) is False:
                item.stored[place] = None
                item.kept[place] = Kept("quarantined", "text that is not JSON")
                found = True
        return found

    def _give_up(self, item: _Item) -> None:
        """Keep a row that the server refuses whole, and nothing of it in the replica."""
        if self.table.key:
            key = [item.stored[place] for place in self.table.key_places]
            self._many(sql.SQL("DELETE FROM {} WHERE {}").format(self._name(), self._by_key()), [key])
        self.keeper.keep_row(item.row, "PostgreSQL refuses the row")

    def _count(self, items: list[_Item]) -> None:
        for item in items:
            self.written.bytes += item.size
            if item.places is None:
                self.written.inserted += 1
            else:
                self.written.updated += 1

    def _keep(self, item: _Item, places: Iterable[int]) -> None:
        for place in places:
            if place in item.kept:
                self.keeper.keep_value(
                    self.keeper.row_key(item.row, item.stored), place, item.row[place], item.kept[place]
                )

    def _replace_kept(self, items: Iterable[_Item], *, whole: bool = False) -> None:
        """Drop what was kept of rows, or of columns of them, that are written anew."""
        self.keeper.drop_columns(
            (self.keeper.row_key(item.row, item.stored), None if whole else item.places) for item in items
        )

    def _stored_key(self, key: Row) -> list[Stored] | None:
        stored: list[Stored] = []
        for column, value in zip(self.table.key, key, strict=True):
            result, kept = convert(column.kind, value)
            if kept or result is None:
                return None
            stored.append(result)
        return stored

    def _delete_by_content(self, rows: Sequence[Row]) -> None:
        """Delete as many rows of each content as are gone; there is nothing else to tell them by."""
        gone: dict[str, int] = {}
        for row in rows:
            stored = [convert(column.kind, value)[0] for column, value in zip(self.table.columns, row, strict=True)]
            item = _Item(row, stored, {}, None)
            self._validate(item)
            digest = local_digest(self.table.columns, item.stored)
            gone[digest] = gone.get(digest, 0) + 1
        if gone:
            statement = sql.SQL(
                "DELETE FROM {table} WHERE ctid IN (SELECT at FROM (SELECT ctid AS at, md5({row}) AS digest,"
                " row_number() OVER (PARTITION BY md5({row})) AS nth FROM {table}) s"
                " JOIN unnest(%s::text[], %s::bigint[]) AS gone (digest, many) USING (digest) WHERE s.nth <= gone.many)"
            ).format(table=self._name(), row=row_text(self.table.columns))
            self.connection.execute(statement, [list(gone), list(gone.values())])
        self.written.deleted += len(rows)

    def _name(self) -> sql.Composed:
        return qualified(self.schema, self.table.name)

    def _by_key(self) -> sql.Composed:
        return sql.SQL(" AND ").join([sql.SQL("{} = %s").format(quoted(c.name)) for c in self.table.key])
