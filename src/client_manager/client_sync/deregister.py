"""Take a client's replication back: its record in one transaction, its replica only where that is asked for.

Without its record a client is not replicated any more, and its nodes lose the right to write to its replica, which
stays with its state: registered again it goes on where it was. Its container and its own data are never touched.
"""

import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from client_manager.app import App
from client_manager.client_sync.control import Report, pause
from client_manager.errors import Blocked, ClientManagerError, Conflict, NotFound
from client_manager.gateways import lock
from client_manager.gateways.client_records import ClientRecords
from client_manager.gateways.sync_roles import SyncRoles
from client_manager.models.base import parse
from client_manager.models.client_deregistration import ClientTraces, Deregistered
from client_manager.models.client_sync import Paused
from client_manager.models.names import SchemaName
from client_manager.replication.replica import Replica

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHOWN: Final = 5


def plan_deregister(app: App, client: str, *, drop_data: bool = False) -> ClientTraces:
    """Return what there is of a client, and what would go; changes nothing.

    Raises:
        NotFound: it is not registered, and there is no data of it to drop either.
        Conflict: the schema of its name was not made by replication, and would be dropped.
        Blocked: others build on its replica, which would be dropped.
    """
    name: str = parse(SchemaName, client, what="client name")
    with app.database.connect() as connection, connection.transaction(force_rollback=True):
        records = ClientRecords(connection, name)
        records.begin()
        found = records.traces()
        _require_known(name, found, drop_data=drop_data)
        if drop_data:
            _require_droppable(name, found)
            Replica(app.database, name).refuse_outside_dependents(connection)
    return found


def deregister(  # noqa: PLR0913  whose, what goes, who is told, and how long is waited
    app: App,
    client: str,
    report: Report,
    *,
    drop_data: bool = False,
    cancel: bool = False,
    deadline_s: float = 600,
) -> Deregistered:
    """Deregister a client; what runs is waited for, or cancelled, and a failure leaves all as it was.

    Args:
        app: the gateways.
        client: its name; with ``drop_data`` also one that is registered no more and whose replica is still there.
        report: told what is waited for.
        drop_data: drop the replica too, with its state, what was kept of its values, its owner, and its baselines here.
        cancel: end what runs instead of waiting for it.
        deadline_s: until when what runs has to have ended.

    Raises:
        NotFound, Conflict, Blocked: as ``plan_deregister``; or somebody has enabled it, or begun a job, meanwhile.
        ClientManagerError: a job runs on after the deadline.
    """
    name: str = parse(SchemaName, client, what="client name")
    arguments = {"drop_data": str(drop_data).lower(), "cancel": str(cancel).lower()}
    with (
        lock.held(app.files.locks, name, "sync deregister"),
        app.journal.action("sync deregister", name, arguments),
    ):
        before = plan_deregister(app, name, drop_data=drop_data)
        with _enabled_again_on_failure(app, name, before):
            paused = None
            if before.deployment_id is not None:
                paused = pause(app, name, report, cancel=cancel, deadline_s=deadline_s)
            nodes = _carry_out(app, name, before, drop_data=drop_data)
        gone, left = _remove_baselines(app, name) if drop_data else ((), ())
        return _report(name, before, paused, nodes, drop_data=drop_data).model_copy(
            update={"baselines": gone, "baselines_left": left}
        )


def _report(
    name: str, before: ClientTraces, paused: Paused | None, nodes: tuple[str, ...], *, drop_data: bool
) -> Deregistered:
    return Deregistered(client=name, before=before, paused=paused, nodes=nodes, dropped_data=drop_data)


@contextmanager
def _enabled_again_on_failure(app: App, name: str, before: ClientTraces) -> "Iterator[None]":
    """Let a client whose deregistration fails be replicated as before."""
    try:
        yield
    except BaseException as error:
        if before.sync_enabled:
            try:
                with app.sync_store() as store:
                    store.set_deployment(name, sync_enabled=True, status=before.status)
            except ClientManagerError as second:
                error.add_note(f"{name} stays paused: {second.what} Resume it: client-manager sync start {name}")
        raise


def _carry_out(app: App, name: str, before: ClientTraces, *, drop_data: bool) -> tuple[str, ...]:
    """Decide again on what is locked now, and delete; all of it or nothing."""
    with app.database.connect() as connection, connection.transaction():
        records, roles = ClientRecords(connection, name), SyncRoles(connection)
        records.begin()
        registered, jobs = records.lock()
        running = [job for job in jobs if job.status == "running"]
        if running:
            raise Blocked(
                f"A job of {name} runs.",
                why=f"{running[0].node_name or 'Somebody'} has begun it meanwhile.",
                hint="Try again; it is waited for, or cancelled.",
            )
        if registered != (before.deployment_id is not None) or (registered and not records.delete()):
            raise Blocked(
                f"{name} is not as it was looked at.",
                why="Somebody has registered, deregistered or enabled it meanwhile.",
                hint="Look at it again: client-manager sync status.",
            )
        nodes = roles.release_owner(name)
        if drop_data:
            _require_droppable(name, records.traces())
            Replica(app.database, name).refuse_outside_dependents(connection)
            records.drop_data()
            _require_nothing_owned(records, name)
            roles.drop_owner(name)
        _require_gone(records, name, drop_data=drop_data)
    return nodes


def _require_known(name: str, found: ClientTraces, *, drop_data: bool) -> None:
    if found.deployment_id is None and not (drop_data and found.generation is not None):
        raise NotFound(
            f"{name} is not registered for replication.",
            why="Its replica is still there." if found.has_replica else "",
            hint="Drop that: say that the data goes, too." if found.has_replica else "client-manager sync status",
        )


def _require_droppable(name: str, found: ClientTraces) -> None:
    """Refuse to drop a schema that happens to have the client's name."""
    if found.has_schema and not found.generation:
        raise Conflict(
            f"The schema {name} was not made by replication.",
            why="There is no state of a replica to it, so that it is somebody else's.",
            hint="Deregister the client without its data, and drop the schema yourself if nobody needs it.",
        )


def _require_nothing_owned(records: ClientRecords, name: str) -> None:
    owned = records.owned()
    if owned:
        raise Blocked(
            f"The owner of the replica {name} owns more than that.",
            why=f"It would go too: {', '.join(owned[:_SHOWN])}.",
            hint="Give it to another role, or drop it, then try again.",
        )


def _require_gone(records: ClientRecords, name: str, *, drop_data: bool) -> None:
    """Count again before it is committed: what is said to be gone is gone."""
    left = records.left()
    if any(left if drop_data else left[:1]):
        raise ClientManagerError(
            f"{name} is not gone.", why=f"Left are {left}.", hint="Nothing was changed. Report this."
        )


def _remove_baselines(app: App, name: str) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Remove what this machine keeps of the replica; by now nothing in PostgreSQL names it any more."""
    gone: list[Path] = []
    left: list[str] = []
    for cluster in app.cluster_files.names():
        folder = app.cluster_files.folder(cluster).state / name
        if not folder.exists():
            continue
        try:
            shutil.rmtree(folder)
        except OSError as error:
            left.append(f"{folder}: {error.strerror or error}")
        else:
            gone.append(folder)
    return tuple(gone), tuple(left)
