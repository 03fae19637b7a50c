"""Decommission a client: stop it, back up its data and spec to a chosen folder, remove its record and its container.

Until its record is removed, everything is taken back on a failure; a backup that is complete stays. The data in the
data root stays too: 'client remove --delete-data' is another decision.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from client_manager.app import App
from client_manager.deployment import remove as removal
from client_manager.deployment.clients import get_spec
from client_manager.deployment.ending import data_folder, require_nothing_cut_off
from client_manager.errors import Blocked, Cancelled, ClientManagerError, Conflict
from client_manager.gateways import backup, interrupts, lock
from client_manager.gateways.deregistration_store import DeregistrationStore
from client_manager.models.client import ClientSpec
from client_manager.models.operation import Progress
from client_manager.models.sync import Deployment
from client_manager.workflows.unblock_cluster import disable_sync, enabled_again

Report = Callable[[Progress], None]
SPEC: str = "client.json"
RECORD: str = "record.json"


class Decommissioned(NamedTuple):
    """What became of a client.

    Attributes:
        backup: the folder with its data, its spec with the secret key, its record, and a manifest of hashes.
        size_bytes: of the backup.
        data: where its data still is, too.
        was_registered: whether a record was removed.
        notes: what an operator should know besides.
    """

    backup: Path
    size_bytes: int
    data: Path
    was_registered: bool
    notes: tuple[str, ...]


def decommission(app: App, name: str, folder: Path, report: Report, *, cancel: bool = False) -> Decommissioned:
    """Decommission a client of this machine.

    Args:
        app: the gateways.
        name: of the client.
        folder: gets a folder of its own in it, ``<client>-<time>``, only the owner's to read.
        report: told of the steps.
        cancel: break off a running job of its sync instead of waiting for it.

    Raises:
        NotFound: this machine has no such client.
        Blocked: its container may not be removed, or its data cannot be found to be backed up.
        Conflict: another operator is at work on it, or an operation was cut off.
        ClientManagerError: it could not be stopped or backed up, or its record not removed, and it runs again as
            before; or its container could not be removed, which is said.
    """
    app.require_local_engine()
    spec = get_spec(app, name)
    data = _removable_data(app, spec)
    target = folder / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
    arguments = {"backup": str(target), "cancel": str(cancel).lower()}
    with app.journal.action("client decommission", name, arguments):
        with lock.held(app.files.locks, name, "decommission"):
            require_nothing_cut_off(app, name)
            record = _record(app, name)
            with _at_rest(app, spec, record, report, cancel=cancel):
                report(Progress(step="Backing up"))
                size = backup.back_up(
                    data,
                    target,
                    _documents(spec, record),
                    lambda file: report(Progress(step="Backing up", detail=file)),
                )
                report(Progress(step="Removing the record"))
                registered = _remove_record(app, name, target)
        _remove_container(app, name, target, report)
    elsewhere = (
        () if spec.database == "sqlite" else (f"Its database is {spec.database} and stays there, not backed up.",)
    )
    return Decommissioned(target, size, data, registered, elsewhere)


def _removable_data(app: App, spec: ClientSpec) -> Path:
    decision = removal.plan_removal(app, spec.name, delete_data=False)
    if decision.blockers:
        raise Blocked(f"{spec.name} may not be decommissioned.", why=" ".join(decision.blockers))
    data = data_folder(app, spec)
    if data is None or not data.exists():
        raise Blocked(
            f"{spec.name} cannot be decommissioned: its data cannot be found.",
            why=f"{data or app.files.data(spec.name)} does not exist.",
            hint=f"Without data there is nothing to keep: client-manager client remove {spec.name}",
        )
    return data


@contextmanager
def _at_rest(app: App, spec: ClientSpec, record: Deployment | None, report: Report, *, cancel: bool) -> Iterator[None]:
    """Hold the client stopped and its sync off; a failure brings both back as they were."""
    container = app.engine.find(spec.container)
    was_running = bool(container and container.running)
    try:
        if record:
            report(Progress(step="Disabling its sync"))
            if disable_sync(app, spec.name, report, cancel=cancel).left:
                raise Blocked(
                    f"{spec.name} cannot be decommissioned: a job of it runs, by the records.",
                    why="Its cluster has not been heard of, so nobody ends that job.",
                    hint="Start the cluster's nodes, then repeat this.",
                )
        if container:
            report(Progress(step="Stopping"))
            _stop(app, container.id)
        yield
    except (ClientManagerError, KeyboardInterrupt) as error:
        with interrupts.deferred():
            raise _taken_back(app, container.id if container and was_running else None, record, error) from error


def _stop(app: App, container: str) -> None:
    app.engine.stop(container, app.settings.stop_timeout_s)
    now = app.engine.get(container)
    if now.running:
        raise ClientManagerError(f"{now.name} still runs after it was stopped.", hint="Look at its log.")


def _taken_back(app: App, container: str | None, record: Deployment | None, error: BaseException) -> ClientManagerError:
    """Start the client again, enable its sync again, and return the error that says what came of it."""
    said = error if isinstance(error, ClientManagerError) else Cancelled()
    if record:
        said = enabled_again(app, record, said)
    try:
        if container:
            app.engine.start(container)
    except ClientManagerError as second:
        return type(said)(
            said.what, why=f"{said.why} The client could not be started again: {second.what}".strip(), hint=second.hint
        )
    return said


def _record(app: App, name: str) -> Deployment | None:
    """Return the client's record; where no database is configured the embedded one has none."""
    with app.sync_store() as store:
        found = store.deployments(client=name)
    return found[0] if found else None


def _documents(spec: ClientSpec, record: Deployment | None) -> dict[str, str]:
    documents = {SPEC: spec.to_json()}
    if record:
        documents[RECORD] = record.model_dump_json(indent=2) + "\n"
    return documents


def _remove_record(app: App, name: str, target: Path) -> bool:
    """Remove the record, if there is one; say whether there was.

    Raises:
        Conflict: its sync was enabled again meanwhile, or a job was queued.
        ClientManagerError: the database does not answer.
    """
    backed_up = f"Its backup is complete: {target}."
    try:
        with app.database.connect() as connection:
            store = DeregistrationStore(connection)
            with store.changing(name):
                removed = store.delete_client(name)
        if removed or not _record(app, name):
            return removed
    except ClientManagerError as error:
        raise type(error)(
            f"The record of {name} was not removed: {error.what}", why=error.why, hint=backed_up
        ) from error
    raise Conflict(
        f"The record of {name} was not removed.",
        why="Its sync was enabled again, or a job was queued, while it was backed up.",
        hint=f"{backed_up} Look at it (client-manager sync status {name}), and repeat this.",
    )


def _remove_container(app: App, name: str, target: Path, report: Report) -> None:
    try:
        removal.remove(app, name, delete_data=False, report=report)
    except ClientManagerError as error:
        raise type(error)(
            f"{name} is backed up and its record is removed, but not its container: {error.what}",
            why=error.why,
            hint=f"Its backup is {target}. Then: client-manager client remove {name}",
        ) from error
