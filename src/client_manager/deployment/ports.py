"""Host ports: whose each is, and which is free."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from client_manager.app import App
from client_manager.errors import Conflict, InvalidInput
from client_manager.gateways import host, lock
from client_manager.models.container import ContainerDetail


def ports_in_use(app: App, *, without: str | None = None) -> dict[int, str]:
    """Return port -> who has it, by specs and by containers, stopped ones too (their ports come back with them).

    Args:
        app: the gateways.
        without: a client whose own port does not count.
    """
    specs = {spec.name: spec for spec in app.files.specs()}
    own = specs[without].container if without in specs else None
    known = {spec.container for spec in specs.values()}
    taken: dict[int, str] = {}
    for row in app.engine.containers():
        if row.name != own:
            # Of one that does not run the list says no port, and of a client its spec does.
            asked = None if row.running or row.name in known else app.engine.find(row.id)
            bound = _asked_for(asked) if asked else row.published
            taken |= dict.fromkeys(bound, f"container {row.name} ({row.state})")
    taken |= {spec.port: f"client {name}" for name, spec in specs.items() if spec.port and name != without}
    return taken


def _asked_for(container: ContainerDetail) -> tuple[int, ...]:
    """Return every host port that a container takes when it starts; a range names none yet."""
    bindings: Any = container.host_config.get("PortBindings") or {}
    asked = (host.get("HostPort", "") for hosts in bindings.values() for host in hosts or ())
    return tuple(int(port) for port in asked if port.isdecimal())


def choose(app: App, *, without: str | None = None) -> int:
    """Return the first port of the settings' range that neither Docker, nor a spec, nor the kernel has.

    Raises:
        Conflict: none is free.
    """
    taken = ports_in_use(app, without=without)
    first, last = app.settings.first_port, app.settings.last_port
    for port in range(first, last + 1):
        if port not in taken and host.port_is_free(port):
            return port
    raise Conflict(
        f"No port from {first} to {last} is free.",
        why="Clients, stopped containers and other programs have them all.",
        hint="Widen first_port and last_port in the settings, or name one with --port.",
    )


def check(app: App, port: int, *, without: str | None = None) -> None:
    """Return if a port that the operator named is free.

    Raises:
        Conflict: it is not; says who has it.
        InvalidInput: the client already has it.
    """
    own = app.files.read(without) if without else None
    if own and own.port == port:
        raise InvalidInput(f"{without} is on port {port} already.")
    holder = ports_in_use(app, without=without).get(port)
    if holder is None and not host.port_is_free(port):
        holder = f"a program of this machine ('ss -ltnp sport = :{port}' shows it)"
    if holder:
        raise Conflict(
            f"Port {port} is taken.", why=f"It belongs to {holder}.", hint="Leave --port out and a free one is picked."
        )


@contextmanager
def reserved(app: App, port: int | None, client: str) -> Iterator[None]:
    """Keep a port from other operators until the client's spec claims it.

    Raises:
        Conflict: it was taken since it was chosen, or another operator is about to use it.
    """
    if port is None:
        yield
        return
    with lock.held(app.files.locks, f"port-{port}", f"giving port {port} to {client}"):
        own = app.files.read(client)
        if own is None or own.port != port:
            check(app, port, without=client)
        yield
