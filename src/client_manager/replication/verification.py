"""The replica compared with the source as it is now, and what no change of the source explains mended."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import psycopg

from client_manager.models.replication import Difference, VerifyResult
from client_manager.replication import declaration
from client_manager.replication.decisions import Decisions
from client_manager.replication.descriptors import open_private
from client_manager.replication.full import advance_parameters
from client_manager.replication.guards import DeleteGuard
from client_manager.replication.image import FilePages
from client_manager.replication.pair import Pair
from client_manager.replication.progress import Job, Told
from client_manager.replication.reconcile import Reconciliation
from client_manager.replication.replica import SQL
from client_manager.replication.runs import Clock, Run, opened
from client_manager.replication.steps import Interrupt, uninterrupted
from client_manager.replication.tables import Table, read_tables
from client_manager.replication.verify import Comparison, RowDifference, as_report


@dataclass(frozen=True)
class Verification:
    """Verifies one client.

    Attributes:
        strategies, node_name: as in ``Options``.
        term, interrupt: as ``Engine.run`` has them.
        told: is called with a table and how many rows of the source were compared.
    """

    pair: Pair
    strategies: Mapping[str, str] | None
    triggered_by: str
    node_name: str | None = None
    term: int | None = None
    interrupt: Interrupt = uninterrupted
    told: Told | None = None

    def compare(self) -> VerifyResult:
        """Compare with a fresh copy, which also audits baseline and gate."""
        clock = Clock()
        replica, folder = self.pair.replica, self.pair.folder
        with replica.connect() as connection:
            run = self.pair.begin(connection, self.term, confirmed=False, interrupt=self.interrupt)
        with self.pair.told_trouble(run):
            tables, _ = self.pair.copy(run)
        clock.phase("snapshot")
        comparison = Comparison(
            replica, replica.name, replica.name, folder.next_shadow, tables, self.interrupt, self.told
        )
        with replica.connect() as connection:
            decisions = self._decisions(connection, run)
            found = [as_report(found, decisions.of(found).strategy) for found in comparison.differences()]
            folder.next_shadow.unlink()
            clock.phase("compare")
            equal = all(difference.strategy == "target_wins" for difference in found)
            if equal:
                self._mark_verified(connection, run)
                decisions.settle_equal(found, run.term)
        return VerifyResult(
            equal=equal,
            differences=tuple(found),
            rows=comparison.rows,
            generation=run.state.generation,
            seconds=clock.seconds,
        )

    def heal(self) -> list[Difference]:
        """Mend what differs from the baseline; return what differed."""
        replica, folder = self.pair.replica, self.pair.folder
        with folder.held("heal"), replica.connect() as connection:
            run = self.pair.begin(connection, self.term, confirmed=True, interrupt=self.interrupt)
            baseline = folder.recover(run.state.generation, run.state.token)
            if baseline is None:
                return []
            tables, differences = self._compare_shadow()
            if not differences:
                self._mark_verified(connection, run)
                self._decisions(connection, run).settle_equal([], run.term)
                return []
            following = baseline.model_copy(update={"generation": baseline.generation + 1, "token": uuid4().hex})
            with opened(folder.shadow) as descriptor:
                folder.write_pending(following, FilePages(descriptor), ())
            with replica.writing(connection, run.state, run.term, run.interrupt):
                decisions = self._decisions(connection, run)
                mending = Reconciliation(
                    replica,
                    connection,
                    folder.shadow,
                    following.generation,
                    DeleteGuard(confirmed=True),
                    decisions.of,
                    decisions.log,
                    run.interrupt,
                )
                healed = mending.apply(differences)
                decisions.settle_equal(healed, run.term)
                job = Job(replica, "incremental", self.triggered_by, node_name=self.node_name, term=self.term)
                job.record(connection, mending.written, len(mending.tables), run.clock.total())
                declared = declaration.of_copy(folder.shadow, run.state.declared)
                parameters = advance_parameters(
                    replica.name, following, tables, declared, verified=not mending.undecided
                )
                connection.execute(SQL["advance"], parameters)
            folder.apply(following.generation)
            return healed

    def _mark_verified(self, connection: psycopg.Connection[Any], run: Run) -> None:
        connection.execute(SQL["mark_verified"], {"client": self.pair.replica.name, "term": run.term})

    def _decisions(self, connection: psycopg.Connection[Any], run: Run) -> Decisions:
        strategies = run.state.strategies if self.strategies is None else self.strategies
        return Decisions(connection, self.pair.replica.name, strategies)

    def _compare_shadow(self) -> tuple[dict[str, Table], list[RowDifference]]:
        shadow, replica = self.pair.folder.shadow, self.pair.replica
        source = open_private(shadow)
        try:
            tables = read_tables(source)
        finally:
            source.close()
        comparison = Comparison(replica, replica.name, replica.name, shadow, tables, self.interrupt)
        return tables, list(comparison.differences())
