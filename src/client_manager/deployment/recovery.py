"""Operations that were cut off: show them, finish them, take them back."""

from client_manager.app import App
from client_manager.deployment import ending, remove
from client_manager.deployment.change import apply_change, repair
from client_manager.deployment.create import create
from client_manager.deployment.health import Report
from client_manager.errors import Conflict, NotFound
from client_manager.gateways import lock
from client_manager.models.client import ClientSpec
from client_manager.models.operation import Operation


def cut_off(app: App) -> tuple[Operation, ...]:
    """Return the operations that were begun, not ended, and that nobody is at work on."""
    return tuple(
        operation for operation in app.files.operations() if not lock.is_held(app.files.locks, operation.client)
    )


def find(app: App, client: str) -> Operation:
    """Return the operation on a client that was begun and not ended.

    Raises:
        NotFound: there is none.
    """
    app.require_local_engine()
    operation = app.files.operation(client)
    if operation is None:
        raise NotFound(f"No operation on {client} was cut off.", hint="'client-manager doctor' lists those that were.")
    return operation


def resume(app: App, client: str, report: Report) -> None:
    """Finish what was cut off, and return when the client is what it was to become.

    Raises:
        NotFound: nothing was cut off.
        Conflict: it had only begun and wrote down no aim, so that it can only be undone; or it is under way.
        Undone: it failed this time too.
    """
    operation = find(app, client)
    with (
        lock.held(app.files.locks, client, f"resume {operation.action}"),
        app.journal.action("client resume", client, {"action": operation.action}),
    ):
        if operation.kind == "remove":
            remove.carry_out(app, client, report)
            return
        if operation.committed:
            ending.finish(app, client)
            return
        aim = _aim(app, operation)
        ending.put_back(app, operation)
    _again(app, app.files.read(client), aim, report)


def undo(app: App, client: str) -> None:
    """Take back what was cut off.

    Raises:
        NotFound: nothing was cut off, or the old container is gone.
        Conflict: it went too far to be taken back, or it is under way.
    """
    operation = find(app, client)
    with (
        lock.held(app.files.locks, client, f"undo {operation.action}"),
        app.journal.action("client undo", client, {"action": operation.action}),
    ):
        if operation.kind == "remove":
            _undo_removal(app, operation)
        else:
            ending.undo(app, client)


def _aim(app: App, operation: Operation) -> ClientSpec:
    aim = app.files.read(operation.client) if operation.step != "begun" else None
    if aim is None:
        raise Conflict(
            f"{operation.action} of {operation.client} had only begun.",
            why="What it was to become was not written down yet.",
            hint=f"Nothing was changed. Clear it: client-manager client undo {operation.client}",
        )
    return aim


def _again(app: App, now: ClientSpec | None, aim: ClientSpec, report: Report) -> None:
    if now is None:
        create(app, aim, report)
    elif now == aim:
        repair(app, aim, report)
    else:
        apply_change(app, now, aim, report)


def _undo_removal(app: App, operation: Operation) -> None:
    container = app.engine.find(operation.container)
    if container is None:
        raise Conflict(
            f"The container of {operation.client} is removed already.",
            hint=f"Finish it: client-manager client resume {operation.client}. 'client create' takes up kept data.",
        )
    if operation.old_was_running:
        app.engine.start(container.id)
    app.files.end_operation(operation.client)
