"""What an operator does with the replication of clients. Menus and commands both end here."""

from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Final
from uuid import UUID

from client_manager import guard
from client_manager.client_sync import control
from client_manager.client_sync import register as registration
from client_manager.errors import Blocked, ClientManagerError, Conflict, InvalidInput, NotFound
from client_manager.gateways.sync_store import SyncStore
from client_manager.menu.following import follow
from client_manager.menu.session import Session
from client_manager.models.sync import Deployment, Job
from client_manager.views.sync import (
    check_table,
    job_table,
    registration_page,
    sync_page,
    sync_state,
    sync_table,
    worst_first,
)

DEFAULT_INTERVAL_S: Final = registration.DEFAULT_INTERVAL_S
SHOWN_JOBS: Final = 20
_JOBS_OF_PAGE: Final = 5
_SHORTEST_ID: Final = 4
_SEARCHED_JOBS: Final = 10_000


def registered(session: Session, client: str) -> Deployment | None:
    """Return a client as the sync system knows it, or None."""
    with session.app.sync_store() as store:
        found = store.deployments(client=client)
    return found[0] if found else None


def existing(session: Session, client: str) -> Deployment:
    """Return a client as the sync system knows it.

    Raises:
        NotFound: it is not registered; suggests the nearest name.
    """
    with session.app.sync_store() as store:
        return _existing(store, client)


def _existing(store: SyncStore, client: str) -> Deployment:
    found = store.deployments(client=client)
    if found:
        return found[0]
    near = get_close_matches(client, [each.client_name for each in store.deployments()], 1)
    raise NotFound(
        f"{client} is not registered for replication.",
        why=f"Did you mean {near[0]}?" if near else "",
        hint=f"client-manager sync register {client}",
    )


def show_status(session: Session, client: str | None) -> None:
    """Show how far the replicas are; of one client, its latest jobs too."""
    with session.app.sync_store() as store:
        if client is None:
            found = store.deployments()
            session.show(sync_table(worst_first(found)))
            session.result(clients=found)
            return
        one, jobs = _existing(store, client), store.jobs(client=client, limit=_JOBS_OF_PAGE)
    session.show(sync_page(one, jobs, datetime.now(UTC)))
    session.result(client=one, jobs=jobs)


def rerun(session: Session, begins: str) -> None:
    """Queue a job that is over again, of the same kind.

    Raises:
        InvalidInput: it was a comparison, which has a command of its own.
    """
    with session.app.sync_store() as store:
        job = _by_id(store.jobs(limit=_SEARCHED_JOBS), begins)
    if job.sync_type == "verify":
        raise InvalidInput(f"{begins} was a comparison.", hint=f"client-manager sync verify {job.client_name}")
    if job.sync_type == "full" and (stopped := guard.why_full_run_waits(existing(session, job.client_name))):
        hint = guard.full_run_hint(job.client_name)
        raise Blocked(f"{job.client_name} may not be loaded anew yet.", why=stopped, hint=hint)
    run_now(session, job.client_name, full=job.sync_type == "full", wait=False)


def show_jobs(session: Session, client: str | None, *, limit: int) -> None:
    """Show the latest jobs."""
    with session.app.sync_store() as store:
        if client is not None:
            _existing(store, client)
        jobs = store.jobs(client=client, limit=limit)
    session.show(job_table(jobs, datetime.now(UTC)))
    session.result(jobs=jobs)


def register(
    session: Session, client: str, *, interval_s: int | None, cluster: str | None, enable: bool = True
) -> None:
    """Register a client; its replication begins at once unless ``enable`` is false."""
    interval = interval_s or registration.DEFAULT_INTERVAL_S
    session.show(check_table(registration.preflight(session.app, client, cluster)))
    wanted = registration.plan_register(session.app, client, interval, cluster)
    session.show(registration_page(wanted, enable=enable))
    if session.dry_run:
        return _planned(session, registration=wanted)
    session.confirm(f"Register {client} with {wanted.cluster}?")
    found = registration.register(session.app, client, interval, wanted.cluster, enable=enable)
    begins = "its first replication is due now" if enable else f"'client-manager sync start {client}' sets it going"
    session.say(f"{client} is registered with {wanted.cluster}; {begins}.", "good")
    return session.result(client=found, kind=wanted.kind)


def start(session: Session, client: str, *, interval_s: int | None) -> None:
    """Start or resume the replication of a client, or give it another interval."""
    found = existing(session, client)
    interval = interval_s or found.sync_interval
    if session.dry_run:
        return _planned(session, client=found, interval_s=interval)
    if found.sync_enabled and interval == found.sync_interval and found.status == "active":
        session.say(f"{client} is replicated every {interval} s already.", "good")
        return session.result(client=found)
    session.confirm(f"Replicate {client} every {interval} s?")
    found = control.start(session.app, client, interval)
    session.say(f"{client} is replicated every {found.sync_interval} s; the next run is due now.", "good")
    return session.result(client=found)


def pause(session: Session, client: str, *, cancel: bool = False) -> None:
    """Pause the replication of a client, and say what was under way."""
    found = existing(session, client)
    if session.dry_run:
        return _planned(session, client=found, cancel=cancel)
    ending = "is cancelled" if cancel else "may finish"
    session.confirm(f"Pause the replication of {client}? A run that is under way {ending}; the replica stays as it is.")
    with session.working() as report:
        paused = control.pause(session.app, client, report, cancel=cancel)
    waited = [f"waited for the {job.sync_type} run, which ended with {job.status}" for job in paused.waited_for]
    ended = [f"cancelled a {job.sync_type} run" for job in paused.cancelled]
    left = [f"left a {job.sync_type} run, whose machine is lost" for job in paused.left]
    session.say(f"{client} is paused: {', '.join([*waited, *ended, *left]) or 'no job was under way'}.", "good")
    return session.result(client=existing(session, client), paused=paused)


def run_now(session: Session, client: str, *, full: bool, wait: bool, confirm: str | None = None) -> None:
    """Queue a job and, with ``wait``, follow it to its end.

    A full run of a client that a safety rule has stopped wants its name typed; ``confirm`` is that, in advance.

    Raises:
        Blocked: the client is paused, and the leader would refuse the job.
        InvalidInput: what was to confirm it is not the client's name.
        ClientManagerError: it failed.
        Conflict: it was cancelled.
    """
    kind = "full" if full else "incremental"
    found = existing(session, client)
    _require_active(found)
    if session.dry_run:
        return _planned(session, client=found, kind=kind)
    confirmed = full and _confirm_full(session, found, confirm)
    job_id = control.run(session.app, client, full=full, confirmed=confirmed)
    session.say(f"The {kind} run of {client} is queued, job {str(job_id)[:8]}.")
    if not wait:
        return session.result(job_id=str(job_id))
    job = follow(session, job_id)
    if job is None:
        session.say(
            f"The job goes on without you. Look at it again: client-manager sync jobs {client}\n"
            f"or end it: client-manager sync cancel {client}",
            "attention",
        )
        return session.result(job_id=str(job_id), followed=False)
    _ended(session, job)
    return None


def _confirm_full(session: Session, found: Deployment, confirm: str | None) -> bool:
    """Ask before everything is loaded anew; return whether the client's name was typed for it."""
    client, stopped = found.client_name, guard.why_full_run_waits(found)
    if confirm is not None and confirm != client:
        raise InvalidInput(f"--confirm says {confirm}, but the client is {client}.", hint="Nothing was done.")
    if not stopped:
        session.confirm(f"Load all of {client} anew? The replica stays in use until the new one is complete.")
        return False
    session.say(f"{stopped} A full run makes the replica what the database is now.", "attention")
    if confirm is None:
        session.ask.type_name(f"Type the client's name, {client}, to load it all the same:", client)
    return True


def _require_active(found: Deployment) -> None:
    if not found.sync_enabled or found.status != "active":
        raise Blocked(
            f"The replication of {found.client_name} is {sync_state(found)[0]}.",
            why="No leader takes a job of a client that is not replicated.",
            hint=f"client-manager sync start {found.client_name}",
        )


def _ended(session: Session, job: Job) -> None:
    session.result(job=job)
    if job.status == "success":
        rows = f"{job.rows_synced or 0} rows in {job.tables_synced or 0} tables"
        session.say(f"{job.client_name} is replicated: {rows}, {job.duration_seconds or 0:.1f} s.", "good")
        return
    if job.status == "cancelled":
        raise Conflict(f"The run of {job.client_name} was cancelled.", why=job.error_message or "")
    raise ClientManagerError(
        f"The run of {job.client_name} failed.",
        why=job.error_message or "Its node does not say why.",
        hint=f"client-manager sync status {job.client_name}",
    )


def cancel(session: Session, *, client: str | None, job: str | None) -> None:
    """Cancel one job, or all of a client's.

    Raises:
        InvalidInput: neither or both are named.
    """
    if (client is None) == (job is None):
        raise InvalidInput("Name a client, or a job with --job.", hint="client-manager sync jobs")
    with session.app.sync_store() as store:
        under_way = _under_way(store, client, job)
    if not under_way:
        session.say("No job is under way.")
        return session.result(cancelled=[])
    session.show(job_table(under_way, datetime.now(UTC)))
    if session.dry_run:
        return _planned(session, jobs=under_way)
    session.confirm(f"Cancel {len(under_way)} job{'' if len(under_way) == 1 else 's'}?")
    done = _cancelled(session, under_way, client)
    for job_id, status in done.items():
        words = "is cancelled" if status == "cancelled" else "runs, and is asked to end"
        session.say(f"Job {str(job_id)[:8]} {words}.", "good")
    return session.result(cancelled={str(job_id): status for job_id, status in done.items()})


def _cancelled(session: Session, jobs: tuple[Job, ...], client: str | None) -> dict[UUID, str]:
    if client is not None:
        return control.cancel(session.app, client=client)
    return control.cancel(session.app, job_id=jobs[0].job_id)


def _under_way(store: SyncStore, client: str | None, job: str | None) -> tuple[Job, ...]:
    if client is not None:
        _existing(store, client)
    jobs = store.jobs(client=client, status=("queued", "running"), limit=_SEARCHED_JOBS)
    return jobs if job is None else (_by_id(jobs, job),)


def _by_id(jobs: tuple[Job, ...], begins: str) -> Job:
    wanted = begins.lower().replace("-", "")
    found = [job for job in jobs if job.job_id.hex.startswith(wanted)]
    if len(wanted) < _SHORTEST_ID or len(found) > 1:
        raise InvalidInput(
            f"{begins} is not enough of a job's id.", hint="'client-manager sync jobs --json' has them whole."
        )
    if not found:
        raise NotFound(f"There is no such job {begins}.", hint="client-manager sync jobs")
    return found[0]


def _planned(session: Session, **fields: object) -> None:
    session.say("Dry run: nothing was done.", "attention")
    session.result(dry_run=True, **fields)
