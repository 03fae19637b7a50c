"""Adopt a container that the console did not make: write down all that it is, and leave it running."""

from collections.abc import Mapping
from typing import Any, Final

from client_manager.app import App
from client_manager.deployment.clients import NOT_CLIENTS, domain_of, unknown
from client_manager.deployment.container_config import as_asked, inside_port
from client_manager.docker_names import ImageReference, image_tag
from client_manager.errors import Blocked, Conflict, InvalidInput
from client_manager.gateways import lock
from client_manager.models.base import parse
from client_manager.models.client import Carried, ClientSpec, split_secrets
from client_manager.models.container import CONTAINER_PREFIX, DATA_PATH, ContainerDetail, ImageDetail
from client_manager.models.environment import SECRET_KEY
from client_manager.models.names import ClientName, Domain

# Where the image's start script leaves the key that it makes when it is given none; it is outside the data volume.
_KEY_FILE: Final = "/app/backend/.webui_secret_key"
_KEY_FILE_VARIABLE: Final = "WEBUI_SECRET_KEY_FILE"
# Fields of Config that the spec has words for, or that name the container itself.
_SPOKEN_OF: Final = frozenset({"Env", "Image", "Hostname"})
# Fields of HostConfig that the spec has words for, or that the list of mounts says better.
_HOST_SPOKEN_OF: Final = frozenset(
    {"Memory", "NanoCpus", "Binds", "Mounts", "VolumesFrom", "ContainerIDFile", "AutoRemove"}
)


def plan_adopt(app: App, container: str, name: str | None, domain: str | None) -> ClientSpec:
    """Return the spec of a container as it is found; changes nothing.

    The secret key comes from its variables, else out of the container: the image keeps it outside the volume, so it
    would go with the container.

    Raises:
        NotFound: there is no such container.
        Conflict: it belongs to a client already, or the name does.
        Blocked: its data is inside the container, or its key cannot be found; replacing it would lose them.
        InvalidInput: the name or the domain cannot be told; says which option to give.
    """
    app.require_local_engine()
    found = _find(app, container)
    name = _client_name(app, found, name)
    image = app.engine.find_image(found.image_id)
    variables = _variables(found, image)
    variables[SECRET_KEY] = _secret_key(app, found)
    return ClientSpec(
        name=name,
        container=found.name,
        domain=_domain(found, domain),
        image=_image(found),
        image_digest=image.digest if image else found.image_id,
        port=found.published.get(inside_port(found.env), (None, None))[1],
        memory_bytes=_number(found, "Memory"),
        cpus=(_number(found, "NanoCpus") or 0) / 1e9 or None,
        carried=_carried(found, image),
        **split_secrets(variables),
    )


def adopt(app: App, spec: ClientSpec) -> None:
    """Write down a planned spec; the container is left as it is.

    Raises:
        Conflict: a client of this name came to be meanwhile.
    """
    with (
        lock.held(app.files.locks, spec.name, "adopt"),
        app.journal.action("client adopt", spec.name, {"container": spec.container}),
    ):
        _require_name_free(app, spec.name)
        app.files.write(spec)


def _find(app: App, name: str) -> ContainerDetail:
    found = app.engine.find(name) or app.engine.find(f"{CONTAINER_PREFIX}{name}")
    if found is None:
        raise unknown(name, (row.name for row in app.engine.containers()))
    if found.name in NOT_CLIENTS:
        raise InvalidInput(f"{found.name} is no client.", why="It is part of the console's own machinery.")
    holder = next((spec for spec in app.files.specs() if spec.container == found.name), None)
    if holder:
        raise Conflict(f"{found.name} is the container of {holder.name} already.")
    return found


def _client_name(app: App, found: ContainerDetail, name: str | None) -> str:
    chosen: str = parse(ClientName, name or found.name.removeprefix(CONTAINER_PREFIX), what="client name")
    _require_name_free(app, chosen)
    return chosen


def _require_name_free(app: App, name: str) -> None:
    if app.files.read(name) is not None:
        raise Conflict(f"There is a client {name} already.", hint="Give another: client adopt CONTAINER NAME")


def _variables(found: ContainerDetail, image: ImageDetail | None) -> dict[str, str]:
    """Return what the container has beyond its image; all of it where the image is gone."""
    inherited = image.env if image else {}
    return {name: value for name, value in found.env.items() if inherited.get(name) != value}


def _secret_key(app: App, found: ContainerDetail) -> str:
    key = found.env.get(SECRET_KEY)
    if key:
        return key
    path = found.env.get(_KEY_FILE_VARIABLE) or _KEY_FILE
    content = app.engine.read_file(found.id, path)
    if not content or not content.strip():
        raise Blocked(
            f"The secret key of {found.name} cannot be found.",
            why=f"It has no {SECRET_KEY}, and there is no {path} in it. Without it every session and token is lost.",
            hint="Start it once, so that it makes its key, then adopt it.",
        )
    return content.decode().strip()


def _domain(found: ContainerDetail, domain: str | None) -> str:
    told = domain or domain_of(found.env)
    if told is None:
        raise InvalidInput(f"{found.name} does not say its domain.", hint="Give it: --domain chat.example.com")
    return str(parse(Domain, told, what="domain"))


def _image(found: ContainerDetail) -> str:
    """Return the image's name as it was asked for; a bare name means ``latest`` to Docker."""
    tagged = found.image if image_tag(found.image) != found.image or "@" in found.image else f"{found.image}:latest"
    return str(parse(ImageReference, tagged, what="image"))


def _number(found: ContainerDetail, field: str) -> int | None:
    value = found.host_config.get(field)
    return value if isinstance(value, int) and value > 0 else None


def _carried(found: ContainerDetail, image: ImageDetail | None) -> Carried:
    if DATA_PATH not in found.mounts:
        raise Blocked(
            f"The data of {found.name} is inside the container.",
            why=f"Nothing is mounted at {DATA_PATH}, so the data goes when the container goes.",
            hint=f"Copy it out ('docker cp {found.name}:{DATA_PATH} .') and make the container with a volume there.",
        )
    if found.host_config.get("AutoRemove"):
        raise Blocked(
            f"{found.name} was started with --rm.",
            why="Docker removes it when it stops, so a change that fails could not be taken back.",
            hint="Make the container again without --rm, then adopt it.",
        )
    inherited = image.config if image else {}
    config = {
        key: value for key, value in found.config.items() if key not in _SPOKEN_OF and value != inherited.get(key)
    }
    config |= _hostname(found) | _labels(found, inherited)
    host: dict[str, Any] = {
        key: value for key, value in found.host_config.items() if value and key not in _HOST_SPOKEN_OF
    }
    host |= _mounts(found)
    if host.get("MemorySwap") == 2 * (_number(found, "Memory") or 0):  # what Docker itself makes of a bare memory limit
        del host["MemorySwap"]
    return Carried(
        container_id=found.id, config=config, host_config=host, endpoints=as_asked(found.endpoints, found.id)
    )


def _hostname(found: ContainerDetail) -> dict[str, Any]:
    """Return the host name that somebody chose; otherwise it is the container's id, or the machine's own."""
    name, network = found.config.get("Hostname"), str(found.host_config.get("NetworkMode"))
    shared = network == "host" or network.startswith("container:")
    return {} if shared or not name or found.id.startswith(str(name)) else {"Hostname": name}


def _labels(found: ContainerDetail, inherited: Mapping[str, Any]) -> dict[str, Any]:
    """Return the labels that the image does not bring, since another version brings its own."""
    of_image = inherited.get("Labels") or {}
    return {"Labels": {name: value for name, value in found.labels.items() if of_image.get(name) != value}}


def _mounts(found: ContainerDetail) -> dict[str, Any]:
    """Return every mount with its source, anonymous volumes too, which no other field names."""
    binds = [
        f"{source}:{target}" + ("" if writable else ":ro")
        for target, (kind, source, writable) in found.mounts.items()
        if kind in {"bind", "volume"}
    ]
    others = [mount for mount in _list(found.host_config.get("Mounts")) if mount.get("Type") not in {"bind", "volume"}]
    return {"Binds": binds, **({"Mounts": others} if others else {})}


def _list(value: Any) -> list[dict[str, Any]]:  # noqa: ANN401  the Engine's own JSON
    return value if isinstance(value, list) else []
