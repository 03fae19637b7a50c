"""A client's source, its replica, and the folder that says how the one follows the other."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from client_manager.replication.baseline import Baseline, Folder
from client_manager.replication.replica import SQL, Replica
from client_manager.replication.runs import Run, next_baseline, refuse_unfit
from client_manager.replication.source import Source
from client_manager.replication.steps import Interrupt, uninterrupted
from client_manager.replication.tables import Table, read_tables
from client_manager.replication.trouble import SourceTrouble


@dataclass(frozen=True)
class Pair:
    """What every kind of run of a client needs."""

    source: Source
    replica: Replica
    folder: Folder

    def begin(
        self,
        connection: psycopg.Connection[Any],
        term: int | None,
        *,
        confirmed: bool,
        interrupt: Interrupt = uninterrupted,
    ) -> Run:
        """Begin a run; without a term it goes with the newest."""
        fingerprint = self.source.fingerprint()
        state = self.replica.state(connection)
        return Run(
            state,
            state.fence if term is None else term,
            tuple(fingerprint) if fingerprint else None,
            confirmed,
            interrupt,
        )

    @contextmanager
    def told_trouble(self, run: Run) -> Iterator[None]:
        """Write down why a client stops, where the next node and the operator see it."""
        try:
            yield
        except SourceTrouble as trouble:
            with self.replica.connect() as connection:
                connection.execute(
                    SQL["set_status"],
                    {
                        "client": self.replica.name,
                        "status": trouble.status,
                        "reason": trouble.reason,
                        "term": run.term,
                    },
                )
            raise trouble.as_error() from trouble

    def copy(self, run: Run) -> tuple[dict[str, Table], Baseline]:
        """Copy one state of the source to ``shadow.new``; the source is let go before anything else happens."""
        with self.source.snapshot() as snapshot:
            tables = read_tables(snapshot.connection)
            refuse_unfit(snapshot.connection, tables, set())
            self.folder.write_next_shadow(snapshot.pages)
            baseline = next_baseline(snapshot, run)
        run.interrupt()
        self.folder.sync_next_shadow()
        return tables, baseline
