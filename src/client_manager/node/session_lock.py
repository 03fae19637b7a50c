"""The cluster's session lock: it ends with the leader's process, and so tells the standby at once.

It proves nothing and protects nothing; it only makes a takeover quick. Where sessions are shared there is none.
"""

from typing import Final

from client_manager.gateways.node_store import NodeStore

_ENDED_S: Final = 0.3  # a session that is told to end has let go of its lock


class SessionLock:
    """The lock of one connection."""

    def __init__(self, store: NodeStore, *, keeps_sessions: bool) -> None:
        self._store = store
        self._keeps = keeps_sessions
        self._held = False

    @property
    def possible(self) -> bool:
        """Whether the connection keeps a session, as far as has been seen."""
        return self._keeps and not self._store.is_shared

    @property
    def held(self) -> bool:
        """Whether this session has the lock."""
        return self._held and self.possible

    @property
    def session(self) -> int | None:
        """The session that stands for this process; None where sessions are shared."""
        return self._store.pid if self.possible else None

    @property
    def proof(self) -> int | None:
        """The session whose end frees the lock, for the lease; None without the lock."""
        return self._store.pid if self.held else None

    def wait(self, seconds: float) -> bool:
        """Return whether the lock is held, after at most so many seconds; 0 asks once."""
        if self.possible and not self._held:
            self._held = self._store.await_session_lock(seconds)
        return self.held

    def take_from(self, leader_id: str | None, own_id: str) -> bool:
        """Take the lock although a session has it: that of a leader whose lease has run out."""
        if not self.possible or self.wait(0):
            return self.held
        if leader_id and leader_id != own_id:
            self._store.end_sessions_of(leader_id)
            if self.wait(_ENDED_S):
                return True
        self._store.end_lock_holder()
        return self.wait(_ENDED_S)

    def take_back(self, former_session: int | None) -> bool:
        """Take the lock although this process's own former session has it, which the server has not missed yet."""
        if self.possible and not self.wait(0) and former_session and former_session != self._store.pid:
            self._store.end_session(former_session)
            self.wait(_ENDED_S)
        return self.held

    def release(self) -> None:
        """Let go of it."""
        if self._held:
            self._held = False
            self._store.release_session_lock()
