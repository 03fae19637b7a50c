"""A node's name in ``sync_nodes``: one process has it at a time, and says regularly that it lives."""

from dataclasses import dataclass, field
from typing import Final

from client_manager.gateways.node_store import NodeStore
from client_manager.models.sync import LeaseTimes
from client_manager.node.leadership import Leadership
from client_manager.node.report import Told

# A process that has just started is let in when the former's session is gone. One that waits for a live one is not,
# before that has had the time to connect again.
_BEATS_MISSED: Final = 2


@dataclass
class Registration:
    """The name of this process.

    Attributes:
        name: of the node.
        held: whether this process has the name.
    """

    name: str
    times: LeaseTimes
    leadership: Leadership
    told: Told
    held: bool = False
    _skew_s: float | None = None
    _is_first: bool = field(default=True, init=False)
    _due: float = field(default=float("-inf"), init=False)

    def hurry(self) -> None:
        """Beat at the next opportunity: the session has changed."""
        self._due = float("-inf")

    def hold(self, store: NodeStore, pid: int | None) -> bool:
        """Take the name, or say that it is still in use; return whether this process has it."""
        if not self.held:
            self._take(store, pid)
        if self.held and self.leadership.clock() >= self._due:
            self._beat(store, pid)
        return self.held

    def give_back(self, store: NodeStore) -> None:
        """Let another process have the name."""
        if self.held:
            store.stop()
            self.held = False

    def _take(self, store: NodeStore, pid: int | None) -> None:
        grace_s = 0 if self._is_first else _BEATS_MISSED * self.times.renew_s + self.times.poll_s
        last_event = store.take_name(pid=pid, skew_s=self._skew_s, grace_s=grace_s)
        self._is_first = False
        self.held = last_event is not None
        if self.held:
            self.hurry()
            self.leadership.update(problem="")
            self.told("name_taken", {"last_event": last_event})
        else:
            self._refused()

    def _refused(self) -> None:
        problem = f"Another process has the name {self.name}: this one waits until it has stopped."
        if self.leadership.view.problem != problem:
            self.told("name_refused", {"problem": problem})
        self.leadership.update(problem=problem)

    def _beat(self, store: NodeStore, pid: int | None) -> None:
        started, view = self.leadership.clock(), self.leadership.view
        with store.transaction():
            before = self.leadership.wall()
            now = store.beat(
                pid=pid,
                skew_s=self._skew_s,
                seen=(view.leader_name, view.term),
                last_event=self.leadership.last_event,
            )
            after = self.leadership.wall()
            if now is not None:
                store.beat_host()
        if now is None:
            self.held = False
            self.told("name_lost", {})
            return
        self._due = started + self.times.renew_s
        self._skew_s = now.timestamp() - (before + after) / 2
        self.leadership.update(clock_skew_s=self._skew_s)
