"""A network of its own for each client: tenants' administrators run code, and must not reach their neighbours."""

import ipaddress
from typing import Final

from client_manager.app import App
from client_manager.deployment.container_config import labels, network_name
from client_manager.errors import Conflict
from client_manager.gateways import host
from client_manager.models.client import ClientSpec

# A gateway, the client, nginx, a sync node or two. Docker's default pools end after about 30 networks.
_PREFIX: Final = 28


def ensure_network(app: App, spec: ClientSpec) -> None:
    """Create the client's network, or leave the one that it has.

    Raises:
        Conflict: the pool of the settings is used up.
    """
    name = network_name(spec)
    if app.engine.has_network(name):
        return
    pool = ipaddress.ip_network(str(app.settings.network_pool))
    taken = [*app.engine.subnets(), *host.routes()]
    for subnet in pool.subnets(new_prefix=max(_PREFIX, pool.prefixlen)):
        if any(subnet.version == other.version and subnet.overlaps(other) for other in taken):
            continue
        if app.engine.create_network(name, str(subnet), labels(spec)):
            return
    raise Conflict(
        f"No subnet of {pool} is free for {spec.name}.",
        why="Other networks or routes of this machine have them all.",
        hint="Set network_pool to a private range that nothing here uses.",
    )
