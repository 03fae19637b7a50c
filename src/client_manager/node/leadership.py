"""Whether this node leads now, as far as it can know: asked by every thread, told by the election alone."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from client_manager.replication.trouble import Fenced

Clock = Callable[[], float]
_NEVER: Final = float("-inf")


@dataclass(frozen=True)
class View:
    """What a node knows of its cluster, at one moment.

    Attributes:
        term: of the leader that was seen, this node or another.
        leads: whether it is this one.
        leads_until: monotonic seconds until which this node may begin to write.
        leader_until: monotonic seconds until which the seen lease is valid.
        heard_at: monotonic seconds at which PostgreSQL last answered.
        problem: why the node does not take part, or why PostgreSQL does not answer; empty: it does.
        keeps_sessions: whether the connection keeps a session, and with it the lock that makes takeovers immediate.
        clock_skew_s: the server's clock less this machine's; shown, and used for nothing.
        draining: whether the lead is about to be given away: nothing new is to be begun.
    """

    term: int | None = None
    leader_id: str | None = None
    leader_name: str | None = None
    leads: bool = False
    leads_until: float = _NEVER
    leader_until: float = _NEVER
    heard_at: float = _NEVER
    problem: str = ""
    keeps_sessions: bool = False
    clock_skew_s: float | None = None
    draining: bool = False


@dataclass
class Leadership:
    """The lead of this node. A lease that nobody could renew ends by the node's own clock, before another may lead.

    Attributes:
        clock: decides; monotonic seconds.
        wall: the machine's clock, seconds since the epoch, which decides nothing; it is compared with the server's.
        last_event: the last cache event that this node has dealt with; set by who deals with them, told in heartbeats.
    """

    clock: Clock = time.monotonic
    wall: Clock = time.time
    last_event: int = 0
    _view: View = field(default_factory=View)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def view(self) -> View:
        """What is known now."""
        with self._lock:
            return self._view

    def term(self) -> int | None:
        """Return the term that this node may write under now, or None."""
        view = self.view
        return view.term if view.leads and self.clock() < view.leads_until else None

    def require(self, term: int) -> None:
        """Return if this node leads with this term.

        Raises:
            Fenced: it does not any more.
        """
        if self.term() != term:
            raise Fenced(
                "This node leads no more.",
                why=f"Its term {term} is over, or its lease could not be renewed in time.",
                hint="Nothing of this run was written; the leader goes on with it.",
            )

    def update(self, **changes: object) -> View:
        """Replace what is known; for the election."""
        with self._lock:
            self._view = replace(self._view, **changes)  # type: ignore[arg-type]  # the fields of View
            return self._view
