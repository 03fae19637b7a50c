"""The jobs that wait in ``sync_jobs`` and that this leader is to work off, in their order."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from client_manager.gateways.job_store import JobStore
from client_manager.models.work import WaitingJob

_HEAVY: Final = frozenset({"full", "verify"})
_REFUSED: Final = "The client is not replicated by this cluster: it is paused, disabled, or on another machine."
_CANCELLED: Final = "Cancelled; no run of it was under way."


@dataclass(frozen=True)
class _Open:
    """A job that is to be ended."""

    job_id: UUID
    term: int
    status: str
    error: str


@dataclass
class Queue:
    """What waits, as it was last seen; of one thread."""

    _waiting: dict[UUID, WaitingJob] = field(default_factory=dict)
    _tried: set[UUID] = field(default_factory=set)
    _open: list[_Open] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._waiting)

    def clear(self) -> None:
        """Forget what waits."""
        self._waiting.clear()
        self._tried.clear()
        self._open.clear()

    def see(self, store: JobStore, queued: Sequence[UUID]) -> None:
        """Note what waits now."""
        seen: dict[UUID, WaitingJob] = {}
        for job_id in queued:
            job = self._waiting.get(job_id) or store.waiting(job_id)
            if job is not None:
                seen[job_id] = job
        self._waiting = seen
        self._tried &= seen.keys()

    def next_jobs(self, may_begin: Callable[[str], bool]) -> Iterator[tuple[UUID, str, bool]]:
        """Yield job, client and whether everything is loaded or compared, the oldest of each client that may begin.

        A job that a run has not got as far as taking waits for the client's next time, see ``of_client``.
        """
        begun: set[str] = set()
        for job_id, job in list(self._waiting.items()):
            if job.client_name not in begun and job_id not in self._tried and may_begin(job.client_name):
                begun.add(job.client_name)
                self._take(job_id)
                yield job_id, job.client_name, job.sync_type in _HEAVY

    def of_client(self, client: str) -> tuple[UUID, bool] | None:
        """Take a client's oldest job, and whether everything is loaded or compared, with a run that is due anyway."""
        for job_id, job in self._waiting.items():
            if job.client_name == client:
                self._take(job_id)
                return job_id, job.sync_type in _HEAVY
        return None

    def has_job_of(self, client: str) -> bool:
        """Say whether a job of a client waits."""
        return any(job.client_name == client for job in self._waiting.values())

    def done(self, job_id: UUID) -> None:
        """Forget a job whose run is over; where it waits nevertheless, it is seen again."""
        self._waiting.pop(job_id, None)

    def _take(self, job_id: UUID) -> None:
        self._tried.add(job_id)

    def refuse(self, store: JobStore, term: int, is_known: Callable[[str], bool]) -> list[UUID]:
        """End the jobs of clients that are not to be replicated, and say why; return them."""
        refused = [job_id for job_id, job in self._waiting.items() if not is_known(job.client_name)]
        for job_id in refused:
            job = self._waiting.pop(job_id)
            if store.claim(job_id, job.client_name, term):
                store.end(job_id, term, "failed", _REFUSED)
        return refused

    def leave_open(self, job_id: UUID, term: int, status: str, error: str) -> None:
        """Note that a job is to be ended when PostgreSQL answers again."""
        self._open.append(_Open(job_id, term, status, error))

    def end_cancelled(self, store: JobStore, job_id: UUID, term: int) -> None:
        """End a job that is marked as running, and that nobody works on."""
        store.end(job_id, term, "cancelled", _CANCELLED)

    def end_open(self, store: JobStore) -> None:
        """End what is to be ended."""
        while self._open:
            job = self._open[0]
            store.end(job.job_id, job.term, job.status, job.error)
            self._open.pop(0)
