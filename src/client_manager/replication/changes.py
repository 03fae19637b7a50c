"""What differs between baseline and source, applied table by table."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import apsw
import psycopg

from client_manager.replication.difference import Changed, TableDifference
from client_manager.replication.guards import DeleteGuard
from client_manager.replication.reading import any_rows, count_rows, null_key_rows, read_table
from client_manager.replication.replica import SQL, Replica, change_columns, create_table, drop_table
from client_manager.replication.steps import Interrupt, uninterrupted
from client_manager.replication.tables import Table
from client_manager.replication.values import Row
from client_manager.replication.writer import TableWriter, Written

if TYPE_CHECKING:
    from array import array

_LOOK_FROM: Final = 1000  # fewer deletes need no count of the table


@dataclass
class Changes:
    """Applies what differs, table by table, in the caller's transaction."""

    replica: Replica
    connection: psycopg.Connection[Any]
    source: apsw.Connection
    generation: int
    kept_tables: set[str]
    guard: DeleteGuard
    interrupt: Interrupt = uninterrupted
    written: Written = field(default_factory=Written)
    tables: set[str] = field(default_factory=set)

    def apply(
        self, now: dict[str, Table], before: dict[str, Table], candidates: dict[str, "array[int] | None"]
    ) -> None:
        """Follow the declarations, then the rows."""
        for name in before.keys() - now.keys():
            self._drop(before[name])
        for name, table in now.items():
            old = before.get(name)
            if old is None:
                self._make(table)
            elif not (table.rowid or table.key) or _key_shape(old) != _key_shape(table):
                self._remake(table)
            else:
                self._follow(table, old, candidates[name])
        if self.written.deleted:
            self.guard.check_emptied(emptied=not any_rows(self.source, list(now.values())))

    def changes(self) -> int:
        """Return how many rows were written."""
        return self.written.inserted + self.written.updated + self.written.deleted

    def _writer(self, table: Table) -> TableWriter:
        return TableWriter(
            self.connection,
            self.replica.name,
            self.replica.name,
            table,
            self.generation,
            has_kept=table.name in self.kept_tables,
            interrupt=self.interrupt,
        )

    def _drop(self, table: Table) -> None:
        rows = count_rows(self.source, table, "base")
        self.guard.check(table.name, rows, rows)
        drop_table(self.connection, self.replica.name, table.name)
        self._forget_kept(table)
        self.written.deleted += rows
        self.tables.add(table.name)

    def _forget_kept(self, table: Table) -> None:
        self.connection.execute(SQL["drop_kept_table"], {"client": self.replica.name, "table": table.name})
        self.kept_tables.discard(table.name)

    def _remake(self, table: Table) -> None:
        drop_table(self.connection, self.replica.name, table.name)
        self._forget_kept(table)
        self._make(table)

    def _make(self, table: Table) -> None:
        drop_table(self.connection, self.replica.name, table.name)
        create_table(self.connection, self.replica.name, table)
        writer = self._writer(table)
        writer.write(Changed(row, None) for row in read_table(self.source, table))
        self._finish(writer)
        self.tables.add(table.name)

    def _follow(self, table: Table, old: Table, candidates: "array[int] | None") -> None:
        if table.shape != old.shape:
            change_columns(self.connection, self.replica.name, table, old)
            self._forget_columns(table, old)
            self.tables.add(table.name)
        elif candidates is not None and not candidates:
            return
        difference = TableDifference(self.source, table, old, candidates)
        writer = self._writer(table)
        self._delete(writer, list(difference.removed()), old)
        writer.write(difference.changed())
        self._finish(writer)

    def _delete(self, writer: TableWriter, gone: list[Row], old: Table) -> None:
        if len(gone) > _LOOK_FROM:
            self.guard.check(old.name, len(gone), count_rows(self.source, old, "base"))
        writer.delete(gone)

    def _forget_columns(self, table: Table, old: Table) -> None:
        for name in old.shape:
            if table.shape.get(name) != old.shape[name]:
                self.connection.execute(
                    SQL["drop_kept_column"], {"client": self.replica.name, "table": table.name, "column": name}
                )

    def _finish(self, writer: TableWriter) -> None:
        table = writer.table
        if writer.null_keys:
            writer.keep_null_keys(null_key_rows(self.source, table))
        written = writer.written
        if not table.key and (writer.keeper.kept_any or writer.has_kept) and (written.inserted or written.deleted):
            writer.keep_anew(read_table(self.source, table))
        if written.inserted or written.updated or written.deleted:
            self.tables.add(table.name)
        self.written.inserted += written.inserted
        self.written.updated += written.updated
        self.written.deleted += written.deleted
        self.written.bytes += written.bytes


def _key_shape(table: Table) -> list[tuple[str, str]]:
    return [(column.name, column.kind) for column in table.key]
