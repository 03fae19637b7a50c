"""What a node does with the clients of its machine: what it reads of them, and what it says about its work."""

from typing import Any, Literal
from uuid import UUID

from client_manager.models.base import Model

RunKind = Literal["sync", "verify"]
RunOutcome = Literal["success", "failed", "cancelled", "fenced", "skipped"]


class HostClient(Model):
    """A client of this machine; all times in seconds from now.

    Attributes:
        is_active: whether it is to be replicated.
        due_in_s: below zero: overdue; None: it never was.
        synced_age_s: since its replica was last known to be what its source is.
        verified_age_s: since the two were last compared whole.
        generation, token: of the replica.
        is_settled: whether the last run ended well and the replica is there.
    """

    client_name: str
    interval_s: int
    config: dict[str, Any]
    is_active: bool
    due_in_s: float | None
    synced_age_s: float | None
    verified_age_s: float | None
    generation: int
    token: str | None
    is_settled: bool
    has_schema: bool


class Poll(Model):
    """What is new.

    Attributes:
        last_event: the number of the newest event.
        queued: jobs that wait, the oldest first.
        cancelled: running jobs of this term that somebody wants to end.
    """

    last_event: int
    queued: tuple[UUID, ...]
    cancelled: tuple[UUID, ...]


class CacheEvent(Model):
    """Something in ``sync_metadata`` has changed."""

    event_number: int
    cache_key: str
    action: str


class WaitingJob(Model):
    """A job that waits for the leader."""

    client_name: str
    sync_type: str | None


class ClaimedJob(Model):
    """A job that this node works off now."""

    client_name: str
    sync_type: str | None
    triggered_by: str | None


class Outcome(Model):
    """How a look at a client went, in seconds from now.

    Attributes:
        age_s: since its replica was known to be what its source is; None: it is not.
        status: None: as before.
        next_in_s: when it is looked at again; None: it is paused, and finished what it was at.
    """

    client_name: str
    age_s: float | None
    status: Literal["success", "failed"] | None
    next_in_s: float | None


class RunningWork(Model):
    """A run under way."""

    client: str
    kind: RunKind
    lane: str
    since_s: float
    job_id: UUID | None


class ClientWork(Model):
    """One client as this leader knows it.

    Attributes:
        last_success_age_s: since its replica was known to be what its source is; None: not by this leader, nor before.
        failures: in a row.
        problem: why its last run failed; empty: it did not.
    """

    client: str
    last_success_age_s: float | None
    due_in_s: float
    failures: int
    problem: str


class Work(Model):
    """What a node does at one moment; a follower has no clients.

    Attributes:
        term: under which it works; None: it does not lead.
        running: the runs under way.
        waiting: clients that wait for a worker.
        jobs: that wait in the queue of the cluster.
        next_due_in_s: until a client is due; None: none will be.
        outcomes: how often what has happened since the process began; ``idle``: a look found nothing to do.
        problem: why the scheduler does not work; empty: it does.
    """

    term: int | None
    running: tuple[RunningWork, ...] = ()
    waiting: int = 0
    jobs: int = 0
    next_due_in_s: float | None = None
    outcomes: dict[str, int]
    clients: tuple[ClientWork, ...] = ()
    problem: str = ""
