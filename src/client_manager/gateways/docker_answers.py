"""The Engine API's answers as the console's models."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from client_manager.models.container import ContainerDetail, ContainerSummary, ImageDetail, environment

_HEALTH: Final = re.compile(r"\((healthy|unhealthy|health: starting)\)")


def summary(row: Mapping[str, Any]) -> ContainerSummary:
    """Return a row of ``GET /containers/json``."""
    health = _HEALTH.search(row.get("Status", ""))
    return ContainerSummary(
        id=row["Id"],
        name=(row.get("Names") or [f"/{row['Id'][:12]}"])[0].removeprefix("/"),
        image=row["Image"],
        image_id=row["ImageID"],
        state=row["State"],
        health=health[1].removeprefix("health: ") if health else "",
        labels=row.get("Labels") or {},
        created_at=datetime.fromtimestamp(row["Created"], UTC),
        published=tuple(sorted({port["PublicPort"] for port in row.get("Ports") or () if port.get("PublicPort")})),
        mounts={
            mount["Destination"]: mount.get("Name") or mount.get("Source", "") for mount in row.get("Mounts") or ()
        },
    )


def detail(raw: Mapping[str, Any]) -> ContainerDetail:
    """Return the answer of ``GET /containers/{id}/json``."""
    state, config, host = raw["State"], raw["Config"], raw["HostConfig"]
    endpoints = (raw.get("NetworkSettings") or {}).get("Networks") or {}
    return ContainerDetail(
        id=raw["Id"],
        name=raw["Name"].removeprefix("/"),
        image=config["Image"],
        image_id=raw["Image"],
        state=state["Status"],
        health=(state.get("Health") or {}).get("Status", ""),
        exit_code=state.get("ExitCode", 0),
        restarts=raw.get("RestartCount", 0),
        out_of_memory=state.get("OOMKilled", False),
        created_at=raw["Created"],
        env=environment(config.get("Env")),
        labels=config.get("Labels") or {},
        published=_published(host.get("PortBindings") or {}),
        addresses={name: end["IPAddress"] for name, end in endpoints.items() if end.get("IPAddress")},
        mounts={
            mount["Destination"]: (mount["Type"], mount.get("Name") or mount.get("Source", ""), mount.get("RW", True))
            for mount in raw.get("Mounts") or ()
        },
        config=config,
        host_config=host,
        endpoints=endpoints,
    )


def _published(bindings: Mapping[str, Any]) -> dict[int, tuple[str, int]]:
    return {
        int(inside.split("/")[0]): (hosts[0].get("HostIp", ""), int(hosts[0]["HostPort"]))
        for inside, hosts in bindings.items()
        if hosts and hosts[0].get("HostPort", "").isdecimal()  # a range is no port until the container runs
    }


def image(raw: Mapping[str, Any]) -> ImageDetail:
    """Return the answer of ``GET /images/{name}/json``."""
    config = raw.get("Config") or {}
    digests = tuple(raw.get("RepoDigests") or ())
    return ImageDetail(id=raw["Id"], digests=digests, env=environment(config.get("Env")), config=config)


def pull_progress(event: Mapping[str, Any], layers: dict[str, tuple[int, int]]) -> tuple[str, float | None]:
    """Return an event of a pull in words, and the fraction of the bytes that are here.

    Args:
        event: a line of the stream of ``POST /images/create``.
        layers: layer -> (bytes here, bytes in all) of the events so far; kept up to date.
    """
    detail = event.get("progressDetail") or {}
    if event.get("status") == "Downloading" and detail.get("total"):
        layers[event["id"]] = (detail.get("current", 0), detail["total"])
    elif event.get("status") in {"Download complete", "Pull complete"} and event.get("id") in layers:
        layers[event["id"]] = (layers[event["id"]][1],) * 2
    done, total = (sum(column) for column in zip(*layers.values(), strict=True)) if layers else (0, 0)
    return f"{event.get('id', '')} {event.get('status', '')}".strip(), done / total if total else None
