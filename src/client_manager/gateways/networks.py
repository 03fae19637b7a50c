"""Docker networks with small subnets out of a pool of the console's own."""

import ipaddress
from collections.abc import Mapping
from typing import Final

from client_manager.errors import Conflict
from client_manager.gateways import host
from client_manager.gateways.docker_engine import DockerEngine

# A gateway and a dozen containers. Docker's default pools end after about 30 networks.
_PREFIX: Final = 28


def ensure(engine: DockerEngine, name: str, pool: str, labels: Mapping[str, str], *, of: str) -> None:
    """Create a network, or leave the one of this name.

    Args:
        engine: where.
        name: of the network.
        pool: the range to take a subnet from.
        labels: of a new network.
        of: whose it is, for an error.

    Raises:
        Conflict: the pool is used up.
    """
    if engine.has_network(name):
        return
    whole = ipaddress.ip_network(pool)
    taken = [*engine.subnets(), *host.routes()]
    for subnet in whole.subnets(new_prefix=max(_PREFIX, whole.prefixlen)):
        if any(subnet.version == other.version and subnet.overlaps(other) for other in taken):
            continue
        if engine.create_network(name, str(subnet), labels):
            return
    raise Conflict(
        f"No subnet of {whole} is free for {of}.",
        why="Other networks or routes of this machine have them all.",
        hint="Set network_pool to a private range that nothing here uses.",
    )


def labels_of(engine: DockerEngine, name: str) -> dict[str, str] | None:
    """Return the labels of the network of exactly this name, or None where there is none."""
    with engine.speaking("The list of networks") as api:
        found = [network for network in api.networks(names=[name]) if network["Name"] == name]
    return dict(found[0].get("Labels") or {}) if found else None
