"""How a replacement ends: finished, or taken back from whatever point it reached; both safe to repeat."""

from pathlib import Path

from client_manager.app import App
from client_manager.deployment.container_config import adopted_data, network_name, volume_name
from client_manager.errors import Cancelled, ClientManagerError, Conflict, NotFound, Undone
from client_manager.gateways import interrupts, webui_database
from client_manager.models.client import ClientSpec
from client_manager.models.container import LABEL_OPERATION
from client_manager.models.operation import Operation


def data_folder(app: App, spec: ClientSpec) -> Path | None:
    """Return where a client's data lies on this machine, or None where it has none yet."""
    source = adopted_data(spec)
    if source is None:
        folder = app.files.data(spec.name)
        return folder if folder.exists() else None
    device = source if source.startswith("/") else app.engine.volume_device(source)
    return Path(device) if device else None


def require_nothing_cut_off(app: App, client: str) -> None:
    """Return if no operation on the client was cut off.

    Raises:
        Conflict: one was.
    """
    operation = app.files.operation(client)
    if operation:
        raise Conflict(
            f"An operation on {client} was cut off: {operation.action}, begun by {operation.operator}.",
            why=f"Its last completed step was: {operation.step}.",
            hint=f"End it first: client-manager client resume {client}, or client-manager client undo {client}.",
        )


def undo(app: App, client: str) -> None:
    """Take a replacement back, from whatever point it reached; safe to repeat.

    Raises:
        Conflict: it has succeeded already.
        ClientManagerError: something could not be put back; the record stays, so that it can be tried again.
        NotFound: all is put back but the old container, which somebody else removed.
    """
    operation = app.files.operation(client)
    if operation is None:
        return
    if operation.committed:
        raise Conflict(
            f"{operation.action} of {client} has succeeded already.", hint=f"client-manager client resume {client}"
        )
    if not put_back(app, operation):
        raise NotFound(
            f"The old container of {client} is gone; its spec is back.",
            hint=f"Make the container anew: client-manager client repair {client}",
        )


def put_back(app: App, operation: Operation) -> bool:
    """Put everything back as it was before an operation; return False where the old container is gone."""
    with interrupts.deferred():
        for made in app.engine.with_label(LABEL_OPERATION, operation.id):
            app.engine.remove(made)
        _put_data_back(app, operation)
        old_is_back = _put_old_back(app, operation)
        _put_spec_back(app, operation)
        app.files.end_operation(operation.client)
    return old_is_back


def finish(app: App, client: str) -> None:
    """Clear away what a replacement that succeeded leaves behind; safe to repeat."""
    operation = app.files.operation(client)
    if operation is None:
        return
    with interrupts.deferred():
        if operation.old_container_id:
            app.engine.remove(operation.old_container_id)
        webui_database.drop_copy(copy_of(app, operation))
        app.files.drop_previous(client)
        app.files.drop_removed(client)
        app.files.end_operation(client)


def finish_or_say(app: App, client: str, action: str) -> None:
    """Clear away after success; what keeps that from happening does not make the success undone.

    Raises:
        Cancelled: the operator interrupted, too late.
        ClientManagerError: something is left over.
    """
    try:
        finish(app, client)
    except (Cancelled, KeyboardInterrupt) as error:
        raise _too_late(client, action) from error
    except ClientManagerError as error:
        raise ClientManagerError(
            f"{action} of {client} succeeded, but its leftovers could not be cleared away.",
            why=f"{error.what} {error.why}".strip(),
            hint=f"Then: client-manager client resume {client}",
        ) from error


def _too_late(client: str, action: str) -> Cancelled:
    return Cancelled(f"The interruption came too late: {action} of {client} has succeeded.")


def take_back(app: App, client: str, error: BaseException) -> None:
    """Undo after a failure, and say so by the error that is raised from here.

    Raises:
        Undone: everything is as it was before.
        Cancelled: the same, because the operator wanted it.
        ClientManagerError: something could not be put back; or the failure came after the success.
    """
    operation = app.files.operation(client)
    if operation is None:
        return
    if operation.committed:
        finish_or_say(app, client, operation.action)
        raise _after_success(client, operation.action, error) from error
    try:
        undo(app, client)
    except ClientManagerError as second:
        raise ClientManagerError(
            f"{operation.action} of {client} failed, and could not be taken back completely.",
            why=f"{_said(error)} Then: {second.what} {second.why}".strip(),
            hint=f"Remove the second cause, then: client-manager client undo {client}"
            if app.files.operation(client)
            else second.hint,
        ) from error
    if isinstance(error, Cancelled | KeyboardInterrupt):
        kind = type(error) if isinstance(error, Cancelled) else Cancelled
        raise kind(f"{client} is as it was before.") from error
    if isinstance(error, ClientManagerError):
        raise Undone(
            f"{operation.action} of {client} failed; everything is as it was before.", why=_said(error), hint=error.hint
        ) from error


def _after_success(client: str, action: str, error: BaseException) -> ClientManagerError:
    if isinstance(error, Cancelled | KeyboardInterrupt):
        return _too_late(client, action)
    return ClientManagerError(f"{action} of {client} succeeded; then something failed.", why=_said(error))


def _said(error: BaseException) -> str:
    if isinstance(error, ClientManagerError):
        return f"{error.what} {error.why}".strip()
    return "Cancelled." if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}."


def _put_data_back(app: App, operation: Operation) -> None:
    if operation.snapshot:
        webui_database.put_back(Path(operation.snapshot), copy_of(app, operation))
    webui_database.drop_copy(copy_of(app, operation))


def _put_old_back(app: App, operation: Operation) -> bool:
    if operation.old_container_id is None:
        return True
    old = app.engine.find(operation.old_container_id)
    if old is None:
        return False
    if old.name != operation.container:
        app.engine.rename(old.id, operation.container)
    if operation.old_was_running:
        if operation.step == "container created":
            # The Engine goes on with a stop that was broken off; it would end what is started meanwhile.
            app.engine.stop(old.id, app.settings.stop_timeout_s)
        app.engine.start(old.id)
    return True


def _put_spec_back(app: App, operation: Operation) -> None:
    spec = app.files.read(operation.client)
    if operation.had_spec:
        app.files.restore_previous(operation.client)
        return
    if spec and not spec.carried:
        if not operation.had_network:
            app.engine.remove_network(network_name(spec))
        if not operation.had_volume:
            app.engine.remove_volume(volume_name(spec))
        if not operation.had_data:
            app.files.delete_data(app.files.data(operation.client))
    app.files.discard_spec(operation.client)


def copy_of(app: App, operation: Operation) -> Path:
    """Return where an operation copies the database aside."""
    return app.files.folder(operation.client) / f"webui.db.{operation.id}"
