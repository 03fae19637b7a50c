"""Replace a client's container: the one way in which a container comes to be, is changed, or is brought back.

The new container is made beside the old one, and the old one goes only when the new one has answered. Every step is
recorded before the next begins, so that whatever ends the operation - an error, Ctrl-C, a lost terminal, SIGKILL, a
power cut - it can be taken back or finished from what is on disk and in Docker. The containers are found by id and by
the operation's label, never by what should have happened.
"""

from collections.abc import Callable
from pathlib import Path

from client_manager.app import App
from client_manager.deployment.container_config import (
    as_asked,
    container_config,
    endpoints_beyond_first,
    labels,
    network_name,
    volume_name,
)
from client_manager.deployment.ending import copy_of, data_folder, finish_or_say, require_nothing_cut_off, take_back
from client_manager.deployment.health import Report, wait_healthy
from client_manager.deployment.images import pinned_image
from client_manager.deployment.networks import ensure_network
from client_manager.errors import ClientManagerError, Conflict
from client_manager.gateways import host, interrupts, lock, webui_database
from client_manager.models.client import ClientSpec
from client_manager.models.container import LABEL_CLIENT, NEXT, PREVIOUS, ContainerDetail
from client_manager.models.operation import Operation, Progress, Step

# Changes the application's data while no container runs; undone by putting the snapshot back.
PrepareData = Callable[[Path], None]


def replace(  # noqa: PLR0913  the operation that everything else is made of
    app: App,
    spec: ClientSpec,
    *,
    action: str,
    report: Report,
    expected: ClientSpec | None = None,
    prepare_data: PrepareData | None = None,
) -> ClientSpec:
    """Make the client what ``spec`` says, and return the spec as written, its image recorded by digest.

    Returns when the client is healthy; a client that was stopped is replaced too, and stays stopped.

    Args:
        app: the gateways.
        spec: what the client shall be.
        action: what is being done, in the operator's words.
        report: told of every step.
        expected: the spec that the change was planned on; None for a client that is not there yet.
        prepare_data: changes the application's data while nothing runs.

    Raises:
        Conflict: another operator is at work on the client, or an operation was cut off and must be ended first.
        Undone: it failed, and everything is as it was before.
        Cancelled: the operator ended it, and everything is as it was before.
    """
    app.require_local_engine()
    with lock.held(app.files.locks, spec.name, action):
        require_nothing_cut_off(app, spec.name)
        _require_unchanged(app, spec.name, expected)
        _require_data(app, spec, expected)
        image, detail = pinned_image(app, spec, report)
        spec = spec.with_changes(image_digest=detail.digest)
        old = _old_container(app, spec)
        operation = _operation(app, spec, old, action)
        try:
            app.files.write_operation(operation)
            app.files.keep_previous(spec.name)
            snapshot = _needs_snapshot(app, spec, old, prepare_data)
            _carry_out(_Work(app, operation, old, report), spec, image, snapshot=snapshot, prepare_data=prepare_data)
        except BaseException as error:
            with interrupts.deferred():
                take_back(app, spec.name, error)
            raise
        finish_or_say(app, spec.name, action)
    return spec


def _require_unchanged(app: App, client: str, expected: ClientSpec | None) -> None:
    if app.files.read(client) != expected:
        raise Conflict(
            f"{client} is not what it was when this was planned.",
            why="Another operator was quicker.",
            hint=f"Look again: client-manager client show {client}",
        )


def _require_data(app: App, spec: ClientSpec, expected: ClientSpec | None) -> None:
    """Refuse to start an existing client on a folder that is not there: it would come up empty and look well."""
    if expected and not spec.carried and not app.files.data(spec.name).exists():
        raise ClientManagerError(
            f"The data of {spec.name} is missing: {app.files.data(spec.name)}.",
            why="Its disk may not be mounted, or the folder was moved.",
            hint="Bring it back first. To begin anew without it, remove the client and create it again.",
        )


class _Work:
    """An operation under way, and the record of how far it is."""

    def __init__(self, app: App, operation: Operation, old: ContainerDetail | None, report: Report) -> None:
        self.app = app
        self.operation = operation
        self.old = old
        self._report = report

    def done(self, step: Step, *, then: str | None = None) -> None:
        self.operation = self.operation.model_copy(update={"step": step})
        self.app.files.write_operation(self.operation)
        if then:
            self._report(Progress(step=then))

    def report(self, progress: Progress) -> None:
        self._report(progress)


def _old_container(app: App, spec: ClientSpec) -> ContainerDetail | None:
    """Return the client's container, or None.

    Raises:
        Conflict: the name is held by a container that is not this client's.
    """
    old = app.engine.find(spec.container)
    adopted = spec.carried and old and old.id == spec.carried.container_id
    if old and not adopted and old.labels.get(LABEL_CLIENT) != spec.name:
        raise Conflict(
            f"The container {old.name} is not {spec.name}'s.",
            why="Something other than the console made it, and replacing it could lose what is in it.",
            hint=f"Rename it ('docker rename {old.name} {old.name}-other'), then repair {spec.name}.",
        )
    return old


def _operation(app: App, spec: ClientSpec, old: ContainerDetail | None, action: str) -> Operation:
    return Operation(
        action=action,
        client=spec.name,
        container=spec.container,
        operator=host.operator(),
        old_container_id=old.id if old else None,
        old_was_running=bool(old and old.running),
        start=old.running if old else True,
        had_spec=app.files.read(spec.name) is not None,
        had_data=app.files.data(spec.name).exists(),
        had_volume=app.engine.volume_device(volume_name(spec)) is not None,
        had_network=app.engine.has_network(network_name(spec)),
    )


def _carry_out(
    work: _Work, spec: ClientSpec, image: str, *, snapshot: Path | None, prepare_data: PrepareData | None
) -> None:
    app, operation, old = work.app, work.operation, work.old
    app.files.write(spec)
    work.done("spec written", then="Creating the container")
    with interrupts.deferred():  # the Engine makes what it was asked for even when its asker has gone, behind an undo
        _ensure_surroundings(app, spec)
        new = app.engine.create(f"{spec.container}{NEXT}", container_config(spec, image, operation.id))
        _attach(app, spec, new, old)
    work.done("container created", then="Stopping the old container" if old else "Preparing")
    if old and old.running:
        app.engine.stop(old.id, app.settings.stop_timeout_s)
    work.done("old stopped", then="Preparing the data" if snapshot else "Switching over")
    _prepare(work, snapshot, prepare_data)
    work.done("data prepared", then="Switching over")
    if old:
        app.engine.rename(old.id, f"{spec.container}{PREVIOUS}")
    app.engine.rename(new, spec.container)
    work.done("renamed", then="Starting" if operation.start else "Leaving it stopped, as it was")
    if operation.start:
        app.engine.start(new)
        work.done("started", then="Waiting for health")
        wait_healthy(app, new, spec, work.report)
    work.done("healthy")


def _ensure_surroundings(app: App, spec: ClientSpec) -> None:
    if spec.carried:
        return
    app.files.make_data(spec.name)
    app.engine.create_bound_volume(volume_name(spec), str(app.files.data(spec.name)), labels(spec))
    ensure_network(app, spec)


def _attach(app: App, spec: ClientSpec, new: str, old: ContainerDetail | None) -> None:
    """Attach the new container to every network that the spec names or that the old one had been attached to."""
    wanted = endpoints_beyond_first(spec)
    if old:
        wanted |= as_asked(old.endpoints, old.id)
    for network in app.engine.get(new).endpoints:
        wanted.pop(network, None)
    for network, endpoint in wanted.items():
        app.engine.connect(new, network, endpoint)


def _needs_snapshot(
    app: App, spec: ClientSpec, old: ContainerDetail | None, prepare_data: PrepareData | None
) -> Path | None:
    """Return the data folder whose database the new container may change in a way that the old one cannot undo."""
    image = app.engine.find_image(spec.image_digest or spec.image)
    another = old is None or (image is not None and image.id != old.image_id)
    if spec.database != "sqlite" or not (another or prepare_data):
        return None
    return data_folder(app, spec)


def _prepare(work: _Work, data: Path | None, prepare_data: PrepareData | None) -> None:
    if data is None:
        return
    if webui_database.copy_aside(data, copy_of(work.app, work.operation)):
        work.operation = work.operation.model_copy(update={"snapshot": str(data)})
        work.app.files.write_operation(work.operation)
        if prepare_data:
            prepare_data(data)
