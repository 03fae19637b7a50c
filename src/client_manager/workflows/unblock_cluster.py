"""The ways out of a blocked deregistration, each for one client: its sync is disabled, or its record moves.

The third, decommissioning the client itself, has a module of its own.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from client_manager.app import App
from client_manager.client_sync import control
from client_manager.errors import Blocked, Cancelled, ClientManagerError, Conflict, NotFound
from client_manager.gateways import interrupts
from client_manager.gateways.deregistration_store import DeregistrationStore
from client_manager.gateways.sync_roles import SyncRoles
from client_manager.gateways.sync_store import SyncStore
from client_manager.models.client_sync import Paused
from client_manager.models.deregistration import Destination, MoveReport
from client_manager.models.operation import Progress
from client_manager.models.sync import Deployment

Report = Callable[[Progress], None]
DATA_STAYS: Final = (
    "The record has moved. The client's container and its data stay on their machine: its new cluster replicates "
    "nothing before its nodes see the data."
)
# The leader sees at its next renewal what has come, and ends its runs first; a little longer than it gives them.
_TERM_S: Final = 40.0
_PAUSE_S: Final = 0.05
_SEE: Final = "See client-manager cluster health"
_NO_TERM: Final = "Its new leader has no term yet that may write to the replica. A change of leader gives it one:"


def disable_sync(app: App, client: str, report: Report, *, cancel: bool = False, deadline_s: float = 600) -> Paused:
    """Disable a client's sync and return when none of its jobs is under way; its replica stays as it is.

    Waiting jobs are cancelled, a running one is waited for, or broken off with ``cancel``.

    Raises:
        NotFound: it is not registered.
        ClientManagerError: a job still runs after the deadline (seconds); the sync is disabled all the same.
    """
    return control.pause(app, client, report, cancel=cancel, deadline_s=deadline_s)


def destinations(app: App, cluster: str) -> tuple[Destination, ...]:
    """Return the machines of the other clusters that somebody leads now: where a client's record can go."""
    with app.sync_store() as store:
        return tuple(
            Destination(cluster=name, host_id=row.host_id, hostname=row.hostname, leader=lease.leader)
            for name in store.clusters()
            if name != cluster and (lease := store.lease(name)) and lease.is_valid
            for row in store.hosts(name)
            if not row.is_stale and row.host_id == (lease.leader_host_id or row.host_id)
        )


def migrate_client(app: App, client: str, to_cluster: str, report: Report, *, cancel: bool = False) -> MoveReport:
    """Move a client's record to another cluster's machine; its sync is then what it was before, on or off.

    Its jobs are drained first. The other cluster's nodes own the replica from then on; the former leader is refused,
    and the new one takes a term above any that has written to it. The container and the data do not move, and the
    report says so.

    Raises:
        NotFound: it is not registered, or nobody leads such a cluster.
        Blocked: it is in no cluster, or in that one already.
        Conflict: its record was moved meanwhile by somebody else.
        ClientManagerError: a job still runs after ten minutes. Record and sync are as they were, after this and after
            any other error.
        Cancelled: the operator ended it; the same, or says that the record has moved.
    """
    before = control.status(app, client)
    source = _source(before, to_cluster)
    target = _destination(app, source, to_cluster)
    arguments = {"from": source, "to": to_cluster, "host": target.hostname}
    with app.journal.action("sync migrate", client, arguments), _as_it_was_on_failure(app, before, target):
        disable_sync(app, client, report, cancel=cancel)
        report(Progress(step="Moving the record"))
        _move(app, before, source, target)
    notes = (DATA_STAYS, *_until_led(app, client, to_cluster, report))
    return MoveReport(client=client, source=source, target=target, enabled=before.sync_enabled, notes=notes)


@contextmanager
def _as_it_was_on_failure(app: App, before: Deployment, target: Destination) -> Iterator[None]:
    try:
        yield
    except (ClientManagerError, KeyboardInterrupt) as error:
        with interrupts.deferred():
            said = error if isinstance(error, ClientManagerError) else Cancelled()
            raise _told(app, before, target, enabled_again(app, before, said)) from error


def _told(app: App, before: Deployment, target: Destination, error: ClientManagerError) -> ClientManagerError:
    """Return the error, which says so where the record has moved all the same: interrupted, or the answer was lost."""
    client = before.client_name
    try:
        moved = control.status(app, client).cluster_name == target.cluster
    except ClientManagerError:
        return error
    if not moved:
        return error
    why = f"{error.what} {error.why}".strip()
    return type(error)(f"{client} has moved to {target.cluster} all the same.", why=why, hint=error.hint)


def enabled_again(app: App, before: Deployment, error: ClientManagerError) -> ClientManagerError:
    """Put a client's sync back to what it was, and return the error that came between, with what it led to."""
    try:
        _enable_again(app, before)
    except ClientManagerError as second:
        return type(error)(
            error.what,
            why=f"{error.why} Its sync is disabled now, and could not be enabled again: {second.what}".strip(),
            hint=error.hint or second.hint,
        )
    return error


def _move(app: App, before: Deployment, source: str, target: Destination) -> None:
    """Move the record and the rights to the replica, and switch the sync on again if it was: all of it or nothing."""
    client = before.client_name
    with interrupts.deferred(), app.database.connect() as connection:
        store = DeregistrationStore(connection)
        with store.changing(source):
            if not store.move_client(client, source, target.host_id):
                raise Conflict(f"{client} is not in {source} any more.", why="Another operator was quicker.")
            SyncRoles(connection).ensure_owner(client, target.cluster)
            _restore_sync(SyncStore(connection), before)


def _until_led(app: App, client: str, cluster: str, report: Report) -> tuple[str, ...]:
    """Wait until the leader has a term that may write to the replica; return what is to be said where it has not."""
    end = time.monotonic() + _TERM_S
    try:
        with app.sync_store() as store:
            while not _may_write(store, client, cluster):
                if time.monotonic() > end:
                    return (f"{_NO_TERM} client-manager cluster switch-over {cluster}",)
                report(Progress(step="Waiting for a new term of the new leader"))
                time.sleep(_PAUSE_S)
    except (Cancelled, KeyboardInterrupt) as error:
        kind = type(error) if isinstance(error, Cancelled) else Cancelled
        why = "Only the wait for its new leader was ended."
        raise kind(f"{client} has moved to {cluster}.", why=why, hint=f"{_SEE} {cluster}") from error
    except ClientManagerError as error:
        return (f"It is not known whether its new leader may write to the replica yet: {error.what} {_SEE} {cluster}",)
    return ()


def _may_write(store: SyncStore, client: str, cluster: str) -> bool:
    rows, lease = store.deployments(client=client), store.lease(cluster)
    return not rows or bool(lease and (rows[0].fence or 0) <= lease.term)


def _enable_again(app: App, before: Deployment) -> None:
    with app.sync_store() as store:
        _restore_sync(store, before)


def _restore_sync(store: SyncStore, before: Deployment) -> None:
    if not store.set_deployment(before.client_name, sync_enabled=before.sync_enabled, status=before.status):
        raise NotFound(f"{before.client_name} is not registered any more.")


def _source(row: Deployment, to_cluster: str) -> str:
    if row.cluster_name is None or row.cluster_name == to_cluster:
        raise Blocked(
            f"{row.client_name} cannot be moved to {to_cluster}.",
            why="It is in that cluster already." if row.cluster_name else "Its record has no host.",
            hint="" if row.cluster_name else f"Register it there: client-manager sync register {row.client_name}",
        )
    return row.cluster_name


def _destination(app: App, source: str, to_cluster: str) -> Destination:
    found = destinations(app, source)
    for each in found:
        if each.cluster == to_cluster:
            return each
    raise NotFound(
        f"There is no live cluster {to_cluster}.",
        why=f"Somebody leads: {', '.join(sorted({each.cluster for each in found})) or 'no other cluster'}.",
        hint="Start its nodes, or choose one that is led.",
    )
