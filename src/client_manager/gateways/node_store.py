"""What a node says to ``sync_metadata``, and what it is told: one method per named query, each bounded in time."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from client_manager.errors import Conflict
from client_manager.gateways import queries
from client_manager.gateways.database import Database, mapped_errors
from client_manager.gateways.line import Line
from client_manager.models.base import Model

_NODE: Final = queries.load("node")
_CLUSTER: Final = queries.load("cluster")
_PAUSE_S: Final = 0.02  # between two looks at the session lock: how late a takeover may be


class Claimant(Model):
    """One process of a node, as its statements name it."""

    cluster: str
    node: str
    node_id: str
    host_id: UUID
    boot_id: UUID
    api_port: int
    version: str
    ttl_s: float


class LeaseRow(Model):
    """The lease of a cluster. ``backend_pid`` is the session whose lock proves that the leader lives, if it has one."""

    leader_id: str
    leader_name: str | None
    term: int
    backend_pid: int | None
    expired: bool
    wanted_name: str | None
    seconds_left: float


class NodeStore:
    """A node's statements over one connection; each is a transaction, unless ``transaction`` joins several.

    Every method raises ``Conflict`` when another transaction was in the way for too long and the connection is as good
    as before, and another ``ClientManagerError`` when the server refused, broke off or did not answer.
    """

    def __init__(
        self, connection: psycopg.Connection[Any], line: Line, claimant: Claimant, *, where: str, answer_s: float
    ) -> None:
        self._connection = connection
        self._line = line
        self._fixed = claimant.model_dump()
        self._where = where
        self._answer_s = answer_s
        self._inside = False
        self.pid = 0
        self.is_shared = False

    @contextmanager
    def transaction(self, *, patience_s: float = 0) -> Iterator[None]:
        """Join the statements of the body; ``patience_s`` is added to how long they may take."""
        if self._inside:
            yield
            return
        allowed_s = self._answer_s + patience_s
        with mapped_errors(self._where), self._line.within(allowed_s), self._uncancelled():
            self._inside = True
            try:
                with self._connection.transaction():
                    self._limit(allowed_s)
                    yield
            finally:
                self._inside = False

    @contextmanager
    def _uncancelled(self) -> Iterator[None]:
        """A statement that took too long leaves the connection, and the lock that it has, as they are."""
        try:
            yield
        except psycopg.errors.QueryCanceled:
            raise Conflict(
                f"PostgreSQL at {self._where} took too long.",
                why="The statement was cancelled, by its own limit or by the operator.",
                hint="Try again.",
            ) from None

    def _limit(self, allowed_s: float) -> None:
        limits = {
            "lock_timeout": f"{allowed_s * 0.4:.3f}s",
            "statement_timeout": f"{allowed_s * 0.8:.3f}s",
            "idle_timeout": f"{self._answer_s:.3f}s",
        }
        row = self._connection.execute(_NODE["limit_waits"], limits).fetchone()
        pid = int(row[0]) if row else 0
        self.is_shared = self.is_shared or self.pid not in {0, pid}
        self.pid = pid

    def find_session(self) -> int:
        """Return the session's process on the server. ``is_shared``: it was another one before."""
        self._value("find_session")
        return self.pid

    def take_name(self, *, pid: int | None, skew_s: float | None, grace_s: float) -> int | None:
        """Return the last event that the name's node has seen, or None: another process has the name.

        Args:
            pid: of this session; None where sessions are shared, and prove nothing.
            skew_s: the server's clock less this machine's, in seconds, if it is known.
            grace_s: how long a process whose session is gone has to come back.
        """
        last: int | None = self._value("take_name", pid=pid, skew=skew_s, grace_s=grace_s)
        return last

    def beat(
        self, *, pid: int | None, skew_s: float | None, seen: tuple[str | None, int | None], last_event: int
    ) -> datetime | None:
        """Tell that this node lives and which leader and term it sees; return the server's time, None: name lost."""
        leader, term = seen
        now: datetime | None = self._value(
            "beat", pid=pid, skew=skew_s, leader_seen=leader, term_seen=term, last_event=last_event
        )
        return now

    def beat_host(self) -> None:
        """Tell that the machine lives."""
        self._rows("beat_host")

    def stop(self) -> None:
        """Give the name back."""
        self._rows("stop")

    def heartbeat_age_s(self, node: str) -> float | None:
        """Return how long ago a node was last heard of, None: it has stopped, or never was."""
        age: float | None = self._value("find_heartbeat", wanted=node)
        return age

    def await_session_lock(self, wait_s: float) -> bool:
        """Return whether this session has got the cluster's lock within so many seconds; it must not have it yet."""
        with self.transaction(patience_s=wait_s):
            return bool(self._value("await_session_lock", wait_s=wait_s, pause_s=_PAUSE_S))

    def release_session_lock(self) -> None:
        """Let go of the cluster's lock."""
        self._rows("release_session_lock")

    def end_session(self, pid: int) -> None:
        """End an earlier session of this process."""
        self._rows("end_session", former_pid=pid)

    def end_sessions_of(self, node_id: str) -> int:
        """End the sessions of another process; return how many there were."""
        return int(self._value("end_sessions_of", node_id=node_id))

    def end_lock_holder(self) -> int:
        """End the session that holds the cluster's lock; return whether there was one."""
        return int(self._value("end_lock_holder"))

    def peek_lease(self) -> LeaseRow | None:
        """Return the lease as it is."""
        return self._lease("peek_lease")

    def lock_lease(self) -> LeaseRow | None:
        """Return the lease, which stays as it is until the end of the transaction."""
        return self._lease("lock_lease")

    def acquire_lease(self, *, floor: int, pid: int | None, session_is_gone: bool) -> int | None:
        """Return the new term, or None: it is another's, or kept for a wanted node.

        Args:
            floor: the least that it may be.
            pid: of the session that has the cluster's lock; None: none has.
            session_is_gone: the leader's session has ended, whatever the lease says.
        """
        term: int | None = self._value("acquire_lease", floor=floor, pid=pid, session_is_gone=session_is_gone)
        return term

    def renew_lease(self, *, term: int, pid: int | None) -> tuple[str | None] | None:
        """Return the node that somebody wants instead, in a tuple, or None: the lease is another's."""
        rows = self._rows("renew_lease", term=term, pid=pid)
        return (rows[0][0],) if rows else None

    def release_lease(self, term: int) -> None:
        """End the lease now."""
        self._rows("release_lease", term=term)

    def withdraw_switch_over(self) -> None:
        """Forget which node was wanted."""
        with self.transaction():
            self._connection.execute(_CLUSTER["withdraw_switch_over"], self._fixed)

    def highest_fence(self) -> int:
        """Return the highest term that has written to a client of the cluster."""
        return int(self._value("highest_fence"))

    def raise_fences(self, term: int) -> None:
        """Refuse earlier terms' writes from here on; waits for those that are being committed."""
        self._rows("raise_fences", term=term)

    def close_orphans(self, term: int) -> tuple[UUID, ...]:
        """End the jobs of earlier terms, and return them."""
        return tuple(job for (job,) in self._rows("close_orphans", term=term))

    def _lease(self, query: str) -> LeaseRow | None:
        with self.transaction(), self._connection.cursor(row_factory=class_row(LeaseRow)) as cursor:
            return cursor.execute(_NODE[query], self._fixed).fetchone()

    def _value(self, query: str, **parameters: object) -> Any:  # noqa: ANN401  what the query returns
        rows = self._rows(query, **parameters)
        return rows[0][0] if rows else None

    def _rows(self, query: str, **parameters: object) -> list[Any]:
        with self.transaction():
            cursor = self._connection.execute(_NODE[query], {**self._fixed, **parameters})
            return cursor.fetchall() if cursor.description else []


@contextmanager
def opened(database: Database, claimant: Claimant, *, answer_s: float) -> Iterator[NodeStore]:
    """Connect, and yield the statements of this process; each is given ``answer_s`` seconds.

    Raises:
        ClientManagerError: as ``Database.connect`` says.
    """
    with (
        database.hurried(answer_s).connect() as connection,
        closing(Line(connection, database.name)) as line,
    ):
        yield NodeStore(connection, line, claimant, where=database.name, answer_s=answer_s)
