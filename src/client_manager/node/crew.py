"""The workers: a fixed number of threads, each of which carries out one run at a time."""

import threading
import time
from collections import deque
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from client_manager.errors import Cancelled, ClientManagerError, Conflict
from client_manager.models.work import RunKind, RunningWork
from client_manager.node.leadership import Leadership
from client_manager.node.runner import Ended, Order, Runner
from client_manager.node.schedule import Lane, Lanes

_LOOK_S: Final = 0.1  # how soon a worker sees that the lead has come


def handed_over() -> ClientManagerError:
    """Return why a run ends when the lead is given away."""
    return Conflict("The node hands the lead over.", why="The run took longer than could be waited for.")


def cancelled() -> ClientManagerError:
    """Return why a run ends when the operator has cancelled it."""
    return Cancelled("Cancelled by the operator.", why="Nothing was changed in the replica.")


def left() -> ClientManagerError:
    """Return why a run ends when its client is this machine's no more."""
    return Cancelled("The client is not this machine's any more.", why="It was deregistered or moved meanwhile.")


@dataclass
class Run:
    """One run, waiting or under way.

    Attributes:
        began_at: monotonic seconds; None: it waits.
        stop: makes the error that it is to end with; None: it may go on.
    """

    runner: Runner
    term: int
    lane: Lane
    kind: RunKind = "sync"
    job_id: UUID | None = None
    began_at: float | None = None
    stop: Callable[[], ClientManagerError] | None = None

    @property
    def client(self) -> str:
        """Whose it is."""
        return self.runner.client

    @property
    def fields(self) -> dict[str, object]:
        """What it is, for logs and metrics."""
        return {"client": self.client, "kind": self.kind, "job_id": self.job_id}


@dataclass
class Crew:
    """The threads and what they do. At most one run of a client is under way.

    Attributes:
        lanes: who may begin.
        leadership: nothing begins, and nothing goes on, without the lead of the run's term.
        ended: is called by a worker when a run is over.
    """

    lanes: Lanes
    leadership: Leadership
    ended: Callable[[], None]
    _waiting: dict[str, Run] = field(default_factory=dict)
    _running: dict[str, Run] = field(default_factory=dict)
    _over: "deque[tuple[Run, Ended]]" = field(default_factory=deque)
    _threads: list[threading.Thread] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _drained_term: int | None = None
    _closed: bool = False

    def start(self) -> None:
        """Start the threads."""
        for number in range(self.lanes.workers):
            thread = threading.Thread(target=self._work, name=f"worker-{number + 1}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Begin nothing more, ever."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def join(self) -> None:
        """Wait until all threads have ended; after ``close``."""
        for thread in self._threads:
            thread.join()

    def put(self, run: Run) -> None:
        """Let a run wait for a worker."""
        with self._changed:
            self._waiting[run.client] = run
            self.lanes.put(run.client, run.lane)
            self._changed.notify()

    def withdraw(self, client: str) -> None:
        """Let a client's run wait no more."""
        with self._changed:
            if self._waiting.pop(client, None):
                self.lanes.drop(client)

    def clear(self) -> None:
        """Let nothing wait any more."""
        with self._changed:
            self._waiting.clear()
            self.lanes.clear()

    def is_running(self, client: str) -> bool:
        """Say whether a run of a client is under way."""
        with self._changed:
            return client in self._running

    @property
    def is_quiet(self) -> bool:
        """Whether no run is under way."""
        with self._changed:
            return not self._running

    @property
    def waiting(self) -> int:
        """How many runs wait."""
        with self._changed:
            return len(self._waiting)

    def running(self) -> tuple[RunningWork, ...]:
        """Return what is under way."""
        now = time.monotonic()
        with self._changed:
            runs = tuple(self._running.values())
        return tuple(
            RunningWork(
                client=run.client, kind=run.kind, lane=run.lane, since_s=now - (run.began_at or now), job_id=run.job_id
            )
            for run in runs
        )

    def job_of(self, job_id: UUID) -> str | None:
        """Return whose run works a job off; None: nobody's here."""
        with self._changed:
            return next((run.client for run in self._running.values() if run.job_id == job_id), None)

    def stop(self, client: str, why: Callable[[], ClientManagerError]) -> bool:
        """Let the run of a client end with an error as soon as it asks; False where none is under way."""
        with self._changed:
            run = self._running.get(client)
            if run:
                run.stop = run.stop or why
        return run is not None

    def stop_others(self, clients: Container[str], why: Callable[[], ClientManagerError]) -> None:
        """Let every run end but those of these clients."""
        with self._changed:
            for client, run in self._running.items():
                if client not in clients:
                    run.stop = run.stop or why

    def stop_all(self, why: Callable[[], ClientManagerError]) -> None:
        """Let every run end."""
        with self._changed:
            for run in self._running.values():
                run.stop = run.stop or why

    def drain(self, term: int) -> None:
        """Begin nothing more under this term."""
        with self._changed:
            self._drained_term = term

    def wait_until_quiet(self, seconds: float) -> bool:
        """Wait until no run is under way; False: not in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, seconds)

    def take_over(self) -> list[tuple[Run, Ended]]:
        """Return the runs that are over, each once."""
        with self._changed:
            found = list(self._over)
            self._over.clear()
        return found

    @property
    def has_over(self) -> bool:
        """Whether a run is over that nobody has asked for yet."""
        with self._changed:
            return bool(self._over)

    def _work(self) -> None:
        while (run := self._next()) is not None:
            result = run.runner.carry_out(Order(run.term, self._interrupt_of(run), run.kind, run.job_id))
            with self._changed:
                del self._running[run.client]
                self.lanes.done(run.lane)
                self._over.append((run, result))
                self._changed.notify_all()
            self.ended()

    def _next(self) -> Run | None:
        with self._changed:
            while not self._closed:
                taken = self.lanes.take() if self._may_begin() else None
                if taken is not None:
                    run = self._waiting.pop(taken[0])
                    run.began_at = time.monotonic()
                    self._running[run.client] = run
                    return run
                self._changed.wait(_LOOK_S if self._waiting else None)
            return None

    def _may_begin(self) -> bool:
        term = self.leadership.term()
        return term is not None and term != self._drained_term and not self.leadership.view.draining

    def _interrupt_of(self, run: Run) -> Callable[[], None]:
        def interrupt() -> None:
            self.leadership.require(run.term)
            if run.stop is not None:
                raise run.stop()

        return interrupt
