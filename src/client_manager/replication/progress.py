"""What others see of a run: its job and how far each table is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic
from typing import Any, Final, TypeAlias
from uuid import UUID

import psycopg

from client_manager.errors import Cancelled, ClientManagerError, Unavailable
from client_manager.gateways.database_errors import translated
from client_manager.replication.replica import SQL, Replica, as_json
from client_manager.replication.runs import Clock
from client_manager.replication.trouble import Fenced, SourceTrouble
from client_manager.replication.writer import Written

Told: TypeAlias = Callable[[str, int], None]
_REPORT_EVERY_S: Final = 1.0
_MINE: Final = as_json({"by": "replication"})


@dataclass
class Job:
    """The job of one run that takes long.

    Attributes:
        told: is called with a table and how many rows of it are in.
        job_id: of a job that runs already and that this run works off; else that of the one that it began.
        node_name, term: of the leader that runs it.
        within: a running job that this run is a part of: it is told how far the run is, and does not end with it.
    """

    replica: Replica
    sync_type: str
    triggered_by: str
    told: Told | None = None
    job_id: UUID | None = None
    node_name: str | None = None
    term: int | None = None
    within: UUID | None = None
    _rows: dict[str, int] = field(default_factory=dict)
    _reported: float = 0.0
    _begun: float = field(default_factory=monotonic)
    _lock: Lock = field(default_factory=Lock)

    def begin(self, tables: int) -> None:
        """Say that the run has begun; jobs of runs that were cut off end here."""
        with self.replica.connect() as connection, connection.transaction():
            self._abandon(connection)
            if self.within is not None:
                return
            begun = {**self._whose(), "tables": tables, "metadata": _MINE}
            if self.job_id is None:
                found = connection.execute(SQL["begin_job"], begun).fetchone()
                self.job_id = found[0] if found else None
            elif connection.execute(SQL["take_job"], {"job_id": self.job_id, "tables": tables}).fetchone() is None:
                raise Fenced(
                    f"The job {self.job_id} has been ended.",
                    why="Its term is over, and another node has closed it.",
                    hint="Nothing was changed in the replica.",
                )

    def _abandon(self, connection: psycopg.Connection[Any]) -> None:
        connection.execute(SQL["abandon_jobs"], {"client": self.replica.name, "job_id": self.job_id})

    def _whose(self) -> dict[str, object]:
        return {
            "client": self.replica.name,
            "sync_type": self.sync_type,
            "triggered_by": self.triggered_by,
            "node_name": self.node_name,
            "term": self.term,
        }

    def progress(self, table: str, rows: int) -> None:
        """Count rows of a table, and report them at most once a second."""
        with self._lock:
            self._rows[table] = self._rows.get(table, 0) + rows
            total = self._rows[table]
            if self.told:
                self.told(table, total)
            if monotonic() - self._reported < _REPORT_EVERY_S:
                return
            self._reported = monotonic()
            reported = dict(self._rows)
        self._report(reported, "running")

    def _report(self, rows: dict[str, int], status: str) -> None:
        with self.replica.connect() as connection, connection.transaction():
            self._write(connection, rows, status)

    def _write(self, connection: psycopg.Connection[Any], rows: dict[str, int], status: str) -> None:
        with connection.cursor() as cursor:
            cursor.executemany(
                SQL["report_progress"],
                [
                    {"job_id": self.job_id or self.within, "table": table, "rows": n, "status": status}
                    for table, n in rows.items()
                ],
            )

    def finish(self, connection: psycopg.Connection[Any], written: Written, tables: int) -> None:
        """Say how it ended, in the transaction of its rows."""
        self._write(connection, self._rows, "success")
        if self.within is None:
            self._finish(connection, "success", written, tables)
        else:
            self._record(connection, "success", written, tables, monotonic() - self._begun)

    def record(self, connection: psycopg.Connection[Any], written: Written, tables: int, seconds: float) -> None:
        """Write down a short run that is over, in the transaction of its rows."""
        self._abandon(connection)
        if self.job_id is None:
            self._record(connection, "success", written, tables, seconds)
        else:
            self._finish(connection, "success", written, tables)

    def finish_idle(self, connection: psycopg.Connection[Any]) -> None:
        """Say of a job that there was nothing to do; a run that nobody has asked for leaves none."""
        if self.job_id is not None:
            self._finish(connection, "success", Written(), 0)

    @contextmanager
    def failing(self, clock: Clock) -> Iterator[None]:
        """Let a run that fails leave its job behind, and the error pass.

        None is left where another run has taken the client over, or where PostgreSQL does not answer.
        """
        try:
            yield
        except (Fenced, Unavailable):
            raise
        except Exception as error:
            try:
                self._fail("cancelled" if isinstance(error, Cancelled) else "failed", self._why(error), clock.total())
            except Unavailable as unavailable:
                error.add_note(f"The failure could not be written down: {unavailable}")
            raise

    def _why(self, error: Exception) -> str:
        """Return what may be shown of an error; the text of one that is not ours could hold a tenant's row."""
        if isinstance(error, psycopg.Error):
            return str(translated(self.replica.database.name, error))
        if isinstance(error, OSError) and error.strerror:
            return f"A file of the replication cannot be used. {error.strerror}."
        return str(error) if isinstance(error, SourceTrouble | ClientManagerError) else type(error).__name__

    def _fail(self, status: str, error: str, seconds: float) -> None:
        with self.replica.connect() as connection:
            if self.job_id is None:
                self._record(connection, status, Written(), 0, seconds, error)
            else:
                self._finish(connection, status, Written(), 0, error)

    def _record(  # noqa: PLR0913, PLR0917  the columns of a job
        self,
        connection: psycopg.Connection[Any],
        status: str,
        written: Written,
        tables: int,
        seconds: float,
        error: str | None = None,
    ) -> None:
        connection.execute(
            SQL["record_job"],
            {
                **_outcome(status, written, tables, error),
                **self._whose(),
                "seconds": seconds,
            },
        )

    def _finish(
        self,
        connection: psycopg.Connection[Any],
        status: str,
        written: Written,
        tables: int,
        error: str | None = None,
    ) -> None:
        connection.execute(SQL["finish_job"], {**_outcome(status, written, tables, error), "job_id": self.job_id})


def _outcome(status: str, written: Written, tables: int, error: str | None) -> dict[str, object]:
    return {
        "status": status,
        "tables": tables,
        "rows": written.inserted + written.updated + written.deleted,
        "quarantined": 0,
        "bytes": written.bytes,
        "error": error,
        "metadata": _MINE,
    }
