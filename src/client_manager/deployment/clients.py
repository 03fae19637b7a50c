"""Which clients there are, and how each differs from what it should be."""

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Any, Final
from urllib.parse import urlsplit

from client_manager.app import App
from client_manager.deployment.container_config import network_name
from client_manager.deployment.drift import drift
from client_manager.deployment.health import answers
from client_manager.docker_names import image_tag
from client_manager.errors import NotFound
from client_manager.gateways.patience import Asking
from client_manager.models.client import (
    ClientDetail,
    ClientSpec,
    ClientSummary,
    Drift,
)
from client_manager.models.container import (
    CONTAINER_PREFIX,
    DATA_PATH,
    LABEL_CLIENT,
    LABEL_OPERATION,
    LABEL_ROLE,
    LABEL_SPEC,
    NEXT,
    PREVIOUS,
    ContainerDetail,
    ContainerSummary,
)
from client_manager.models.environment import database_kind

NOT_CLIENTS: Final = frozenset(f"{CONTAINER_PREFIX}{role}" for role in ("nginx", "sync-node-a", "sync-node-b"))
# Where a container that was not made by the console may say its domain, best first.
_SAYS_THE_DOMAIN: Final = ("FQDN", "WEBUI_URL", "WEBUI_BASE_URL", "GOOGLE_REDIRECT_URI", "OPENID_REDIRECT_URI")
_STATES: Final = {"exited": "stopped", "created": "stopped"}


def list_clients(app: App) -> tuple[ClientSummary, ...]:
    """Return every client: the console's own, adopted ones, and containers that could be adopted; by name.

    A spec that cannot be read does not hide the others. Costs one request to the Engine, and one more for each
    container that has no spec.
    """
    asked = Asking(app.engine.containers)  # the Engine takes its time, and the disk is elsewhere
    specs, faults = app.files.readable_specs()
    containers = {container.name: container for container in asked.answer()}
    known = {spec.container for spec in specs} | {f"{CONTAINER_PREFIX}{folder}" for folder in faults}
    strangers = (container for container in containers.values() if _is_stranger(container, known))
    found = (_found_summary(app, container) for container in strangers)
    summaries = [_summary(spec, containers.get(spec.container)) for spec in specs]
    summaries += [_unreadable(folder, containers.get(f"{CONTAINER_PREFIX}{folder}")) for folder in faults]
    return tuple(sorted([*summaries, *(summary for summary in found if summary)], key=lambda summary: summary.name))


def inspect_client(app: App, name: str) -> ClientDetail:
    """Return one client with every difference between its spec and its container.

    Raises:
        NotFound: there is no such client; suggests the nearest name.
    """
    spec = app.files.read(name)
    if spec is None:
        return _inspect_found(app, name)
    container = app.engine.find(spec.container)
    summary = _summary(spec, _as_row(container) if container else None)
    if container is None:
        return ClientDetail(summary=summary, spec=spec, data=str(app.files.data(name)))
    if summary.state == "running" and answers(container):
        # Docker's own check comes half a minute late, and an adopted container may have none.
        summary = summary.model_copy(update={"health": "healthy"})
    changes = drift(spec, container, app.engine.find_image(container.image_id))
    if changes and summary.drift == "no":
        summary = summary.model_copy(update={"drift": "changed"})
    runtime = _runtime(container)
    if not spec.carried:
        runtime["data"] = str(app.files.data(name))
    return ClientDetail.model_validate({"summary": summary, "spec": spec, "differences": changes, **runtime})


def get_spec(app: App, name: str) -> ClientSpec:
    """Return a client's spec.

    Raises:
        NotFound: there is none; says how to adopt where a container could be.
    """
    spec = app.files.read(name)
    if spec is not None:
        return spec
    found = find_stranger(app, name)
    if found:
        raise NotFound(
            f"{name} is not managed yet: its container {found.name} was made by something else.",
            hint=f"Adopt it first: client-manager client adopt {found.name}",
        )
    raise unknown(name, (summary.name for summary in list_clients(app)))


def container_of(app: App, name: str) -> str:
    """Return the name of a client's container, managed or only found; it may be missing.

    Raises:
        NotFound: there is no such client.
    """
    spec = app.files.read(name)
    if spec is not None:
        return spec.container
    found = find_stranger(app, name)
    if found is None:
        raise unknown(name, (summary.name for summary in list_clients(app)))
    return found.name


def find_stranger(app: App, name: str) -> ContainerDetail | None:
    """Return the container of a client without a spec, by the client's name or the container's own."""
    known = {spec.container for spec in app.files.specs()}
    for row in app.engine.containers():
        if name in {row.name, _short(row.name), row.labels.get(LABEL_CLIENT)} and _is_stranger(row, known):
            return app.engine.find(row.id)
    return None


def unknown(name: str, names: Iterable[str]) -> NotFound:
    """Return the error for a name that nobody has, with the nearest one that somebody has."""
    near = get_close_matches(name, list(names), n=1)
    hint = f"Did you mean {near[0]}?" if near else "'client-manager client list' shows the names."
    return NotFound(f"There is no client {name}.", hint=hint)


def domain_of(variables: dict[str, str]) -> str | None:
    """Return the domain that a container's variables speak of, or None."""
    for name in _SAYS_THE_DOMAIN:
        value = variables.get(name, "")
        try:
            host = urlsplit(value if "//" in value else f"//{value}").hostname
        except ValueError:  # a placeholder, such as https://[your domain]
            continue
        if host:
            return host
    return None


def _is_stranger(container: ContainerSummary, known: Collection[str]) -> bool:
    """Say whether a container is a client that no spec speaks of; not one that an operation has set aside."""
    name = container.name
    if {name, name.removesuffix(NEXT), name.removesuffix(PREVIOUS)} & {*known, *NOT_CLIENTS}:
        return False
    if container.labels.get(LABEL_ROLE, "client") != "client" or (
        LABEL_OPERATION in container.labels and name.endswith(NEXT)
    ):
        return False
    return name.startswith(CONTAINER_PREFIX) or DATA_PATH in container.mounts


def _short(container: str) -> str:
    return container.removeprefix(CONTAINER_PREFIX)


def _summary(spec: ClientSpec, container: ContainerSummary | None) -> ClientSummary:
    return ClientSummary(
        name=spec.name,
        kind="adopted" if spec.carried else "managed",
        container=spec.container,
        domain=spec.domain,
        port=spec.port,
        image=spec.image,
        version=image_tag(spec.image),
        database=spec.database,
        drift=_drift_of(spec, container),
        **_condition(container),
    )


def _condition(container: ContainerSummary | ContainerDetail | None) -> dict[str, Any]:
    if container is None:
        return {"state": "missing", "health": "none", "created_at": None}
    return {
        "state": _STATES.get(container.state, container.state),
        "health": container.health or "none" if container.running else "none",
        "created_at": container.created_at,
    }


def _unreadable(folder: str, container: ContainerSummary | None) -> ClientSummary:
    """Return what can be said of a client whose spec cannot be read; ``doctor`` says why it cannot."""
    return ClientSummary(
        name=folder,
        kind="managed",
        container=f"{CONTAINER_PREFIX}{folder}",
        domain=None,
        port=None,
        image=container.image if container else "-",
        version=image_tag(container.image) if container else "-",
        database=None,
        drift="unreadable",
        **_condition(container),
    )


def _drift_of(spec: ClientSpec, container: ContainerSummary | None) -> Drift:
    if container is None:
        return "missing"
    if spec.carried and container.id == spec.carried.container_id:
        return "no"
    return "no" if container.labels.get(LABEL_SPEC) == spec.hash() else "changed"


def _found_summary(app: App, row: ContainerSummary) -> ClientSummary | None:
    container = app.engine.find(row.id)
    if container is None:  # removed since the list was made
        return None
    port = next((port for _, port in container.published.values()), None)
    return ClientSummary(
        name=container.labels.get(LABEL_CLIENT) or _short(container.name),
        kind="found",
        container=container.name,
        domain=domain_of(container.env),
        port=port,
        image=container.image,
        version=image_tag(container.image),
        database=database_kind(container.env),
        drift="not managed",
        **_condition(container),
    )


def _inspect_found(app: App, name: str) -> ClientDetail:
    container = find_stranger(app, name)
    summary = _found_summary(app, _as_row(container)) if container else None
    if container is None or summary is None:
        raise unknown(name, (other.name for other in list_clients(app)))
    return ClientDetail(summary=summary, spec=None, **_runtime(container))


def _as_row(container: ContainerDetail) -> ContainerSummary:
    return ContainerSummary(
        **container.model_dump(include={"id", "name", "image", "image_id", "state", "health", "labels", "created_at"}),
        published=(),
        mounts={destination: source for destination, (_, source, _) in container.mounts.items()},
    )


def _runtime(container: ContainerDetail) -> dict[str, object]:
    data = container.mounts.get(DATA_PATH)
    return {
        "data": data[1] if data else None,
        "network": tuple(f"{name} {container.addresses.get(name, '')}".strip() for name in container.endpoints),
        "restarts": container.restarts,
    }


def own_network(spec: ClientSpec) -> str | None:
    """Return the network that exists for this client alone, or None for one that was adopted."""
    return None if spec.carried else network_name(spec)
