"""A network of its own for each client: tenants' administrators run code, and must not reach their neighbours."""

from client_manager.app import App
from client_manager.deployment.container_config import labels, network_name
from client_manager.gateways import networks
from client_manager.models.client import ClientSpec


def ensure_network(app: App, spec: ClientSpec) -> None:
    """Create the client's network, or leave the one that it has.

    Raises:
        Conflict: the pool of the settings is used up.
    """
    networks.ensure(app.engine, network_name(spec), str(app.settings.network_pool), labels(spec), of=spec.name)
