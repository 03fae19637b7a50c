"""Is a client's replica what its database is? A job that the leader carries out, from any machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from client_manager.app import App
from client_manager.client_sync.control import Report, status, wait
from client_manager.errors import Blocked, Cancelled, ClientManagerError, NotFound
from client_manager.gateways import host
from client_manager.gateways.conflict_store import ConflictStore
from client_manager.models.conflicts import FoundDifference, Verified
from client_manager.models.sync import Deployment, Job

DEADLINE_S: Final = 3600.0


@contextmanager
def conflict_store(app: App) -> Iterator[ConflictStore]:
    """Open what is said of conflicts, for one operation."""
    with app.database.connect() as connection:
        yield ConflictStore(connection)


def verify(app: App, client: str, report: Report, *, deadline_s: float | None = DEADLINE_S) -> Verified:
    """Let the leader compare a client's database with its replica, and settle what differs.

    Raises:
        NotFound: the client is not registered.
        Blocked: its sync is not enabled, so that no leader would take the job.
        Cancelled: somebody has cancelled the job.
        ClientManagerError: the job has failed, or is not over at the deadline.
    """
    return verified(app, wait(app, queue_verification(app, client), report, deadline_s).job_id)


def queue_verification(app: App, client: str) -> UUID:
    """Queue a comparison for the leader, and return the job; where one waits already, that one.

    Raises:
        NotFound, Blocked: as ``verify``.
    """
    require_enabled(status(app, client))
    with app.journal.action("sync verify", client, {}), conflict_store(app) as store:
        job = store.enqueue_verification(client, host.operator())
        if job is None:
            raise NotFound(f"{client} is not registered any more.", why="Somebody has just deregistered it.")
        return job


def require_enabled(deployment: Deployment) -> None:
    """Refuse to queue a job that no leader would carry out.

    Raises:
        Blocked: the client's sync is not enabled.
    """
    name = deployment.client_name
    if not deployment.sync_enabled or deployment.status == "paused":
        raise Blocked(
            f"The sync of {name} is not enabled.",
            why="The leader compares only clients that it replicates.",
            hint=f"client-manager sync start {name}",
        )


def verified(app: App, job_id: UUID) -> Verified:
    """Return what a comparison that is over has found.

    Raises:
        NotFound: there is no such comparison.
        Cancelled: it was cancelled.
        ClientManagerError: it has failed, or is not over.
    """
    with app.sync_store() as store, conflict_store(app) as conflicts:
        job, found = store.job(job_id), conflicts.verification(job_id)
    if job is None or found is None or job.sync_type != "verify":
        raise NotFound(f"There is no comparison {job_id}.", hint="'client-manager sync jobs' shows them.")
    _require_success(job)
    return Verified(
        job=job,
        rows=found["rows_synced"] or 0,
        conflicts=found["conflicts_detected"] or 0,
        settled=found["conflicts_resolved"] or 0,
        first=tuple(FoundDifference.model_validate(one) for one in found["error_details"] or ()),
        verified_at=found["verified_at"],
    )


def _require_success(job: Job) -> None:
    if job.status == "cancelled":
        raise Cancelled(f"The comparison of {job.client_name} was cancelled.", why=job.error_message or "")
    if job.status != "success":
        raise ClientManagerError(
            f"The comparison of {job.client_name} has not ended well: it is {job.status}.",
            why=job.error_message or "",
            hint=f"client-manager sync jobs {job.client_name}",
        )
