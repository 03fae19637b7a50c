"""The lead of one process, from taking the lease to losing it; outlives the connections that it is renewed over."""

from dataclasses import dataclass, field
from typing import Final

from client_manager.errors import Conflict
from client_manager.gateways.node_store import LeaseRow, NodeStore
from client_manager.models.sync import LeaseTimes
from client_manager.node.leadership import Leadership
from client_manager.node.report import Told

_NEVER: Final = float("-inf")


@dataclass
class Office:
    """What this process has of the lease.

    The lease is taken with a new term; then the former leader's sessions are ended, the fences of all clients raised
    and its jobs closed; only then the process leads. Whoever writes under an earlier term is refused from then on.

    Attributes:
        node_id: of this process.
        term: of the lease that it has; None: it has none.
        session: whose lock stands for it, as the lease says.
        renewed_at: monotonic seconds of the last renewal, before it was sent.
    """

    node_id: str
    node: str
    times: LeaseTimes
    leadership: Leadership
    told: Told
    term: int | None = None
    session: int | None = None
    renewed_at: float = _NEVER
    _highest: int = field(default=0, init=False)
    _former: str | None = field(default=None, init=False)
    _taken_at: float = field(default=_NEVER, init=False)
    _entered: bool = field(default=False, init=False)
    _ended: int = field(default=0, init=False)
    _orphans: int = field(default=0, init=False)
    _waits: bool = field(default=False, init=False)
    _back_until: float = field(default=_NEVER, init=False)

    @property
    def is_held(self) -> bool:
        """Whether the lease is this process's, as far as it knows."""
        return self.term is not None

    @property
    def leads(self) -> bool:
        """Whether other threads have been told that they may write."""
        return self.leadership.view.leads

    @property
    def lasts_until(self) -> float:
        """Monotonic seconds after which another may lead, less the margin."""
        return self.renewed_at + self.times.ttl_s - self.times.margin_s

    @property
    def is_over(self) -> bool:
        """Whether it could not be renewed in time."""
        return self.leadership.clock() >= self.lasts_until

    def see(self, lease: LeaseRow | None, asked_at: float) -> None:
        """Note who leads, which may be this process."""
        if lease is None:
            self.leadership.update(term=None, leader_id=None, leader_name=None, leader_until=_NEVER)
            return
        self._highest = max(self._highest, lease.term)
        known = self.leadership.view
        if lease.leader_id != known.leader_id and not lease.expired:
            self.told("leader_seen", {"leader": lease.leader_name or lease.leader_id, "term": lease.term})
        self.leadership.update(
            term=lease.term,
            leader_id=lease.leader_id,
            leader_name=lease.leader_name,
            leader_until=asked_at + lease.seconds_left,
        )

    def take(self, store: NodeStore, session: int | None) -> bool:
        """Take the lease if it has run out, or if the session of its leader has ended.

        Args:
            store: the connection.
            session: this one, if it has the cluster's lock. A leader that had it before has lost it, and its session.
        """
        sent_at = self.leadership.clock()
        with store.transaction():
            lease = store.lock_lease()
            ended = session is not None and lease is not None and lease.backend_pid not in {None, session}
            term = store.acquire_lease(floor=self._highest + 1, pid=session, session_is_gone=ended)
        if term is None:
            return False
        if lease is not None and lease.leader_id != self.node_id:
            self._former = lease.leader_id
        self.term, self.session, self.renewed_at, self._taken_at = term, session, sent_at, sent_at
        self._highest, self._entered, self._waits = max(self._highest, term), False, False
        self._show()
        return True

    def renew(self, store: NodeStore, session: int | None) -> str | None:
        """Make the lease last longer; lose it where it is another's. Return the node that somebody wants instead."""
        if self.term is None:
            return None
        sent_at = self.leadership.clock()
        answer = store.renew_lease(term=self.term, pid=session)
        if answer is None:
            self.lose("taken over")
            return None
        if self.leads and self.is_over:
            self.lose("not renewed in time")
            return None
        self.renewed_at, self.session = sent_at, session
        self._show()
        return answer[0]

    def enter(self, store: NodeStore) -> None:
        """Make the term the only one that is written under, then lead; what is in the way is waited for next time."""
        if self.term is None or not (self._entered or self._clear_the_way(store, self.term)) or self.is_over:
            return
        self.leadership.update(leads=True, leads_until=self.lasts_until, draining=False, problem="")
        self.told(
            "elected",
            {
                "term": self.term,
                "former": self._former,
                "sessions_ended": self._ended,
                "jobs_closed": self._orphans,
                "seconds": round(self.leadership.clock() - self._taken_at, 3),
            },
        )
        self._former, self._ended, self._orphans = None, 0, 0

    def is_outgrown(self, store: NodeStore) -> bool:
        """Whether a client has come from another cluster, or a bundle, with a replica that refuses this term."""
        highest = store.highest_fence()
        self._highest = max(self._highest, highest)
        return self.term is not None and highest > self.term

    def rise(self, store: NodeStore) -> None:
        """Give up the term for one above everything seen; the lease stays this process's meanwhile."""
        session = self.session
        self.lose("a client has come that was written to under a higher term")
        self.take(store, session)

    def lose(self, reason: str) -> None:
        """Lead no more, at once."""
        term, led = self.term, self.leads
        self.term = self.session = None
        self.leadership.update(leads=False, leads_until=_NEVER, draining=False)
        if led:
            self.told("lost", {"term": term, "reason": reason})

    def release(self, store: NodeStore, reason: str) -> None:
        """Lead no more, and let another."""
        term = self.term
        self.lose(reason)
        if term is not None:
            store.release_lease(term)
            self.leadership.update(leader_until=_NEVER)

    def stand_back(self) -> None:
        """Do not stand for the lead until another node has it, or has had the lease's time to take it."""
        self._back_until = self.leadership.clock() + self.times.ttl_s

    def stands_back(self, lease: LeaseRow | None) -> bool:
        """Whether the lead is left to another node."""
        if lease is not None and not lease.expired and lease.leader_id != self.node_id:
            self._back_until = _NEVER
        return self.leadership.clock() < self._back_until

    def _show(self) -> None:
        until = self.renewed_at + self.times.ttl_s
        leads_until = self.lasts_until if self.leads else _NEVER
        self.leadership.update(
            term=self.term,
            leader_id=self.node_id,
            leader_name=self.node,
            leader_until=until,
            leads_until=leads_until,
        )

    def _clear_the_way(self, store: NodeStore, term: int) -> bool:
        try:
            if self._former:
                self._ended += store.end_sessions_of(self._former)
            store.raise_fences(term)
            highest = store.highest_fence()
            if highest > term:  # of a client that came from another cluster, or of a server that was restored
                self._highest = highest
                self.take(store, self.session)
                return False
            self._orphans += len(store.close_orphans(term))
        except Conflict as conflict:
            self._say_waiting(conflict)
            return False
        self._entered = True
        return True

    def _say_waiting(self, conflict: Conflict) -> None:
        self.leadership.update(problem=f"The lead waits for a transaction that holds a client's state: {conflict.what}")
        if not self._waits:
            self._waits = True
            self.told("waits_for_writers", {"term": self.term, "why": conflict.why})
