"""One connection's part in the election: waiting for the lead, keeping it, handing it over."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from typing import Final

from client_manager.gateways.node_store import LeaseRow, NodeStore
from client_manager.node.office import Office
from client_manager.node.registration import Registration
from client_manager.node.session_lock import SessionLock

Drain = Callable[[float], None]

# How long the work under way may go on before it is cut off, which costs nothing but its repetition: at a switch-over
# nobody waits for it, at a stop the container engine does.
SWITCH_OVER_DRAIN_S: Final = 20.0
STOP_DRAIN_S: Final = 5.0
_RETRY_S: Final = 0.1
_JUST_AFTER_S: Final = 0.02  # a look at the lease when it has run out, not before
_CONTENDER_S: Final = 0.3  # another node that has the lock takes the lease well within that


class Candidacy:
    """The steps of the election over one connection. Each returns how long to wait before the next, in seconds."""

    def __init__(
        self, store: NodeStore, lock: SessionLock, office: Office, registration: Registration, drain: Drain
    ) -> None:
        self._store = store
        self._lock = lock
        self._office = office
        self._registration = registration
        self._drain = drain
        self._times = office.times
        self._clock = office.leadership.clock

    def step(self) -> float:
        """Do what is due.

        Raises:
            Conflict: another transaction was in the way; the next step tries again.
            ClientManagerError: the connection is of no use any more.
        """
        if self._office.leads and self._office.is_over:
            self._office.lose("not renewed in time")
        if self._office.is_held:
            return self._lead()
        if not self._registration.hold(self._store, self._lock.session):
            return self._times.poll_s
        return self._stand_by()

    def end(self) -> None:
        """Give the lead, the lock and the name to whoever comes next."""
        if self._office.is_held:
            self._drained(STOP_DRAIN_S)
        self._office.release(self._store, "stopped")
        self._lock.release()
        self._registration.give_back(self._store)

    def _lead(self) -> float:
        """Renew the lease, first of all; enter the office; see whether another node is wanted."""
        due = self._is_due()
        wanted = self._renew() if due else self._look()
        if self._office.is_held and not self._registration.hold(self._store, self._lock.session):
            self._office.release(self._store, "its name is another process's")
        if not self._office.is_held:
            self._lock.release()
            return 0
        if not self._office.leads:
            self._office.enter(self._store)
            return 0 if self._office.leads else _RETRY_S
        if wanted:
            return self._switch_over(wanted)
        if due and self._office.is_outgrown(self._store):
            return self._rise()
        return max(0.0, min(self._times.poll_s, self._office.renewed_at + self._times.renew_s - self._clock()))

    def _is_due(self) -> bool:
        moved = self._lock.proof != self._office.session
        return moved or self._clock() >= self._office.renewed_at + self._times.renew_s

    def _renew(self) -> str | None:
        self._lock.take_back(self._office.session)
        return self._office.renew(self._store, self._lock.proof)

    def _look(self) -> str | None:
        """Return the wanted node; the lease may be another's already."""
        asked_at, lease = self._clock(), self._store.peek_lease()
        if lease is None or (lease.leader_id, lease.term) != (self._office.node_id, self._office.term):
            self._office.lose("taken over" if lease else "the lease is gone")
            self._office.see(lease, asked_at)
            return None
        return lease.wanted_name

    def _stand_by(self) -> float:
        lease = self._peek()
        if self._office.stands_back(lease):
            return self._times.poll_s
        if lease is None or lease.expired or lease.leader_id == self._office.node_id:
            return self._contend(lease)
        lasts_s = min(self._times.poll_s, lease.seconds_left + _JUST_AFTER_S)
        if not self._lock.possible:
            return lasts_s
        return self._take() if self._lock.wait(lasts_s) else 0

    def _contend(self, lease: LeaseRow | None) -> float:
        """The lease has run out: take it, with the lock if that can be had."""
        if self._lock.possible and not self._lock.wait(_CONTENDER_S):
            lease = self._peek()
            if lease is not None and not lease.expired and lease.leader_id != self._office.node_id:
                return 0
            self._lock.take_from(lease.leader_id if lease else None, self._office.node_id)
        return self._take()

    def _take(self) -> float:
        """Take the lease, unless its leader lives and never had the lock."""
        if self._office.take(self._store, self._lock.proof):
            return 0
        self._lock.release()
        return self._times.poll_s

    def _peek(self) -> LeaseRow | None:
        asked_at, lease = self._clock(), self._store.peek_lease()
        self._office.see(lease, asked_at)
        return lease

    def _switch_over(self, wanted: str) -> float:
        """Hand over to a node that lives; a request for any other is withdrawn."""
        age_s = self._store.heartbeat_age_s(wanted)
        if wanted == self._office.node or age_s is None or age_s >= self._times.ttl_s:
            self._store.withdraw_switch_over()
            self._office.told("switch_over_withdrawn", {"wanted": wanted, "heartbeat_age_s": age_s})
            return 0
        self._drained(SWITCH_OVER_DRAIN_S)
        if self._office.is_held:
            term = self._office.term
            self._office.stand_back()
            self._office.release(self._store, f"handed over to {wanted}")
            self._lock.release()
            self._office.told("handed_over", {"term": term, "to": wanted})
        return 0

    def _rise(self) -> float:
        """Begin a higher term: a client has come whose replica refuses this one."""
        self._drained(SWITCH_OVER_DRAIN_S)
        if self._office.is_held:
            self._office.rise(self._store)
        return 0

    def _drained(self, seconds: float) -> None:
        """Let the work under way come to its end, and keep the lead meanwhile."""
        self._office.leadership.update(draining=True)
        pool = ThreadPoolExecutor(1, thread_name_prefix="drain")
        draining = pool.submit(self._drain, seconds)
        pool.shutdown(wait=False)
        while self._office.is_held and not wait_for([draining], self._until_renewal()).done:
            self._renew()
            self._registration.hold(self._store, self._lock.session)
        if draining.done():
            draining.result()

    def _until_renewal(self) -> float:
        return max(0.0, self._office.renewed_at + self._times.renew_s - self._clock())
