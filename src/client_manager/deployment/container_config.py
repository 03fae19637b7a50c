"""A spec as the Engine API's own JSON; pure, so that what will run can be shown and compared exactly."""

from collections.abc import Mapping
from typing import Any, Final

from client_manager.models.client import ClientSpec
from client_manager.models.container import (
    CONTAINER_PREFIX,
    DATA_PATH,
    LABEL_CLIENT,
    LABEL_OPERATION,
    LABEL_ROLE,
    LABEL_SPEC,
)

INSIDE_PORT: Final = 8080
_SECOND_NS: Final = 1_000_000_000
# An unknown path answers 200 with a page, so the answer itself is looked at.
_HEALTH_TEST: Final = "curl --silent --fail --max-time 8 http://localhost:8080/health/db | grep -q '\"status\": *true'"
# What `docker network connect` was told, as opposed to what the Engine made of it.
_ENDPOINT_FIELDS: Final = ("IPAMConfig", "Links", "Aliases", "DriverOpts")


def network_name(spec: ClientSpec) -> str:
    """Return the name of the client's own network."""
    return f"{CONTAINER_PREFIX}{spec.name}"


def volume_name(spec: ClientSpec) -> str:
    """Return the name of the volume that is the client's data folder."""
    return f"{CONTAINER_PREFIX}{spec.name}-data"


def inside_port(variables: Mapping[str, str]) -> int:
    """Return the port that the application listens on."""
    return int(variables.get("PORT") or INSIDE_PORT)


def labels(spec: ClientSpec) -> dict[str, str]:
    """Return the labels that mark what belongs to a client."""
    return {LABEL_CLIENT: spec.name, LABEL_ROLE: "client"}


def container_config(spec: ClientSpec, image: str, operation: str) -> dict[str, Any]:
    """Return the body of ``POST /containers/create``.

    Args:
        spec: what the client should be.
        image: the image's tag, or its digest where the tag has moved on.
        operation: the id of the operation that creates it, by which a recovery finds it.
    """
    config, host, endpoints = _adopted(spec) if spec.carried else _own(spec)
    host |= {"Memory": spec.memory_bytes or 0, "NanoCpus": round((spec.cpus or 0) * _SECOND_NS)}
    first = dict(list(endpoints.items())[:1])
    return {
        **config,
        "Image": image,
        "Env": [f"{name}={value}" for name, value in sorted(spec.variables().items())],
        "Labels": {
            **config.get("Labels", {}),
            **labels(spec),
            LABEL_SPEC: spec.hash(),
            LABEL_OPERATION: operation,
        },
        "HostConfig": host,
        "NetworkingConfig": {"EndpointsConfig": first},
    }


def endpoints_beyond_first(spec: ClientSpec) -> dict[str, Any]:
    """Return the networks to attach after creation; the Engine takes only one with it (API before 1.44)."""
    return dict(list(spec.carried.endpoints.items())[1:]) if spec.carried else {}


def as_asked(endpoints: Mapping[str, Any], container_id: str) -> dict[str, Any]:
    """Return inspected endpoints reduced to what was once asked for, without the alias that is the container's id."""
    return {
        network: {
            field: [alias for alias in end[field] if alias != container_id[:12]] if field == "Aliases" else end[field]
            for field in _ENDPOINT_FIELDS
            if end.get(field)
        }
        for network, end in endpoints.items()
    }


def adopted_data(spec: ClientSpec) -> str | None:
    """Return the folder or the volume that an adopted client keeps its data in; None for a client of our own."""
    binds = spec.carried.host_config.get("Binds") if spec.carried else None
    split = (str(bind).split(":") for bind in (binds if isinstance(binds, list) else ()))
    return next((source for source, target, *_ in split if target == DATA_PATH), None)


def _own(spec: ClientSpec) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    config = {
        "ExposedPorts": {f"{INSIDE_PORT}/tcp": {}},
        "Healthcheck": {
            "Test": ["CMD-SHELL", _HEALTH_TEST],
            "Interval": 30 * _SECOND_NS,
            "Timeout": 10 * _SECOND_NS,
            "Retries": 3,
            "StartPeriod": 120 * _SECOND_NS,
        },
    }
    host = {
        "NetworkMode": network_name(spec),
        "Mounts": [{"Type": "volume", "Source": volume_name(spec), "Target": DATA_PATH}],
        "PortBindings": _published(spec.port, INSIDE_PORT, "127.0.0.1"),
        "RestartPolicy": {"Name": "unless-stopped"},
        "SecurityOpt": ["no-new-privileges"],
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
    }
    return config, host, {network_name(spec): {}}


def _published(port: int | None, inside: int, address: str) -> dict[str, Any]:
    return {f"{inside}/tcp": [{"HostIp": address, "HostPort": str(port)}]} if port else {}


def _within(host: Mapping[str, Any], memory: int) -> dict[str, int]:
    """Return the limits that the Engine refuses beside this memory limit, moved to it: less swap, more reservation."""
    swap, reservation = host.get("MemorySwap") or 0, host.get("MemoryReservation") or 0
    moved = {}
    if 0 < swap < memory:
        moved["MemorySwap"] = memory
    if 0 < memory < reservation:
        moved["MemoryReservation"] = memory
    return moved


def _adopted(spec: ClientSpec) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    if spec.carried is None:
        raise AssertionError
    inside = inside_port(spec.variables())
    host: dict[str, Any] = dict(spec.carried.host_config)
    before: dict[str, Any] = host.get("PortBindings") or {}
    was = before.get(f"{inside}/tcp") or [{"HostIp": "127.0.0.1"}]
    address = was[0].get("HostIp", "")
    host["PortBindings"] = {**before, **_published(spec.port, inside, address)}
    host |= _within(host, spec.memory_bytes or 0)
    return dict(spec.carried.config), host, dict(spec.carried.endpoints)
