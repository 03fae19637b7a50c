"""What others see of a run: its job and how far each table is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic
from typing import Any, Final, TypeAlias

import psycopg

from client_manager.errors import ClientManagerError, Unavailable
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
    """

    replica: Replica
    sync_type: str
    triggered_by: str
    told: Told | None = None
    job_id: object = None
    _rows: dict[str, int] = field(default_factory=dict)
    _reported: float = 0.0
    _lock: Lock = field(default_factory=Lock)

    def begin(self, tables: int) -> None:
        """Say that the run has begun; jobs of runs that were cut off end here."""
        with self.replica.connect() as connection, connection.transaction():
            connection.execute(SQL["abandon_jobs"], {"client": self.replica.name})
            found = connection.execute(
                SQL["begin_job"],
                {
                    "client": self.replica.name,
                    "sync_type": self.sync_type,
                    "triggered_by": self.triggered_by,
                    "tables": tables,
                    "metadata": _MINE,
                },
            ).fetchone()
            self.job_id = found[0] if found else None

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
                [{"job_id": self.job_id, "table": table, "rows": n, "status": status} for table, n in rows.items()],
            )

    def finish(self, connection: psycopg.Connection[Any], written: Written, tables: int) -> None:
        """Say how it ended, in the transaction of its rows."""
        self._write(connection, self._rows, "success")
        self._finish(connection, "success", written, tables)

    def record(self, connection: psycopg.Connection[Any], written: Written, tables: int, seconds: float) -> None:
        """Write down a short run that is over, in the transaction of its rows."""
        connection.execute(SQL["abandon_jobs"], {"client": self.replica.name})
        self._record(connection, "success", written, tables, seconds)

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
                self._fail(_why(error), clock.total())
            except Unavailable as unavailable:
                error.add_note(f"The failure could not be written down: {unavailable}")
            raise

    def _fail(self, error: str, seconds: float) -> None:
        with self.replica.connect() as connection:
            if self.job_id is None:
                self._record(connection, "failed", Written(), 0, seconds, error)
            else:
                self._finish(connection, "failed", Written(), 0, error)

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
                "client": self.replica.name,
                "sync_type": self.sync_type,
                "triggered_by": self.triggered_by,
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


def _why(error: Exception) -> str:
    """Return what may be shown of an error; the text of one that is not ours could hold a tenant's row."""
    return str(error) if isinstance(error, SourceTrouble | ClientManagerError) else type(error).__name__
