"""Waiting until a started client is of use to its users."""

import time
from collections.abc import Callable
from typing import Final

from client_manager.app import App
from client_manager.deployment.container_config import inside_port
from client_manager.errors import ClientManagerError
from client_manager.gateways import open_webui
from client_manager.gateways.container_ends import ContainerEnds
from client_manager.models.client import ClientSpec
from client_manager.models.container import ContainerDetail
from client_manager.models.environment import MASK
from client_manager.models.operation import Progress

Report = Callable[[Progress], None]

_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 2.0
_SHORTEST_SECRET: Final = 4
_LAST_LINES: Final = 5


def wait_healthy(app: App, container: str, spec: ClientSpec | None, report: Report) -> None:
    """Return when ``/health/db`` answers with its JSON, for a first start after minutes.

    Raises:
        ClientManagerError: the container ended, keeps ending, or did not answer in ``health_timeout_s``; the reason
            holds its last log lines, secrets masked.
    """
    deadline = time.monotonic() + app.settings.health_timeout_s
    began, pause = time.monotonic(), _FIRST_PAUSE_S
    ends = ContainerEnds(app.engine.get(container))
    while True:
        found = app.engine.get(container)
        ended = ends.reason(found)
        if ended:
            raise _unhealthy(app, found, spec, ended)
        if answers(found):
            return
        if time.monotonic() > deadline:
            raise _unhealthy(app, found, spec, f"it did not answer within {app.settings.health_timeout_s:.0f} s")
        last = log_lines(app, container, spec, 1)
        report(Progress(step=f"Waiting for health, {time.monotonic() - began:.0f} s", detail=last[-1] if last else ""))
        time.sleep(pause)
        pause = _FIRST_PAUSE_S if ends.times(found) else min(pause * 1.5, _LONGEST_PAUSE_S)


def log_lines(app: App, container: str, spec: ClientSpec | None, count: int) -> list[str]:
    """Return the last lines of a client's log, its secrets masked."""
    return [without_secrets(line, spec) for line in app.engine.log_tail(container, count)]


def without_secrets(line: str, spec: ClientSpec | None) -> str:
    """Return a line with every secret value of the spec masked."""
    for value in spec.secrets.values() if spec else ():
        if len(value.get_secret_value()) >= _SHORTEST_SECRET:
            line = line.replace(value.get_secret_value(), MASK)
    return line


def answers(found: ContainerDetail) -> bool:
    """Say whether a container's application answers, and can use its database, now."""
    address = _address(found)
    return address is not None and open_webui.database_answers(address)


def _address(found: ContainerDetail) -> str | None:
    """Return where this machine reaches the application: its published port, else its own address."""
    inside = inside_port(found.env)
    if inside in found.published:
        host, port = found.published[inside]
        return f"{'127.0.0.1' if host in {'', '0.0.0.0', '::'} else host}:{port}"  # noqa: S104  compared, not bound
    if found.host_config.get("NetworkMode") == "host":
        return f"127.0.0.1:{inside}"
    own = next(iter(found.addresses.values()), None)
    return f"{own}:{inside}" if own else None


def _unhealthy(app: App, found: ContainerDetail, spec: ClientSpec | None, reason: str) -> ClientManagerError:
    lines = log_lines(app, found.id, spec, _LAST_LINES)
    said = "\n".join(["Its last words:", *(f"  {line}" for line in lines)]) if lines else "It logged nothing."
    return ClientManagerError(
        f"The container does not turn healthy: {reason}.",
        why=said,
        hint="A slow disk may need a longer health_timeout_s in the settings.",
    )
