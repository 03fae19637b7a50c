"""Start, stop and restart clients, and read their logs."""

from collections.abc import Iterator
from contextlib import contextmanager

from client_manager.app import App
from client_manager.deployment.clients import container_of
from client_manager.deployment.ending import require_nothing_cut_off
from client_manager.deployment.health import Report, log_lines, wait_healthy, without_secrets
from client_manager.errors import ClientManagerError, NotFound
from client_manager.gateways import lock
from client_manager.models.container import ContainerDetail
from client_manager.models.operation import Progress


def start(app: App, name: str, report: Report) -> None:
    """Start a client and return when it is healthy; one that runs is only waited for.

    Raises:
        NotFound: there is no such client, or its container is missing.
        ClientManagerError: it does not turn healthy; it is left as it is, to be looked at.
    """
    with _at_work(app, name, "start") as container:
        report(Progress(step="Starting"))
        app.engine.start(container.id)
        wait_healthy(app, container.id, app.files.read(name), report)


def stop(app: App, name: str, report: Report) -> None:
    """Stop a client and return when it has stopped.

    Raises:
        NotFound: there is no such client, or its container is missing.
    """
    with _at_work(app, name, "stop") as container:
        _stop(app, container, report)


def restart(app: App, name: str, report: Report) -> None:
    """Stop a client, start it, and return when it is healthy.

    Raises:
        NotFound: there is no such client, or its container is missing.
        ClientManagerError: it does not turn healthy; it is left as it is, to be looked at.
    """
    with _at_work(app, name, "restart") as container:
        _stop(app, container, report)
        report(Progress(step="Starting"))
        app.engine.start(container.id)
        wait_healthy(app, container.id, app.files.read(name), report)


def last_log(app: App, name: str, lines: int) -> list[str]:
    """Return the last lines of a client's log, its secrets masked."""
    return log_lines(app, _container(app, name).id, app.files.read(name), lines)


def follow_log(app: App, name: str, lines: int) -> Iterator[str]:
    """Yield a client's log as it grows, its secrets masked, until the container stops."""
    spec = app.files.read(name)
    for line in app.engine.follow_log(_container(app, name).id, lines):
        yield without_secrets(line, spec)


@contextmanager
def _at_work(app: App, name: str, action: str) -> Iterator[ContainerDetail]:
    app.require_local_engine()
    container_of(app, name)
    with lock.held(app.files.locks, name, action), app.journal.action(f"client {action}", name, {}):
        require_nothing_cut_off(app, name)
        # Under the lock: a replacement that ended just before has put another container in its place.
        yield _container(app, name)


def _stop(app: App, container: ContainerDetail, report: Report) -> None:
    report(Progress(step="Stopping"))
    app.engine.stop(container.id, app.settings.stop_timeout_s)
    if app.engine.get(container.id).running:
        raise ClientManagerError(f"{container.name} still runs after it was stopped.", hint="Look at its log.")


def _container(app: App, name: str) -> ContainerDetail:
    container = container_of(app, name)
    found = app.engine.find(container)
    if found is None:
        raise NotFound(
            f"The container {container} of {name} is missing.",
            hint=f"Bring it back: client-manager client repair {name}",
        )
    return found
