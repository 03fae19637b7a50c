"""Look at everything a client depends on, and say for each fault its cause and its fix."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

from client_manager.app import App
from client_manager.deployment.clients import list_clients
from client_manager.deployment.recovery import cut_off
from client_manager.errors import ClientManagerError, value_or_error
from client_manager.gateways import client_files, host
from client_manager.models.client import ClientSummary
from client_manager.models.finding import Finding
from client_manager.settings import ignored_docker_context

# An upgrade keeps the old image, the new one (about 4 GB each) and a copy of the database side by side.
_LOW_DISK_BYTES: Final = 10 * 1024**3
_FULL_DISK_BYTES: Final = 1 * 1024**3
_GROUP_AND_OTHERS: Final = 0o077

Check = Callable[[App], Iterator[Finding]]
ClientCheck = Callable[[Sequence[ClientSummary]], Iterator[Finding]]


def examine(app: App, clients: Sequence[ClientSummary] | ClientManagerError | None = None) -> tuple[Finding, ...]:
    """Run every check; one that cannot be made is a problem of its own, never silence.

    Args:
        app: the console; one for a look is waited for once, not by each check.
        clients: the clients, or why they cannot be listed, where that was asked for already.
    """
    listed = value_or_error(lambda: list_clients(app)) if clients is None else clients
    findings: list[Finding] = []
    for name, check in (*_CHECKS, *((name, _of_clients(check, listed)) for name, check in _CLIENT_CHECKS)):
        found = value_or_error(partial(_run, check, app))
        if isinstance(found, ClientManagerError):
            found = [Finding.of(name, found)]
        findings += found or [Finding(check=name, verdict="ok", what="in order")]
    return tuple(findings)


def _run(check: Check, app: App) -> list[Finding]:
    with client_files.disk_errors(app.settings.data_root):
        return list(check(app))


def _of_clients(check: ClientCheck, listed: Sequence[ClientSummary] | ClientManagerError) -> Check:
    def run(_: App) -> Iterator[Finding]:
        if isinstance(listed, ClientManagerError):
            raise listed
        return check(listed)

    return run


def _docker(app: App) -> Iterator[Finding]:
    version = app.engine.version()
    context = ignored_docker_context(app.settings)
    if context:
        what = f"The Docker context {context} is current, and is not used; the console talks to {app.engine.endpoint}."
        yield Finding(
            check="Docker", verdict="warning", what=what, fix="To use it, set docker_context in the settings."
        )
    app.require_local_engine()
    yield Finding(check="Docker", verdict="ok", what=f"Engine {version} at {app.engine.endpoint}")


def _data_root(app: App) -> Iterator[Finding]:
    root = app.settings.data_root
    existing = next(path for path in (root, *root.parents) if path.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        yield _problem(
            "data root", f"{existing} cannot be written.", "Run as root, or set data_root to a folder of yours."
        )
    elif root.exists():
        yield Finding(check="data root", verdict="ok", what=f"{root}, clients: {len(app.files.names())}")
    else:
        yield Finding(check="data root", verdict="ok", what=f"{root} will be made with the first client")


def _specs(app: App) -> Iterator[Finding]:
    for error in app.files.readable_specs()[1].values():
        yield Finding.of("specs", error)


def _permissions(app: App) -> Iterator[Finding]:
    for name in app.files.names():
        path = app.files.folder(name) / client_files.SPEC
        mode = path.stat().st_mode & 0o777
        if mode & _GROUP_AND_OTHERS:
            yield _problem(
                "permissions", f"{path} holds secrets and others may read it ({mode:o}).", f"chmod 600 {path}"
            )


def _disk(app: App) -> Iterator[Finding]:
    free = host.free_bytes(app.settings.data_root)
    what = f"{free / 1024**3:.1f} GiB free under {app.settings.data_root}"
    fix = "Free space: 'docker system df' and 'du -sh' show what uses it."
    if free < _FULL_DISK_BYTES:
        yield _problem("disk", what, fix)
    elif free < _LOW_DISK_BYTES:
        yield Finding(check="disk", verdict="warning", what=f"{what}: too little for an upgrade", fix=fix)
    else:
        yield Finding(check="disk", verdict="ok", what=what)


def _ports(clients: Sequence[ClientSummary]) -> Iterator[Finding]:
    """Judge the ports of the clients that the console could give another; a shared one is said once."""
    shared = {port: found for port, found in _by_port(clients).items() if len(found) > 1}
    for port, found in shared.items():
        ours = next((client for client in found if client.kind != "found"), None)
        if ours:
            names = ", ".join(client.name for client in found)
            yield _problem("ports", f"{names} share port {port}: only one can run.", _move(ours))
    for client in clients:
        if client.kind == "found" or not client.port or client.port in shared:
            continue
        if client.state in {"stopped", "missing"} and not host.port_is_free(client.port):
            what = f"Port {client.port} of {client.name}, which is {client.state}, is in use by something else."
            yield _problem("ports", what, f"'ss -ltnp sport = :{client.port}' tells. Or: {_move(client)}")


def _by_port(clients: Sequence[ClientSummary]) -> dict[int, list[ClientSummary]]:
    found: dict[int, list[ClientSummary]] = {}
    for client in clients:
        if client.port:
            found.setdefault(client.port, []).append(client)
    return found


def _move(client: ClientSummary) -> str:
    return f"client-manager client set {client.name} --port N"


def _operations(app: App) -> Iterator[Finding]:
    for operation in cut_off(app):
        yield _problem(
            "operations",
            f"{operation.action} of {operation.client} by {operation.operator} was cut off after: {operation.step}.",
            f"client-manager client resume {operation.client}, or: client-manager client undo {operation.client}",
        )


def _clients(clients: Sequence[ClientSummary]) -> Iterator[Finding]:
    for client in clients:
        yield from _client(client)


def _client(client: ClientSummary) -> Iterator[Finding]:
    if client.drift in {"missing", "changed"}:
        what = (
            f"{client.name}: its container is missing." if client.drift == "missing" else f"{client.name} has drifted."
        )
        yield _problem("clients", what, f"client-manager client repair {client.name}")
    elif client.kind == "found":
        fix = f"client-manager client adopt {client.container}"
        yield Finding(check="clients", verdict="warning", what=f"{client.container} is not managed.", fix=fix)
    if client.health == "unhealthy" or client.state == "restarting":
        what = f"{client.name} is {client.health if client.health != 'none' else client.state}."
        yield _problem("clients", what, f"client-manager client logs {client.name}")


def _journal(app: App) -> Iterator[Finding]:
    line = app.journal.broken_at()
    if line:
        what = f"Line {line} of {app.journal.path} does not follow from the line before: it was edited, or cut."
        yield _problem("journal", what, "Find out who changed it; set the file aside and a new one begins.")


def _problem(check: str, what: str, fix: str) -> Finding:
    return Finding(check=check, verdict="problem", what=what, fix=fix)


_CHECKS: Final[tuple[tuple[str, Check], ...]] = (
    ("Docker", _docker),
    ("data root", _data_root),
    ("specs", _specs),
    ("permissions", _permissions),
    ("disk", _disk),
    ("operations", _operations),
    ("journal", _journal),
)
_CLIENT_CHECKS: Final[tuple[tuple[str, ClientCheck], ...]] = (("ports", _ports), ("clients", _clients))
