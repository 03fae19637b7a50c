"""Start, pause and run a client's replication, and look at it: from any machine, by what the database holds."""

import time
from collections.abc import Callable
from typing import Final
from uuid import UUID

from client_manager import guard
from client_manager.app import App
from client_manager.errors import Blocked, ClientManagerError, InvalidInput, NotFound
from client_manager.gateways import host
from client_manager.gateways.sync_store import SyncStore
from client_manager.models.client_sync import Paused
from client_manager.models.operation import Progress
from client_manager.models.sync import Deployment, Job, TableProgress

Report = Callable[[Progress], None]

_UNDER_WAY: Final = ("queued", "running")
_PAUSE_S: Final = 0.1


def status(app: App, client: str) -> Deployment:
    """Return a client as the sync system knows it.

    Raises:
        NotFound: it is not registered.
    """
    with app.sync_store() as store:
        return _registered(store, client)


def jobs(app: App, client: str | None = None, limit: int = 20) -> tuple[Job, ...]:
    """Return the latest jobs, those under way first."""
    with app.sync_store() as store:
        return store.jobs(client=client, limit=limit)


def start(app: App, client: str, interval_s: int | None = None) -> Deployment:
    """Start or resume the replication of a client, and give it another interval if one is named.

    Raises:
        NotFound: it is not registered.
        InvalidInput: the interval is none.
    """
    if interval_s is not None and interval_s < 1:
        raise InvalidInput(f"{interval_s} is no interval.", hint="Give it in seconds, at least 1.")
    arguments = {"interval_s": str(interval_s or "")}
    with app.journal.action("sync start", client, arguments), app.sync_store() as store:
        _registered(store, client)
        store.set_deployment(client, sync_enabled=True, sync_interval=interval_s, status="active")
        return _registered(store, client)


def pause(app: App, client: str, report: Report, *, cancel: bool = False, deadline_s: float = 600) -> Paused:
    """Pause the replication of a client, and return once no job of it is under way but on a machine that is lost.

    A regular run has no job before it takes long; one that began before the pause may still end after it.

    Args:
        app: the gateways.
        client: its name.
        report: told what is waited for.
        cancel: end what runs, instead of letting it finish; what only waits in the queue is cancelled in any case.
        deadline_s: until when what runs has to have ended.

    Raises:
        NotFound: it is not registered.
        ClientManagerError: a job runs on after the deadline; the client is paused all the same.
    """
    with (
        app.journal.action("sync pause", client, {"cancel": str(cancel).lower()}),
        app.sync_store() as store,
    ):
        _registered(store, client)
        store.set_deployment(client, sync_enabled=False, status="paused")
        return _settle(store, client, report, cancel=cancel, deadline_s=deadline_s)


def run(app: App, client: str, *, full: bool = False, confirmed: bool = False) -> UUID:
    """Queue a run for the leader, and return the job; where the same one waits already, that one.

    Args:
        app: the gateways.
        client: its name.
        full: load everything anew.
        confirmed: the operator has seen what a safety rule has stopped the client at, and has typed its name.

    Raises:
        NotFound: the client is not registered.
        Blocked: a safety rule has stopped it, and a full run, which takes the source as it is, was not confirmed.
    """
    arguments = {"full": str(full).lower(), "confirmed": str(confirmed).lower()}
    with app.journal.action("sync run", client, arguments), app.sync_store() as store:
        stopped = guard.why_full_run_waits(_registered(store, client)) if full and not confirmed else ""
        if stopped:
            raise Blocked(f"{client} may not be loaded anew yet.", why=stopped, hint=guard.full_run_hint(client))
        job = store.enqueue(client, full=full, triggered_by=host.operator())
        if job is None:
            raise _not_registered(client)
        return job


def wait(app: App, job_id: UUID, report: Report, deadline_s: float | None = None) -> Job:
    """Return a job once it is over, however it ended.

    Raises:
        NotFound: there is no such job.
        ClientManagerError: it is not over at the deadline; it goes on.
    """
    end = None if deadline_s is None else time.monotonic() + deadline_s
    with app.sync_store() as store:
        while True:
            job = store.job(job_id)
            if job is None:
                raise NotFound(f"There is no job {job_id}.", hint="'client-manager sync jobs' shows them.")
            if job.is_over:
                return job
            report(_progress(job, store.progress(job_id)))
            if end is not None and time.monotonic() > end:
                raise ClientManagerError(
                    f"The job of {job.client_name} is not over after {deadline_s:.0f} s; it is {job.status}.",
                    hint=f"It goes on: client-manager sync jobs {job.client_name}",
                )
            time.sleep(_PAUSE_S)


def cancel(app: App, *, client: str | None = None, job_id: UUID | None = None) -> dict[UUID, str]:
    """Cancel jobs that wait and ask those that run to end; return job -> its status now.

    Raises:
        InvalidInput: neither a client nor a job is named.
    """
    if client is None and job_id is None:
        raise InvalidInput("It is not said what to cancel.", hint="Name a client or a job.")
    with app.journal.action("sync cancel", client or str(job_id), {}), app.sync_store() as store:
        return store.cancel(operator=host.operator(), job_id=job_id, client=client)


def _settle(store: SyncStore, client: str, report: Report, *, cancel: bool, deadline_s: float) -> Paused:
    """End or wait for what is under way; the leader may begin one more before it hears of the pause.

    What runs by the records alone, on a machine that is lost, is not waited for.
    """
    end = time.monotonic() + deadline_s
    seen: set[UUID] = set()
    while under_way := store.jobs(client=client, status=_UNDER_WAY, limit=100):
        seen |= {job.job_id for job in under_way}
        for job in under_way:
            if cancel or job.status == "queued":
                store.cancel(operator=host.operator(), job_id=job.job_id)
        running = [job for job in under_way if job.status == "running"]
        if len(running) == len(under_way) and _is_lost(store, client):
            break
        if running:
            report(_progress(running[0], store.progress(running[0].job_id)))
        if time.monotonic() > end:
            raise ClientManagerError(
                f"{client} is paused, but a job of it still runs after {deadline_s:.0f} s.",
                why=f"{running[0].node_name} works on it." if running else "Nobody has taken the cancelled job away.",
                hint=f"End it: client-manager sync cancel {client}",
            )
        time.sleep(_PAUSE_S)
    over = [ended for job_id in seen if (ended := store.job(job_id))]
    return Paused(
        waited_for=tuple(job for job in over if job.is_over and job.status != "cancelled"),
        cancelled=tuple(job for job in over if job.status == "cancelled"),
        left=tuple(job for job in over if not job.is_over),
    )


def _is_lost(store: SyncStore, client: str) -> bool:
    """Say whether nobody is left who could end a job: no leader, and of the client's cluster nothing heard of."""
    cluster = _registered(store, client).cluster_name
    if cluster is None:
        return False
    lease = store.lease(cluster)
    machines, nodes = store.hosts(cluster), store.nodes(cluster)
    silent = all(machine.is_stale for machine in machines) and all(node.is_stale for node in nodes)
    return silent and not (lease and lease.is_valid)


def _progress(job: Job, tables: tuple[TableProgress, ...]) -> Progress:
    if job.status == "queued":
        return Progress(step="Waiting for the leader", detail=f"{job.client_name}, {job.sync_type}")
    rows = sum(table.rows_processed or 0 for table in tables)
    total = sum(table.rows_total or 0 for table in tables)
    now = next((table.table_name for table in tables if table.status == "running"), "")
    return Progress(
        step=f"Replicating {job.client_name}",
        detail=f"{now} {rows} rows".strip(),
        fraction=rows / total if total else None,
    )


def _registered(store: SyncStore, client: str) -> Deployment:
    found = store.deployments(client=client)
    if not found:
        raise _not_registered(client)
    return found[0]


def _not_registered(client: str) -> NotFound:
    return NotFound(f"{client} is not registered.", hint=f"Register it: client-manager sync register {client}")
