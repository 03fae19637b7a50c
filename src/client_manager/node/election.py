"""The election: one thread with a connection of its own, which keeps this node's lead or waits for it.

A lease on the server's clock decides, with a term that only grows; a session lock tells the standby of the leader's end
at once where the connection allows it; the fences of the clients make both harmless when they are wrong. Renewals,
bounded in time and apart from all work, follow Patroni's loop: ttl >= loop + 2 * retry (patroni.readthedocs.io, "ttl").
"""

import random
import threading
from typing import Final

from client_manager import __version__
from client_manager.errors import ClientManagerError, ConfigurationError, Conflict
from client_manager.gateways import node_store, pooling
from client_manager.gateways.database import Database
from client_manager.gateways.node_store import Claimant, NodeStore
from client_manager.node.candidacy import Candidacy, Drain
from client_manager.node.identity import Identity
from client_manager.node.leadership import Leadership
from client_manager.node.office import Office
from client_manager.node.registration import Registration
from client_manager.node.report import Told, log
from client_manager.node.session_lock import SessionLock

_BACKOFF_S: Final = (0.05, 2.0)  # first and longest wait before connecting again
_RETRY_S: Final = 0.1


class Election:
    """The election of one process. ``run`` is its thread's; everybody else asks ``Leadership``."""

    def __init__(
        self,
        identity: Identity,
        database: Database,
        leadership: Leadership,
        *,
        drain: Drain,
        told: Told = log,
    ) -> None:
        """Prepare.

        Args:
            identity: of this process.
            database: whose connections carry ``identity.node_id`` as their ``application_name``.
            leadership: what the other threads ask.
            drain: called before the lead is given away, from a thread of its own, with the seconds that it may take;
                returns when no work of this term is under way.
            told: called with every change of state.
        """
        times = identity.spec.times
        self._database = database
        self._leadership = leadership
        self._drain = drain
        self._told = told
        self._answer_s = (times.ttl_s - times.margin_s) / 2
        self._claimant = _claimant(identity)
        self._office = Office(identity.node_id, identity.name, times, leadership, told)
        self._registration = Registration(identity.name, times, leadership, told)
        self._pooling: dict[str, pooling.Pooling] = {}
        self._failures = 0

    def run(self, stop: threading.Event) -> None:
        """Take part until ``stop``; then hand over the lead, the lock and the name."""
        try:
            while not stop.is_set():
                self._connected(stop)
            if self._office.is_held or self._registration.held:
                self._connected(stop)  # the connection was lost: another one, to give back what this process has
        finally:
            self._office.lose("stopped")

    def _connected(self, stop: threading.Event) -> None:
        try:
            with node_store.opened(self._database, self._claimant, answer_s=self._answer_s) as store:
                self._serve(store, stop)
        except ClientManagerError as error:
            self._disconnected(error)
            stop.wait(self._backoff())  # nothing where it is set already

    def _serve(self, store: NodeStore, stop: threading.Event) -> None:
        store.find_session()
        lock = SessionLock(store, keeps_sessions=self._keeps_sessions())
        candidacy = Candidacy(store, lock, self._office, self._registration, self._drain)
        self._registration.hurry()
        self._note(store, lock)
        while not stop.is_set():
            wait_s = self._step(candidacy)
            self._note(store, lock)
            stop.wait(wait_s)
        candidacy.end()

    def _step(self, candidacy: Candidacy) -> float:
        try:
            return candidacy.step()
        except Conflict as conflict:
            self._told("retried", {"why": conflict.why})
            return _RETRY_S

    def _note(self, store: NodeStore, lock: SessionLock) -> None:
        """Say once what the connection turns out to be, and that there is one again."""
        if self._failures:
            self._failures = 0
            self._told("database_back", {})
        if store.is_shared and self._pooling.get(self._database.name) == "session":
            self._pooling[self._database.name] = "transaction"
            self._told("lease_only", {"why": "The session has changed: a pooler gives each transaction another."})
        problem = self._leadership.view.problem if not self._registration.held or self._waits() else ""
        self._leadership.update(heard_at=self._leadership.clock(), keeps_sessions=lock.possible, problem=problem)

    def _waits(self) -> bool:
        return self._office.is_held and not self._office.leads

    def _keeps_sessions(self) -> bool:
        """Whether the session lock can be used; where that cannot be found out, the lease alone does."""
        where = self._database.name
        if where not in self._pooling:
            try:
                self._pooling[where] = pooling.detect(self._database, patience_s=self._answer_s)
            except ClientManagerError as error:
                self._told("lease_only", {"why": f"Whether sessions are kept was not to be found out: {error.what}"})
                return False
            if self._pooling[where] == "transaction":
                self._told("lease_only", {"why": "A pooler gives each transaction another session."})
        return self._pooling[where] == "session"

    def _disconnected(self, error: ClientManagerError) -> None:
        """Keep the lead for as long as the lease surely lasts."""
        if not self._failures:
            self._told("database_lost", {"what": error.what, "why": error.why})
        self._failures += 1
        unfit = isinstance(error, ConfigurationError)  # it answers, and somebody has to do something about it
        self._leadership.update(problem=f"{error.what} {error.hint if unfit else ''}".strip())
        if self._office.is_held and self._office.is_over:
            self._office.lose("not renewed in time: PostgreSQL does not answer")

    def _backoff(self) -> float:
        first, longest = _BACKOFF_S
        wait_s: float = min(longest, first * 2.0 ** min(self._failures, 16)) * random.uniform(0.5, 1)  # noqa: S311  jitter
        if not self._office.leads:
            return wait_s
        return min(wait_s, max(0.0, self._office.lasts_until - self._leadership.clock()) + first)


def _claimant(identity: Identity) -> Claimant:
    return Claimant(
        cluster=identity.cluster,
        node=identity.name,
        node_id=identity.node_id,
        host_id=identity.spec.host_id,
        boot_id=identity.boot_id,
        api_port=identity.spec.ports[identity.name],
        version=__version__,
        ttl_s=identity.spec.times.ttl_s,
    )
