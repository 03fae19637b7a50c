"""The clients of a machine and the queue of jobs, as the node that works them off reads and writes them."""

import json
import select
from collections.abc import Mapping, Sequence
from typing import Any, Final, LiteralString, TypeVar
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from client_manager.gateways import queries
from client_manager.models.base import Model
from client_manager.models.replication import VerifyResult
from client_manager.models.work import CacheEvent, ClaimedJob, HostClient, Outcome, Poll, WaitingJob

_NODE: Final = queries.load("node")
_SCHEDULE: Final = queries.load("schedule")
_CONFLICTS: Final = queries.load("conflicts")
_NO_TERM: Final = -1
_SHOWN_CONFLICTS: Final = 20
M = TypeVar("M", bound=Model)


class JobStore:
    """A method is one statement unless it says more; errors are the connection's (``Database.connect``)."""

    def __init__(self, connection: psycopg.Connection[Any], cluster: str, node: str, node_id: str) -> None:
        self._connection = connection
        self._node = {"cluster": cluster, "node": node, "node_id": node_id}

    def clients(self, host_id: UUID) -> tuple[HostClient, ...]:
        """Return the clients of a machine."""
        return self._all(HostClient, _SCHEDULE["list_clients"], {"host_id": host_id})

    def poll(self, term: int | None) -> Poll:
        """Return what is new, for the leader of this term, or for a follower."""
        [found] = self._all(Poll, _NODE["poll"], {**self._node, "term": _NO_TERM if term is None else term})
        return found

    def events(self, after: int) -> tuple[CacheEvent, ...]:
        """Return the next events after one."""
        return self._all(CacheEvent, _NODE["list_events"], {"after": after})

    def waiting(self, job_id: UUID) -> WaitingJob | None:
        """Return a job of the queue; None where it waits no more."""
        return self._first(WaitingJob, _SCHEDULE["find_waiting"], {"job_id": job_id})

    def client_of_running(self, job_id: UUID, term: int) -> str | None:
        """Return whose running job of this term it is; None where it is none."""
        found = self._connection.execute(_SCHEDULE["find_running"], {"job_id": job_id, "term": term}).fetchone()
        return str(found[0]) if found else None

    def claim(self, job_id: UUID, client: str, term: int) -> ClaimedJob | None:
        """Take a job that waits; None where somebody has taken or cancelled it, or where this node leads no more.

        The lock of the client's files must be free: a job of it that still runs, by what is written, is closed by the
        same transaction.
        """
        with self._connection.transaction():
            self._connection.execute(_NODE["close_stale_job"], {"client": client, "term": term})
            return self._first(ClaimedJob, _NODE["claim_job"], {**self._node, "job_id": job_id, "term": term})

    def end(self, job_id: UUID, term: int, status: str, error: str) -> None:
        """End a job of this term that its run has not ended."""
        self._connection.execute(_NODE["end_job"], {"job_id": job_id, "term": term, "status": status, "error": error})

    def finish_verification(self, job_id: UUID, term: int, found: VerifyResult) -> None:
        """End a job of this term that was a comparison, with what it has found."""
        own = found.conflicts
        details = [difference.model_dump(exclude={"strategy"}) for difference in own[:_SHOWN_CONFLICTS]]
        with self._connection.transaction():
            self._connection.execute(_CONFLICTS["finish_progress"], {"job_id": job_id})
            self._connection.execute(
                _CONFLICTS["finish_verification"],
                {
                    "job_id": job_id,
                    "term": term,
                    "detected": len(own),
                    "resolved": sum(difference.strategy != "manual" for difference in own),
                    "rows": found.rows,
                    "details": json.dumps(details) if own else None,
                },
            )

    def record(self, outcomes: Sequence[Outcome], term: int) -> set[str]:
        """Write down how looks at clients went; return the clients that nobody else had locked.

        Of a node that leads no more nothing is written.
        """
        found = self._connection.execute(
            _NODE["record_outcomes"],
            {
                **self._node,
                "term": term,
                "clients": [outcome.client_name for outcome in outcomes],
                "ages_s": [outcome.age_s for outcome in outcomes],
                "statuses": [outcome.status for outcome in outcomes],
                "next_in_s": [outcome.next_in_s for outcome in outcomes],
            },
        )
        return {str(name) for (name,) in found}

    def listen(self, channel: LiteralString) -> bool:
        """Ask to be notified; False through a pooler, behind which the session may be another's the next moment.

        A pooler makes up the process id that a session begins with, so that only the server's own is ever repeated.
        """
        found = self._connection.execute(_SCHEDULE["find_session"]).fetchone()
        if found is None or found[0] != self._connection.info.backend_pid:
            return False
        self._connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        return True

    def wait(self, seconds: float, waker: int) -> bool:
        """Wait for a notification, or until the descriptor ``waker`` can be read; True where one came."""
        readable, _, _ = select.select([self._connection.fileno(), waker], [], [], max(0.0, seconds))
        if self._connection.fileno() not in readable:
            return False
        return bool(list(self._connection.notifies(timeout=0)))

    def _all(self, kind: type[M], query: LiteralString, parameters: Mapping[str, object]) -> tuple[M, ...]:
        with self._connection.cursor(row_factory=class_row(kind)) as cursor:
            return tuple(cursor.execute(query, parameters).fetchall())

    def _first(self, kind: type[M], query: LiteralString, parameters: Mapping[str, object]) -> M | None:
        found = self._all(kind, query, parameters)
        return found[0] if found else None
