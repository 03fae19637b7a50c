"""The leader's work: every client of its machine at its interval, and the jobs of the queue.

One thread knows everything, looks at what is due and asks PostgreSQL what is new; workers carry out one run each. A
client whose source has not changed costs some microseconds, and its outcome one row of a statement every few seconds.
"""

import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from client_manager.errors import ClientManagerError
from client_manager.gateways.database import Database
from client_manager.gateways.job_store import JobStore
from client_manager.models.work import Work
from client_manager.node.crew import Crew, Run, cancelled, handed_over, left
from client_manager.node.events import Events
from client_manager.node.fleet import VERIFY_EVERY_S, Fleet
from client_manager.node.identity import Identity
from client_manager.node.leadership import Clock, Leadership
from client_manager.node.queue import Queue
from client_manager.node.report import Told, log
from client_manager.node.runner import allow_many_files
from client_manager.node.schedule import Lanes
from client_manager.node.waker import Waker

_CHANNEL: Final = "client_manager"
_TICK_S: Final = 0.1  # how soon a change of the lead is seen
_RELOAD_S: Final = 60.0
_WRITE_S: Final = 5.0  # outcomes of idle clients are written so often
_QUIET_POLLS: Final = 5  # so many times rarer is asked where notifications come
_RETRY_S: Final = 0.5
_BREAK_OFF_S: Final = 5.0


class Scheduler:
    """Replicates the clients of a machine while this node leads. ``run`` is its thread's; the rest is everybody's."""

    def __init__(  # noqa: PLR0913  whose, where, when, and who is told
        self,
        identity: Identity,
        database: Database,
        leadership: Leadership,
        *,
        clock: Clock = time.monotonic,
        told: Told = log,
        verify_every_s: float = VERIFY_EVERY_S,
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            identity: of this process.
            database: whose connections carry ``identity.node_id`` as their ``application_name``.
            leadership: says whether this node leads.
            clock: monotonic seconds.
            told: called with every run that is over (``job_ended``), with changes of the work, and with cache events.
            verify_every_s: how often source and replica of a client are compared whole.
        """
        spec = identity.spec
        self._identity = identity
        self._database = database
        self._leadership = leadership
        self._clock = clock
        self._told = told
        self._poll_s = spec.times.poll_s
        self._fleet = Fleet(identity, database, clock, verify_every_s)
        self._queue = Queue()
        self._events = Events(leadership, told)
        self._crew = Crew(Lanes(spec.workers, spec.heavy_workers), leadership, self.wake)
        self._lock = threading.RLock()
        self._settled = threading.Condition(self._lock)
        self._waker = Waker()
        self._term: int | None = None
        self._poll_at = self._reload_at = self._write_at = float("-inf")
        self._outcomes: Counter[str] = Counter()
        self._problem = ""

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop``; then begin nothing more, and return when no run is under way."""
        allow_many_files()
        self._crew.start()
        try:
            while not self._is_over(stop):
                self._connected(stop)
        finally:
            self._crew.close()
            self._crew.join()
            with self._lock:
                self._leave()
                self._close_ended()
            self._waker.close()

    def wake(self) -> None:
        """Look at what has changed now."""
        self._waker.call()

    def drain(self, timeout_s: float) -> None:
        """Begin nothing more under this term; return when nothing is under way, what did not end in time broken off.

        Args:
            timeout_s: how long runs may go on.
        """
        until = self._clock() + timeout_s
        if (term := self._leadership.term()) is not None:
            self._crew.drain(term)
        if not self._crew.wait_until_quiet(timeout_s):
            self._crew.stop_all(handed_over)
            self._crew.wait_until_quiet(_BREAK_OFF_S)
        self.wake()
        with self._settled:
            self._settled.wait_for(lambda: not self._has_unwritten, max(0.0, until - self._clock()))

    def snapshot(self) -> Work:
        """Return what is done at this moment."""
        with self._lock:
            due_in_s = self._fleet.schedule.next_at() - self._clock()
            return Work(
                term=self._term,
                running=self._crew.running(),
                waiting=self._crew.waiting,
                jobs=len(self._queue),
                next_due_in_s=max(0.0, due_in_s) if due_in_s < float("inf") else None,
                outcomes={**self._outcomes, "idle": self._fleet.idle},
                clients=self._fleet.work(),
                problem=self._problem,
            )

    def last_sync(self) -> datetime | None:
        """Return when this process last found a replica to be what its source is."""
        with self._lock:
            at = self._fleet.last_synced_at
            return None if at is None else datetime.now(UTC) - timedelta(seconds=self._clock() - at)

    @property
    def _has_unwritten(self) -> bool:
        return self._crew.has_over or self._fleet.is_urgent

    def _is_over(self, stop: threading.Event) -> bool:
        if stop.is_set():
            self._crew.close()
        return stop.is_set() and self._crew.is_quiet

    def _connected(self, stop: threading.Event) -> None:
        identity = self._identity
        try:
            with self._database.connect() as connection:
                store = JobStore(connection, identity.cluster, identity.name, identity.node_id)
                listens = store.listen(_CHANNEL)
                self._poll_at = self._reload_at = float("-inf")
                self._say_problem("")
                while not self._is_over(stop):
                    self._turn(store, listens=listens)
                self._settle(store)
        except ClientManagerError as error:
            self._say_problem(f"{error.what} {error.why}".strip())
            with self._lock:
                self._leave_if_deposed()
                self._close_ended()
            stop.wait(_RETRY_S)

    def _turn(self, store: JobStore, *, listens: bool) -> None:
        self._follow_lead(store)
        self._settle(store)
        now = self._clock()
        if now >= self._poll_at:
            self._poll_at = now + self._poll_s * (_QUIET_POLLS if listens else 1)
            self._poll(store)
        if self._term is not None and now >= self._reload_at:
            self._reload(store)
        with self._lock:
            self._begin_due()
        if self._hear(store, listens=listens):
            self._poll_at = float("-inf")

    def _hear(self, store: JobStore, *, listens: bool) -> bool:
        """Wait for whatever comes first."""
        soonest = min(self._clock() + _TICK_S, self._poll_at)
        if self._term is not None:
            soonest = min(soonest, self._fleet.schedule.next_at())
        notified = store.wait(soonest - self._clock(), self._waker.number) and listens
        self._waker.heard()
        return notified

    def _follow_lead(self, store: JobStore) -> None:
        with self._lock:
            term = self._leave_if_deposed()
        if term is not None and term != self._term:
            rows = store.clients(self._identity.spec.host_id)
            with self._lock:
                self._fleet.enter(rows)
                self._term = term
            self._poll_at, self._reload_at = float("-inf"), self._clock() + _RELOAD_S
            self._told("work_begins", {"term": term, "clients": len(self._fleet.members)})

    def _leave_if_deposed(self) -> int | None:
        """Return the term of the lead; what was done under another one ends."""
        term = self._leadership.term()
        if term != self._term:
            self._leave()
        return term

    def _leave(self) -> None:
        if self._term is None:
            return
        self._told("work_ends", {"term": self._term})
        self._term = None
        self._crew.clear()
        for name, member in self._fleet.members.items():
            member.busy = self._crew.is_running(name)
        self._fleet.leave()
        self._queue.clear()

    def _settle(self, store: JobStore) -> None:
        """Note the runs that are over, and write down what is to be written."""
        with self._lock:
            self._close_ended()
        self._queue.end_open(store)
        self._write(store)
        with self._settled:
            self._settled.notify_all()

    def _close_ended(self) -> None:
        for run, ended in self._crew.take_over():
            self._outcomes[ended.outcome] += 1
            if run.job_id is not None:
                self._queue.done(run.job_id)
            if run.term == self._term:
                self._fleet.ended(run, ended)
                if run.job_id is not None and ended.left_open:
                    self._queue.leave_open(run.job_id, run.term, ended.outcome, ended.problem)
            else:
                run.runner.close()
            known = run.client in self._fleet.members
            next_in_s = self._fleet.schedule.due_in_s(run.client) if known else None
            self._told("job_ended", {**run.fields, **ended.fields, "next_in_s": next_in_s})

    def _write(self, store: JobStore) -> None:
        now = self._clock()
        if self._term is None or not (self._fleet.is_urgent or now >= self._write_at):
            return
        self._write_at = now + _WRITE_S
        outcomes = self._fleet.outcomes()
        if outcomes:
            self._fleet.written(store.record(outcomes, self._term))

    def _poll(self, store: JobStore) -> None:
        poll = store.poll(self._term)
        if self._events.follow(store, poll.last_event):
            self._reload_at = float("-inf")
        if self._term is None:
            return
        if self._reload_at <= self._clock():
            self._reload(store)
        for job_id in poll.cancelled:
            self._cancel(store, job_id, self._term)
        with self._lock:
            self._queue.see(store, poll.queued)
            self._queue.refuse(store, self._term, self._fleet.members.__contains__)

    def _reload(self, store: JobStore) -> None:
        self._reload_at = self._clock() + _RELOAD_S
        self._settle(store)
        rows = store.clients(self._identity.spec.host_id)
        with self._lock:
            for name in self._fleet.update(rows):
                self._crew.withdraw(name)
        # The run of a client that is only paused may finish; whoever wants its end cancels its job.
        self._crew.stop_others({row.client_name for row in rows}, left)

    def _cancel(self, store: JobStore, job_id: UUID, term: int) -> None:
        client = self._crew.job_of(job_id) or store.client_of_running(job_id, term)
        if client is not None and not self._crew.stop(client, cancelled):
            self._queue.end_cancelled(store, job_id, term)

    def _begin_due(self) -> None:
        if self._term is None or self._leadership.view.draining:
            return
        for job_id, client, full in self._queue.next_jobs(self._may_begin):
            self._put(self._fleet.begin(client, full=full), job_id)
        for run in self._fleet.due(self._crew.is_running, self._queue.has_job_of, verifies=self._crew.lanes.verifies):
            job = self._queue.of_client(run.client) if run.kind == "sync" else None
            if job is not None and job[1]:
                run.lane = "heavy"
            self._put(run, job[0] if job else None)

    def _may_begin(self, client: str) -> bool:
        member = self._fleet.members.get(client)
        return member is not None and not member.busy and not self._crew.is_running(client)

    def _put(self, run: Run, job_id: UUID | None) -> None:
        if self._term is not None:
            run.term, run.job_id = self._term, job_id
            self._crew.put(run)

    def _say_problem(self, problem: str) -> None:
        with self._lock:
            before, self._problem = self._problem, problem
        if problem and problem != before:
            self._told("work_interrupted", {"why": problem})
