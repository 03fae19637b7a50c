"""Which clients are due, and which of those that wait may run now. Pure: the clock and the dice are given.

A client is due on a grid of its own, so that neither late looks nor long runs add up to a drift, and a pause is not
followed by a burst. What may pass by itself is tried again with exponential backoff and full jitter
(aws.amazon.com/blogs/architecture, "Exponential Backoff And Jitter"), at the latest at the next regular time.
"""

import heapq
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

Clock = Callable[[], float]
Draw = Callable[[float, float], float]
Lane = Literal["light", "heavy", "verify"]

FIRST_RETRY_S: Final = 2.0
_SHORTEST_S: Final = 0.1
_MOST_DOUBLINGS: Final = 30
_NEVER: Final = float("inf")


@dataclass
class _Plan:
    """One client's times, in monotonic seconds.

    Attributes:
        regular_at: its next time on its grid.
        due_at: when it is to be looked at, which is earlier where something is tried again.
        waits: whether it waits for that time, and is not under way.
        failures: in a row.
    """

    interval_s: float
    regular_at: float
    due_at: float
    waits: bool = True
    failures: int = 0


@dataclass
class Schedule:
    """When each client is due.

    A client that was due is out of the schedule until it is said how it went.
    """

    clock: Clock = time.monotonic
    draw: Draw = random.uniform
    _plans: dict[str, _Plan] = field(default_factory=dict)
    _heap: list[tuple[float, str]] = field(default_factory=list)

    def __contains__(self, client: str) -> bool:
        return client in self._plans

    def add(self, client: str, interval_s: float, *, due_in_s: float = 0) -> None:
        """Take a client in; it is due in so many seconds."""
        at = self.clock() + max(0.0, due_in_s)
        self._plans[client] = _Plan(interval_s, at, at)
        heapq.heappush(self._heap, (at, client))

    def change_interval(self, client: str, interval_s: float) -> None:
        """Count another interval from its last regular time on."""
        plan = self._plans[client]
        if interval_s == plan.interval_s:
            return
        plan.regular_at = max(self.clock(), plan.regular_at - plan.interval_s + interval_s)
        plan.interval_s = interval_s
        if plan.waits:
            self._wait(client, plan, plan.regular_at)

    def bring_forward(self, client: str) -> None:
        """Let a client that waits be due now; its grid begins here."""
        plan = self._plans[client]
        if plan.waits:
            plan.regular_at = self.clock()
            self._wait(client, plan, plan.regular_at)

    def drop(self, client: str) -> None:
        """Forget a client."""
        self._plans.pop(client, None)

    def clear(self) -> None:
        """Forget all clients."""
        self._plans.clear()
        self._heap.clear()

    def due(self) -> list[str]:
        """Take out the clients that are due, in the order of their times."""
        now, found = self.clock(), []
        while self._heap and self._heap[0][0] <= now:
            at, client = heapq.heappop(self._heap)
            plan = self._plans.get(client)
            if plan and plan.waits and plan.due_at == at:
                plan.waits = False
                found.append(client)
        return found

    def take(self, client: str) -> None:
        """Take out a client that is looked at before its time."""
        self._plans[client].waits = False

    def went_well(self, client: str) -> None:
        """Let it wait for its next regular time."""
        plan = self._plans[client]
        plan.failures = 0
        self._wait(client, plan, self._next_regular(plan))

    def failed(self, client: str) -> None:
        """Let it wait for its next regular time; trying again before would bring the same."""
        plan = self._plans[client]
        plan.failures += 1
        self._wait(client, plan, self._next_regular(plan))

    def try_again(self, client: str) -> None:
        """Let it wait for a short time that grows with every failure in a row."""
        plan = self._plans[client]
        longest = min(plan.interval_s, FIRST_RETRY_S * 2.0 ** min(plan.failures, _MOST_DOUBLINGS))
        plan.failures += 1
        again_at = self.clock() + max(_SHORTEST_S, self.draw(0, longest))
        self._wait(client, plan, min(again_at, self._next_regular(plan)))

    def next_at(self) -> float:
        """Return when the next client is due; infinity: none waits."""
        while self._heap:
            at, client = self._heap[0]
            plan = self._plans.get(client)
            if plan and plan.waits and plan.due_at == at:
                return at
            heapq.heappop(self._heap)
        return _NEVER

    def due_in_s(self, client: str) -> float:
        """Return in how many seconds a client is due; of one that is under way, its next regular time."""
        plan = self._plans[client]
        return max(0.0, (plan.due_at if plan.waits else self._next_regular(plan)) - self.clock())

    def failures(self, client: str) -> int:
        """Return how often it has failed in a row."""
        return self._plans[client].failures

    def _next_regular(self, plan: _Plan) -> float:
        late = self.clock() - plan.regular_at
        if late >= 0:
            plan.regular_at += (late // plan.interval_s + 1) * plan.interval_s
        return plan.regular_at

    def _wait(self, client: str, plan: _Plan, at: float) -> None:
        plan.waits, plan.due_at = True, at
        heapq.heappush(self._heap, (at, client))


@dataclass
class Lanes:
    """Which of the clients that wait to be run may begin.

    Loads of everything and verifications take long: they never take the last worker, so that the others always have a
    lane. That needs two workers at least.

    Attributes:
        workers: clients that are run at once.
        heavy: of them, those that may be loading everything.
    """

    workers: int
    heavy: int
    _waiting: dict[Lane, deque[tuple[int, str]]] = field(
        default_factory=lambda: {"light": deque(), "heavy": deque(), "verify": deque()}
    )
    _running: dict[Lane, int] = field(default_factory=lambda: {"light": 0, "heavy": 0, "verify": 0})
    _number: int = 0

    def __post_init__(self) -> None:
        self.workers = max(2, self.workers)
        self.heavy = min(self.heavy, self.workers - 1)

    def put(self, client: str, lane: Lane) -> None:
        """Let a client wait."""
        self._number += 1
        self._waiting[lane].append((self._number, client))

    def take(self) -> tuple[str, Lane] | None:
        """Begin with the client that has waited longest and that there is room for."""
        fitting = [(waiting[0][0], lane) for lane, waiting in self._waiting.items() if waiting and self._has_room(lane)]
        if not fitting:
            return None
        _, lane = min(fitting)
        _, client = self._waiting[lane].popleft()
        self._running[lane] += 1
        return client, lane

    def done(self, lane: Lane) -> None:
        """Give the room back."""
        self._running[lane] -= 1

    def drop(self, client: str) -> bool:
        """Let a client wait no more; False where it did not."""
        for waiting in self._waiting.values():
            for item in waiting:
                if item[1] == client:
                    waiting.remove(item)
                    return True
        return False

    def clear(self) -> None:
        """Let nobody wait any more."""
        for waiting in self._waiting.values():
            waiting.clear()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(len(waiting) for waiting in self._waiting.values())

    @property
    def verifies(self) -> bool:
        """Whether a verification waits or runs; one at a time is enough."""
        return bool(self._waiting["verify"]) or self._running["verify"] > 0

    def _has_room(self, lane: Lane) -> bool:
        long = self._running["heavy"] + self._running["verify"]
        if sum(self._running.values()) >= self.workers:
            return False
        if lane == "light":
            return True
        return long < self.workers - 1 and self._running[lane] < (self.heavy if lane == "heavy" else 1)
