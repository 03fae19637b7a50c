"""What a node says of itself when it is asked: from memory alone, so that the answer never waits for what may hang."""

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from pydantic import AwareDatetime

from client_manager.models.base import Model
from client_manager.node.identity import Identity
from client_manager.node.leadership import Leadership, View


class DatabaseHealth(Model):
    """Whether PostgreSQL has answered within the lease's time, and how long ago it did, in seconds; None: never."""

    reachable: bool
    heard_age_s: float | None


class Health(Model):
    """The answer of ``GET /health``.

    Attributes:
        node_id: of this process: the node's name and its boot.
        role: ``node-a`` or ``node-b``, as the predecessor called them.
        is_leader: whether it may write to replicas now.
        leader_id, leader_name, term: of the lease that is valid now, as far as this node knows; else None.
        last_sync, last_sync_age_s: when this process last found a replica to be what its source is; None: never.
        problem: what is wrong, or was at the last attempt; empty: nothing.
    """

    status: Literal["healthy", "unhealthy"]
    node_id: str
    role: str
    is_leader: bool
    cluster_name: str
    uptime_seconds: float
    leader_id: str | None
    leader_name: str | None
    term: int | None
    database: DatabaseHealth
    last_sync: AwareDatetime | None
    last_sync_age_s: float | None
    problem: str


@dataclass
class Vitals:
    """What this process knows of itself, told by its threads and by the events of the election.

    Attributes:
        ask_last_sync: asks the scheduler, and may have to wait for it.
        started_at: monotonic seconds.
    """

    identity: Identity
    leadership: Leadership
    ask_last_sync: Callable[[], datetime | None] = lambda: None
    started_at: float = field(init=False)
    _last_sync: datetime | None = field(default=None, init=False)
    _refusal: str = field(default="", init=False)
    _dead: str = field(default="", init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        self.started_at = self.leadership.clock()

    def hear(self, event: str, fields: Mapping[str, object]) -> None:
        """Take note of what the election tells."""
        if event == "name_refused":
            self._refusal = str(fields["problem"])
        elif event == "name_taken":
            self._refusal = ""

    def thread_ended(self, name: str) -> None:
        """Take note that a thread has ended that should not have."""
        with self._lock:
            self._dead = self._dead or f"The thread {name} has ended."

    def look(self) -> None:
        """Ask the scheduler, for the next ``health``."""
        self._last_sync = self.ask_last_sync()

    @property
    def uptime_s(self) -> float:
        """Since the process began, in seconds."""
        return self.leadership.clock() - self.started_at

    def heard_age_s(self, view: View) -> float:
        """Since PostgreSQL last answered, in seconds; infinite: never."""
        return self.leadership.clock() - view.heard_at

    def health(self) -> Health:
        """Return the truth as of this moment."""
        view = self.leadership.view
        leader_known = self.leadership.clock() < view.leader_until
        age_s = self.heard_age_s(view)
        fault = self._fault(view, age_s, leader_known=leader_known)
        sync = self._last_sync
        return Health(
            status="unhealthy" if fault else "healthy",
            node_id=self.identity.node_id,
            role=self.identity.name.removeprefix("sync-"),
            is_leader=self.leadership.term() is not None,
            cluster_name=self.identity.cluster,
            uptime_seconds=round(self.uptime_s, 3),
            leader_id=view.leader_id if leader_known else None,
            leader_name=view.leader_name if leader_known else None,
            term=view.term if leader_known else None,
            database=DatabaseHealth(
                reachable=self._is_reachable(age_s), heard_age_s=round(age_s, 3) if math.isfinite(age_s) else None
            ),
            last_sync=sync,
            last_sync_age_s=None if sync is None else round((datetime.now(UTC) - sync).total_seconds(), 3),
            problem=fault or view.problem,
        )

    def _fault(self, view: View, age_s: float, *, leader_known: bool) -> str:
        """Return why the node is not healthy; empty: it is."""
        if self._dead:
            return self._dead
        if self._refusal:
            return self._refusal
        if not self._is_reachable(age_s):
            silence = f"for {age_s:.0f} s" if math.isfinite(age_s) else "yet"
            return f"PostgreSQL has not answered {silence}. {view.problem}".strip()
        if not leader_known:
            return f"No leader is known. {view.problem}".strip()
        if view.leader_id == self.identity.node_id and self.leadership.term() is None:
            return f"This node has the lease, but does not lead. {view.problem}".strip()
        return ""

    def _is_reachable(self, age_s: float) -> bool:
        return age_s <= self.identity.spec.times.ttl_s
