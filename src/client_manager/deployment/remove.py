"""Remove a client; its data stays unless it is asked to go."""

from pathlib import Path
from typing import Final

from client_manager import guard
from client_manager.app import App
from client_manager.deployment.clients import get_spec, own_network
from client_manager.deployment.container_config import adopted_data, volume_name
from client_manager.deployment.ending import data_folder, require_nothing_cut_off
from client_manager.deployment.health import Report
from client_manager.errors import Blocked, Cancelled, ClientManagerError
from client_manager.gateways import embedded_postgres, host, interrupts, lock
from client_manager.gateways.sync_store import SyncStore
from client_manager.guard import RemovalDecision, RemovalSnapshot
from client_manager.models.client import ClientSpec
from client_manager.models.container import ContainerDetail
from client_manager.models.operation import Operation, Progress

_ANSWER_S: Final = 3


def plan_removal(app: App, name: str, *, delete_data: bool) -> RemovalDecision:
    """Return whether a client may be removed, what goes and what stays; changes nothing.

    Raises:
        NotFound: there is no such client.
    """
    registered, problem = _registered(app, name)
    seen = _look(app, name, delete_data=delete_data)
    return guard.decide_removal(seen.model_copy(update={"registered": registered, "sync_problem": problem}))


def _look(app: App, name: str, *, delete_data: bool) -> RemovalSnapshot:
    app.require_local_engine()
    spec = get_spec(app, name)
    container = app.engine.find(spec.container)
    data = data_folder(app, spec)
    operation = app.files.operation(name)
    return RemovalSnapshot(
        client=name,
        data=data,
        data_root=app.settings.data_root,
        data_is_volume=_own_volume(spec) is not None,
        other_users=_other_users(app, spec, container, data) if delete_data else (),
        operation=operation.action if operation else None,
        delete_data=delete_data,
    )


def _registered(app: App, name: str) -> tuple[bool | None, str]:
    """Return whether a client is registered for sync, or None and why that is not known.

    The embedded database is not started for this; one that was never made has no records.
    """
    if app.settings.database_url is None:
        if not embedded_postgres.exists(app.settings.postgres_dir):
            return False, ""
        if not embedded_postgres.is_running(app.settings.postgres_dir):
            return None, "The embedded PostgreSQL does not run."
    try:
        with app.database.hurried(_ANSWER_S).connect() as connection:
            return bool(SyncStore(connection).deployments(client=name)), ""
    except Cancelled:
        raise
    except ClientManagerError as error:
        return None, error.what


def remove(app: App, name: str, *, delete_data: bool, report: Report) -> RemovalDecision:
    """Remove a client's container, its network and, if asked, its data; decides again first.

    Without ``delete_data`` the spec is set aside with the data: ``client create`` takes both up again.

    Raises:
        Blocked: it may not go.
        Conflict: another operator is at work on it.
    """
    arguments = {"delete_data": str(delete_data).lower()}
    with lock.held(app.files.locks, name, "remove"), app.journal.action("client remove", name, arguments):
        decision = guard.decide_removal(_look(app, name, delete_data=delete_data))
        if decision.blockers:
            raise Blocked(f"{name} may not be removed.", why=" ".join(decision.blockers))
        require_nothing_cut_off(app, name)
        spec = get_spec(app, name)
        app.files.write_operation(_operation(app, spec, delete_data=delete_data))
        carry_out(app, name, report)
    return decision


def carry_out(app: App, name: str, report: Report) -> None:
    """Do what a recorded removal says, from whatever point it reached; safe to repeat."""
    operation = app.files.operation(name)
    if operation is None:
        return
    spec = app.files.read(name)
    if spec:
        container = app.engine.find(spec.container)
        _remove_container(app, spec, container, report)
        with interrupts.deferred():
            _remove_data(app, spec, operation)
    app.files.end_operation(name)


def _operation(app: App, spec: ClientSpec, *, delete_data: bool) -> Operation:
    container = app.engine.find(spec.container)
    data = None if _own_volume(spec) else data_folder(app, spec)
    return Operation(
        kind="remove",
        action="remove with its data" if delete_data else "remove",
        client=spec.name,
        container=spec.container,
        operator=host.operator(),
        old_container_id=container.id if container else None,
        old_was_running=bool(container and container.running),
        had_spec=True,
        had_data=True,
        had_volume=True,
        had_network=True,
        delete_data=delete_data,
        data=str(data) if data else None,
    )


def _remove_container(app: App, spec: ClientSpec, container: ContainerDetail | None, report: Report) -> None:
    if container:
        report(Progress(step="Stopping"))
        app.engine.stop(container.id, app.settings.stop_timeout_s)
        report(Progress(step="Removing the container"))
        app.engine.remove(container.id)
    network = own_network(spec)
    if network:
        app.engine.remove_network(network)
        # A bound volume is only a name for the data folder, which stays.
        app.engine.remove_volume(volume_name(spec))


def _remove_data(app: App, spec: ClientSpec, operation: Operation) -> None:
    if not operation.delete_data:
        app.files.retire(spec.name)
        return
    volume = _own_volume(spec)
    if volume:
        app.engine.remove_volume(volume)
    if operation.data:
        app.files.delete_data(Path(operation.data))
    app.files.drop(spec.name)


def _own_volume(spec: ClientSpec) -> str | None:
    """Return the Docker volume that holds an adopted client's data, or None where it lies in a folder."""
    source = adopted_data(spec)
    return None if source is None or source.startswith("/") else source


def _other_users(app: App, spec: ClientSpec, container: ContainerDetail | None, data: Path | None) -> tuple[str, ...]:
    """Return the other containers that mount the data, or a folder inside it."""
    own = container.id if container else None
    sources = {str(data), _own_volume(spec), volume_name(spec)}
    others = (row for row in app.engine.containers() if row.id != own)
    return tuple(
        sorted(row.name for row in others if any(_shares(path, sources, data) for path in row.mounts.values()))
    )


def _shares(source: str, names: set[str | None], data: Path | None) -> bool:
    if source in names:
        return True
    return bool(data and source.startswith("/") and Path(source).is_relative_to(data))
