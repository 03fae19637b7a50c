"""The replica compared with a private copy of the source, and made equal to it."""

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from client_manager.models.replication import Difference
from client_manager.replication.descriptors import open_private
from client_manager.replication.difference import Changed
from client_manager.replication.digest import quoted, row_text
from client_manager.replication.guards import DeleteGuard
from client_manager.replication.reading import count_rows, null_key_rows, read_table
from client_manager.replication.replica import SQL, Replica, create_table, drop_table, qualified
from client_manager.replication.steps import Interrupt, uninterrupted
from client_manager.replication.strategies import Decision
from client_manager.replication.tables import Table
from client_manager.replication.verify import RowDifference, as_report
from client_manager.replication.writer import TableWriter, Written


@dataclass
class Reconciliation:
    """Mends differences in the caller's transaction.

    Attributes:
        judge: says what becomes of a difference.
        log: is told of each that is a conflict; without a baseline it may be the source's own change.
        undecided: how many rows wait for the operator.
    """

    replica: Replica
    connection: psycopg.Connection[Any]
    copy: Path
    generation: int
    guard: DeleteGuard
    judge: Callable[[RowDifference], Decision]
    log: Callable[[RowDifference, Decision], None] | None = None
    interrupt: Interrupt = uninterrupted
    written: Written = field(default_factory=Written)
    tables: set[str] = field(default_factory=set)
    undecided: int = 0

    def apply(self, differences: Iterable[RowDifference]) -> list[Difference]:
        """Mend what the strategies say is to be mended; return everything that differed."""
        reports: list[Difference] = []
        by_table: dict[str, list[RowDifference]] = {}
        for difference in differences:
            decision = self.judge(difference)
            self.undecided += not decision.settled
            reports.append(as_report(difference, decision.strategy))
            if self.log:
                self.log(difference, decision)
            if decision.write_source:
                by_table.setdefault(difference.table.name, []).append(difference)
        for found in by_table.values():
            self._mend(found[0].table, found)
        return reports

    def _mend(self, table: Table, differences: list[RowDifference]) -> None:
        if not table.columns:
            self.drop(table.name)
            return
        if any(difference.is_table for difference in differences):
            self.make(table)
            return
        writer = self._writer(table)
        extra = [difference for difference in differences if difference.local is None]
        self.guard.check(table.name, len(extra), self._rows(table) + len(extra))
        for difference in extra:
            self._delete(table, difference)
        if not table.key:
            for difference in differences:
                if difference.local is not None and difference.remote is not None:
                    self._delete(table, difference)
        writer.written.deleted += len(extra)
        writer.write(Changed(d.local.source, None) for d in differences if d.local is not None)
        self._keep_null_keys(writer)
        self._count(writer, sum(1 for d in differences if d.local is not None and d.remote is not None))

    def make(self, table: Table) -> None:
        """Make a table anew from the source."""
        drop_table(self.connection, self.replica.name, table.name)
        create_table(self.connection, self.replica.name, table)
        self.connection.execute(SQL["drop_kept_table"], {"client": self.replica.name, "table": table.name})
        writer = self._writer(table)
        source = open_private(self.copy)
        try:
            writer.write(Changed(row, None) for row in read_table(source, table))
        finally:
            source.close()
        self._keep_null_keys(writer)
        self._count(writer, 0)

    def _keep_null_keys(self, writer: TableWriter) -> None:
        if writer.null_keys:
            with closing(open_private(self.copy)) as source:
                writer.keep_null_keys(null_key_rows(source, writer.table))

    def drop(self, table: str) -> None:
        """Drop a table that the source has no more."""
        statement = sql.SQL("SELECT count(*) FROM {}").format(qualified(self.replica.name, table))
        found = (
            self.connection.execute(statement, ()).fetchone()
            if self.replica.has_table(self.connection, table)
            else None
        )
        rows = int(found[0]) if found else 0
        self.guard.check(table, rows, rows)
        self.written.deleted += rows
        drop_table(self.connection, self.replica.name, table)
        self.connection.execute(SQL["drop_kept_table"], {"client": self.replica.name, "table": table})
        self.tables.add(table)

    def _writer(self, table: Table) -> TableWriter:
        name = self.replica.name
        return TableWriter(self.connection, name, name, table, self.generation, has_kept=True, interrupt=self.interrupt)

    def _rows(self, table: Table) -> int:
        source = open_private(self.copy)
        try:
            return count_rows(source, table)
        finally:
            source.close()

    def _delete(self, table: Table, difference: RowDifference) -> None:
        """Delete a replica's row that the source does not have."""
        values = difference.remote or ()
        name = qualified(self.replica.name, table.name)
        if table.key:
            where = sql.SQL(" AND ").join([sql.SQL("{} = %s").format(quoted(c.name)) for c in table.key])
            self.connection.execute(
                sql.SQL("DELETE FROM {} WHERE {}").format(name, where), [values[place] for place in table.key_places]
            )
            self.connection.execute(
                SQL["drop_kept_row"], {"client": self.replica.name, "table": table.name, "row_key": difference.key}
            )
            return
        self.connection.execute(
            sql.SQL("DELETE FROM {table} WHERE ctid = (SELECT ctid FROM {table} WHERE md5({row}) = %s LIMIT 1)").format(
                table=name, row=row_text(table.columns)
            ),
            (difference.remote_digest,),
        )

    def _count(self, writer: TableWriter, changed: int) -> None:
        written = writer.written
        self.written.inserted += written.inserted - changed
        self.written.updated += changed
        self.written.deleted += written.deleted
        self.written.bytes += written.bytes
        self.tables.add(writer.table.name)
