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
from uuid import UUID

import apsw
import psycopg

from client_manager.gateways.database import Database
from client_manager.models.replication import RunResult, VerifyResult
from client_manager.replication import declaration
from client_manager.replication.baseline import Baseline, Folder
from client_manager.replication.decisions import Decisions
from client_manager.replication.descriptors import open_private
from client_manager.replication.full import FullLoad, advance_parameters
from client_manager.replication.guards import DeleteGuard
from client_manager.replication.incremental import Increment
from client_manager.replication.pair import Pair
from client_manager.replication.progress import Job, Told
from client_manager.replication.reconcile import Reconciliation
from client_manager.replication.replica import SQL, Replica
from client_manager.replication.runs import Run
from client_manager.replication.source import Snapshot, Source
from client_manager.replication.steps import Interrupt, uninterrupted
from client_manager.replication.trouble import SourceTrouble
from client_manager.replication.verification import Verification
from client_manager.replication.verify import Comparison
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
        node_name: of the node that replicates, as ``sync_jobs`` shows it; None by hand.
    """

    streams: int = _STREAMS
    audit_every: int = AUDIT_EVERY
    triggered_by: str = "console"
    strategies: Mapping[str, str] | None = None
    node_name: str | None = None


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
        self._pair = Pair(self._source, self._replica, self._folder)
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

    def stands_at(self, generation: int | None, token: str | None) -> bool:
        """Say whether the baseline is of this state of the replica; only then is an idle source an idle client."""
        baseline = self._folder.baseline()
        return baseline is not None and (baseline.generation, baseline.token) == (generation, token)

    def run(  # noqa: PLR0913  how, for whom, until when
        self,
        *,
        full: bool = False,
        term: int | None = None,
        confirmed: bool = False,
        job_id: UUID | None = None,
        within: UUID | None = None,
        interrupt: Interrupt = uninterrupted,
    ) -> RunResult:
        """Bring the replica up to the source.

        Args:
            full: load everything anew.
            term: of the leader that asks; None for a run by hand, which goes with the newest.
            confirmed: the operator has seen what a guard stopped at.
            job_id: of a running job that is ended with this run; without one, what takes long makes its own.
            within: of a running job that goes on after this run.
            interrupt: is asked between phases and batches; what it raises ends the run, and nothing takes effect.

        Raises:
            Blocked: the source is missing, damaged, replaced or has lost too much; the state says why.
            Unavailable: it is too busy, or PostgreSQL does not answer.
            Conflict: another run has the client, or a newer leader.
            Cancelled: or what else ``interrupt`` raises.
        """
        with self._folder.held("replicate"), self._replica.connect() as connection:
            run = self._pair.begin(connection, term, confirmed=confirmed, interrupt=interrupt)
            with self._pair.told_trouble(run):
                baseline = self._folder.recover(run.state.generation, run.state.token)
                run.clock.phase("recover")
                anew = full or run.state.generation == 0 or not run.state.has_schema
                job = self._job("full" if anew else "incremental", term, job_id, within)
                if baseline and not full and baseline.fingerprint == run.fingerprint and run.state.is_settled:
                    job.finish_idle(connection)
                    return self._result(connection, "idle", Written(), set(), run, baseline.generation)
                with job.failing(run.clock):
                    interrupt()
                    if anew:
                        return self._full(connection, run, job)
                    if baseline is None:
                        return self._reconcile(connection, run, job)
                    return self._incremental(connection, run, job, baseline)

    def _job(self, sync_type: str, term: int | None, job_id: UUID | None, within: UUID | None) -> Job:
        options = self._options
        return Job(self._replica, sync_type, options.triggered_by, self._told, job_id, options.node_name, term, within)

    def verify(
        self,
        *,
        heal: bool = True,
        term: int | None = None,
        within: UUID | None = None,
        interrupt: Interrupt = uninterrupted,
    ) -> VerifyResult:
        """Compare the replica with the source as it is now; with ``heal``, make it equal and log what was not.

        Args:
            heal: whether to write.
            term: as ``run``.
            within: as ``run``.
            interrupt: as ``run``.

        Raises:
            Blocked, Unavailable, Conflict, Cancelled: as ``run``.
        """
        options = self._options
        verification = Verification(
            self._pair,
            options.strategies,
            options.triggered_by,
            options.node_name,
            term,
            interrupt,
            self._job("verify", term, None, within).progress if within else self._told,
        )
        with self._folder.held("verify"):
            found = verification.compare()
        if not found.differences or not heal:
            return found
        self.run(term=term, within=within, interrupt=interrupt)
        conflicts = verification.heal()
        return found.model_copy(update={"healed": len(conflicts), "conflicts": tuple(conflicts)})

    def _full(self, connection: psycopg.Connection[Any], run: Run, job: Job) -> RunResult:
        tables, baseline = self._pair.copy(run)
        steady = self._source.fingerprint() == list(run.fingerprint or ())
        run.clock.phase("snapshot")
        job.begin(len(tables))
        load = FullLoad(self._replica, self._folder, self._options.streams, job, run)
        written = load.load(tables, baseline, steady=steady)
        return self._result(connection, "full", written, set(tables), run, baseline.generation)

    def _reconcile(self, connection: psycopg.Connection[Any], run: Run, job: Job) -> RunResult:
        """Go on without a baseline: compare with the replica itself."""
        tables, baseline = self._pair.copy(run)
        run.clock.phase("snapshot")
        name = self._replica.name
        comparison = Comparison(self._replica, name, name, self._folder.next_shadow, tables, run.interrupt)
        differences = list(comparison.differences())
        run.clock.phase("detect")
        self._folder.write_replacement(baseline)
        with self._replica.writing(connection, run.state, run.term, run.interrupt):
            mending = Reconciliation(
                self._replica,
                connection,
                self._folder.next_shadow,
                baseline.generation,
                DeleteGuard(run.confirmed),
                Decisions(connection, name, {}).without_baseline,
                interrupt=run.interrupt,
            )
            mending.apply(differences)
            for gone in self._replica.replicated_tables(connection) - tables.keys():
                mending.drop(gone)
            job.record(connection, mending.written, len(mending.tables), run.clock.total())
            declared = declaration.of_copy(self._folder.next_shadow, run.state.declared)
            parameters = advance_parameters(name, baseline, tables, declared, verified=not mending.undecided)
            connection.execute(SQL["advance"], parameters)
        run.clock.phase("apply")
        self._folder.apply(baseline.generation)
        run.clock.phase("shadow")
        return self._result(connection, "reconcile", mending.written, mending.tables, run, baseline.generation)

    def _incremental(self, connection: psycopg.Connection[Any], run: Run, job: Job, baseline: Baseline) -> RunResult:
        try:
            with self._source.snapshot() as snapshot, _attached(snapshot, self._folder.shadow):
                return self._follow(
                    connection, run, job, Increment(self._folder, self._replica, run, baseline, snapshot)
                )
        except SourceTrouble as trouble:
            if trouble.status != "source_corrupt" or _is_sound(self._folder.shadow):
                raise
        self._folder.forget()
        return self._reconcile(connection, run, job)

    def _follow(self, connection: psycopg.Connection[Any], run: Run, job: Job, increment: Increment) -> RunResult:
        increment.search(audit=increment.baseline.unaudited >= self._options.audit_every)
        run.clock.phase("detect")
        run.interrupt()
        with self._replica.writing(connection, run.state, run.term, run.interrupt):
            changes = increment.apply(connection)
            job.record(connection, changes.written, len(changes.tables), run.clock.total())
            declared = declaration.of_snapshot(increment.snapshot, run.state.declared)
            parameters = advance_parameters(
                self._replica.name, increment.following, increment.now, declared, verified=False
            )
            connection.execute(SQL["advance"], parameters)
            run.clock.phase("apply")
        run.clock.phase("commit")
        increment.finish()
        run.clock.phase("shadow")
        generation = increment.following.generation
        result = self._result(connection, increment.level, changes.written, changes.tables, run, generation)
        return result.model_copy(update={"missed": increment.missed})

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
