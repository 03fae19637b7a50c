"""One client's replication: find out what has changed, bring it over exactly once, prove it.

Every run reads one committed state of the source and writes one transaction, in which the client's generation moves
with the rows; ``baseline`` says how the local files follow. The levels, each the audit of the one before: nothing
changed; differing pages; whole tables against the baseline; everything against the replica; everything anew.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote
from uuid import uuid4

import apsw
import psycopg

from client_manager.gateways.database import Database
from client_manager.models.replication import Difference, RunResult, VerifyResult
from client_manager.replication.baseline import Baseline, Folder
from client_manager.replication.full import FullLoad, advance_parameters
from client_manager.replication.guards import DeleteGuard
from client_manager.replication.image import FilePages
from client_manager.replication.incremental import Increment
from client_manager.replication.progress import Job, Told
from client_manager.replication.reconcile import Reconciliation
from client_manager.replication.replica import SQL, Replica, ReplicaState
from client_manager.replication.runs import Clock, Run, next_baseline, opened, refuse_unfit
from client_manager.replication.source import Snapshot, Source, open_private
from client_manager.replication.strategies import decide
from client_manager.replication.tables import Table, read_tables
from client_manager.replication.trouble import SourceTrouble
from client_manager.replication.verify import Comparison, as_report
from client_manager.replication.writer import Written

AUDIT_EVERY: Final = 50
_STREAMS: Final = 2


@dataclass(frozen=True)
class Options:
    """How a client is replicated.

    Attributes:
        streams: COPY streams of a full load; more than the server has cores bring nothing.
        audit_every: after so many page-pruned runs whole tables are compared.
        triggered_by: who asked, as ``sync_jobs`` shows it.
        strategies: table, or ``*``, -> conflict strategy; the client's own where None.
    """

    streams: int = _STREAMS
    audit_every: int = AUDIT_EVERY
    triggered_by: str = "console"
    strategies: Mapping[str, str] | None = None


class Engine:
    """Replicates one SQLite database into one schema. Close it, or use it in a ``with``."""

    def __init__(  # noqa: PLR0913  what is replicated, from where to where
        self,
        source: Path,
        schema: str,
        *,
        database: Database,
        state_dir: Path,
        options: Options = Options(),
        progress: Told | None = None,
    ) -> None:
        self._folder = Folder(state_dir)
        self._source = Source(source, self._folder.copy)
        self._replica = Replica(database, schema)
        self._options = options
        self._told = progress

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptors of the source back."""
        self._source.close()

    def is_idle(self) -> bool:
        """Say whether the source is what it was at the last run: some bytes read, no lock, no query."""
        fingerprint = self._source.fingerprint()
        baseline = self._folder.baseline()
        return baseline is not None and fingerprint is not None and tuple(fingerprint) == baseline.fingerprint

    def run(self, *, full: bool = False, term: int | None = None, confirmed: bool = False) -> RunResult:
        """Bring the replica up to the source.

        Args:
            full: load everything anew.
            term: of the leader that asks; None for a run by hand, which goes with the newest.
            confirmed: the operator has seen what a guard stopped at.

        Raises:
            Blocked: the source is missing, damaged, replaced or has lost too much; the state says why.
            Unavailable: it is too busy, or PostgreSQL does not answer.
            Conflict: another run has the client, or a newer leader.
        """
        with self._folder.held("replicate"), self._replica.connect() as connection:
            run = self._begin(connection, term, confirmed=confirmed)
            with self._told_trouble(run):
                baseline = self._folder.recover(run.state.generation, run.state.token)
                run.clock.phase("recover")
                if baseline and not full and baseline.fingerprint == run.fingerprint and run.state.is_settled:
                    return self._result(connection, "idle", Written(), set(), run, baseline.generation)
                if full or run.state.generation == 0 or not run.state.has_schema:
                    return self._full(connection, run)
                if baseline is None:
                    return self._reconcile(connection, run)
                return self._incremental(connection, run, baseline)

    def verify(self, *, heal: bool = True) -> VerifyResult:
        """Compare the replica with the source as it is now; with ``heal``, make it equal and log what was not.

        Raises:
            Blocked, Unavailable, Conflict: as ``run``.
        """
        with self._folder.held("verify"):
            found = self._compare_now()
        if not found.differences or not heal:
            return found
        self.run()
        healed = self._heal()
        return found.model_copy(update={"healed": len(healed)})

    def _begin(self, connection: psycopg.Connection[Any], term: int | None, *, confirmed: bool) -> Run:
        fingerprint = self._source.fingerprint()
        state = self._replica.state(connection)
        return Run(
            state,
            state.fence if term is None else term,
            tuple(fingerprint) if fingerprint else None,
            confirmed,
        )

    @contextmanager
    def _told_trouble(self, run: Run) -> Iterator[None]:
        """Write down why a client stops, where the next node and the operator see it."""
        try:
            yield
        except SourceTrouble as trouble:
            with self._replica.connect() as connection:
                connection.execute(
                    SQL["set_status"],
                    {
                        "client": self._replica.name,
                        "status": trouble.status,
                        "reason": trouble.reason,
                        "term": run.term,
                    },
                )
            raise trouble.as_error() from trouble

    def _full(self, connection: psycopg.Connection[Any], run: Run) -> RunResult:
        tables, baseline = self._copy(run)
        steady = self._source.fingerprint() == list(run.fingerprint or ())
        run.clock.phase("snapshot")
        job = Job(self._replica, "full", self._options.triggered_by, self._told)
        job.begin(len(tables))
        load = FullLoad(self._replica, self._folder, run.state, self._options.streams, job, run.clock.phase)
        try:
            written = load.run(tables, baseline, run.term, steady=steady, confirmed=run.confirmed)
        except Exception as error:
            job.fail(type(error).__name__)
            raise
        return self._result(connection, "full", written, set(tables), run, baseline.generation)

    def _copy(self, run: Run) -> tuple[dict[str, Table], Baseline]:
        """Copy one state of the source to ``shadow.new``; the source is let go before anything else happens."""
        with self._source.snapshot() as snapshot:
            tables = read_tables(snapshot.connection)
            refuse_unfit(snapshot.connection, tables, set())
            self._folder.write_next_shadow(snapshot.pages)
            baseline = next_baseline(snapshot, run)
        self._folder.sync_next_shadow()
        return tables, baseline

    def _reconcile(self, connection: psycopg.Connection[Any], run: Run) -> RunResult:
        """Go on without a baseline: compare with the replica itself."""
        tables, baseline = self._copy(run)
        run.clock.phase("snapshot")
        comparison = Comparison(self._replica, self._replica.name, self._replica.name, self._folder.next_shadow, tables)
        differences = list(comparison.differences())
        run.clock.phase("detect")
        self._folder.write_replacement(baseline)
        with self._replica.writing(connection, run.state, run.term):
            mending = Reconciliation(
                self._replica,
                connection,
                self._folder.next_shadow,
                baseline.generation,
                DeleteGuard(run.confirmed),
                {},
                log=False,
            )
            mending.apply(differences)
            for name in self._replica.replicated_tables(connection) - tables.keys():
                mending.drop(name)
            self._record(connection, run, mending.written, len(mending.tables), "incremental")
            connection.execute(SQL["advance"], advance_parameters(self._replica.name, baseline, tables, verified=True))
        run.clock.phase("apply")
        self._folder.apply(baseline.generation)
        run.clock.phase("shadow")
        return self._result(connection, "reconcile", mending.written, mending.tables, run, baseline.generation)

    def _incremental(self, connection: psycopg.Connection[Any], run: Run, baseline: Baseline) -> RunResult:
        try:
            with self._source.snapshot() as snapshot, _attached(snapshot, self._folder.shadow):
                return self._follow(connection, run, baseline, snapshot)
        except SourceTrouble as trouble:
            if trouble.status != "source_corrupt" or _is_sound(self._folder.shadow):
                raise
        self._folder.forget()
        return self._reconcile(connection, run)

    def _follow(
        self, connection: psycopg.Connection[Any], run: Run, baseline: Baseline, snapshot: Snapshot
    ) -> RunResult:
        increment = Increment(self._folder, self._replica, run, baseline, snapshot)
        missed = increment.search(audit=baseline.unaudited >= self._options.audit_every)
        run.clock.phase("detect")
        with self._replica.writing(connection, run.state, run.term):
            changes = increment.apply(connection)
            self._record(connection, run, changes.written, len(changes.tables), "incremental")
            parameters = advance_parameters(self._replica.name, increment.following, increment.now, verified=False)
            connection.execute(SQL["advance"], parameters)
            run.clock.phase("apply")
        run.clock.phase("commit")
        increment.finish()
        run.clock.phase("shadow")
        generation = increment.following.generation
        result = self._result(connection, increment.level, changes.written, changes.tables, run, generation)
        return result.model_copy(update={"missed": missed})

    def _record(
        self, connection: psycopg.Connection[Any], run: Run, written: Written, tables: int, sync_type: str
    ) -> None:
        job = Job(self._replica, sync_type, self._options.triggered_by, self._told)
        job.record(connection, written, tables, sum(run.clock.seconds.values()))

    def _result(  # noqa: PLR0913, PLR0917  the parts of a result
        self,
        connection: psycopg.Connection[Any],
        level: Any,  # noqa: ANN401  pydantic checks it
        written: Written,
        tables: set[str],
        run: Run,
        generation: int,
    ) -> RunResult:
        kept = connection.execute(SQL["count_kept"], {"client": self._replica.name}).fetchone() or (0, 0)
        return RunResult(
            level=level,
            tables=len(tables),
            inserted=written.inserted,
            updated=written.updated,
            deleted=written.deleted,
            bytes=written.bytes,
            quarantined=kept[0],
            converted=kept[1],
            generation=generation,
            seconds=run.clock.seconds,
        )

    def _compare_now(self) -> VerifyResult:
        """Compare with a fresh copy, which also audits baseline and gate."""
        clock = Clock()
        with self._replica.connect() as connection:
            run = self._begin(connection, None, confirmed=False)
        with self._told_trouble(run):
            tables, _ = self._copy(run)
        clock.phase("snapshot")
        name = self._replica.name
        comparison = Comparison(self._replica, name, name, self._folder.next_shadow, tables)
        strategies = self._strategies(run.state)
        found: list[Difference] = []
        equal = True
        for difference in comparison.differences():
            decision = decide(difference, strategies)
            equal = equal and decision.strategy == "target_wins"
            found.append(as_report(difference, decision.strategy))
        self._folder.next_shadow.unlink()
        clock.phase("compare")
        if equal:
            with self._replica.connect() as connection:
                connection.execute(SQL["mark_verified"], {"client": name})
        return VerifyResult(
            equal=equal,
            differences=tuple(found),
            rows=comparison.rows,
            generation=run.state.generation,
            seconds=clock.seconds,
        )

    def _strategies(self, state: ReplicaState) -> Mapping[str, str]:
        return state.strategies if self._options.strategies is None else self._options.strategies

    def _heal(self) -> list[Difference]:
        """Mend what differs from the baseline, which no change of the source explains."""
        with self._folder.held("heal"), self._replica.connect() as connection:
            run = self._begin(connection, None, confirmed=True)
            baseline = self._folder.recover(run.state.generation, run.state.token)
            if baseline is None:
                return []
            tables, differences = self._compare_shadow()
            if not differences:
                return []
            following = baseline.model_copy(update={"generation": baseline.generation + 1, "token": uuid4().hex})
            with opened(self._folder.shadow) as descriptor:
                self._folder.write_pending(following, FilePages(descriptor), ())
            with self._replica.writing(connection, run.state, run.term):
                mending = Reconciliation(
                    self._replica,
                    connection,
                    self._folder.shadow,
                    following.generation,
                    DeleteGuard(confirmed=True),
                    self._strategies(run.state),
                    log=True,
                )
                healed = mending.apply(differences)
                self._record(connection, run, mending.written, len(mending.tables), "incremental")
                connection.execute(
                    SQL["advance"], advance_parameters(self._replica.name, following, tables, verified=True)
                )
            self._folder.apply(following.generation)
            return healed

    def _compare_shadow(self) -> tuple[dict[str, Table], list[Any]]:
        source = open_private(self._folder.shadow)
        try:
            tables = read_tables(source)
        finally:
            source.close()
        name = self._replica.name
        return tables, list(Comparison(self._replica, name, name, self._folder.shadow, tables).differences())


@contextmanager
def _attached(snapshot: Snapshot, shadow: Path) -> Iterator[None]:
    snapshot.connection.execute("ATTACH ? AS base", (f"file:{quote(str(shadow))}?mode=ro&immutable=1",))
    yield


def _is_sound(path: Path) -> bool:
    """Say whether a database of ours is undamaged."""
    try:
        connection = open_private(path)
        try:
            return connection.execute("PRAGMA quick_check(1)").fetchall() == [("ok",)]
        finally:
            connection.close()
    except (apsw.CorruptError, apsw.NotADBError, apsw.CantOpenError):
        return False
