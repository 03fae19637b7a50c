"""What is looked at before a cluster is deployed, each with its finding and what to do about it."""

from collections.abc import Callable, Iterator

from client_manager.app import App
from client_manager.cluster import database_checks, machine_checks
from client_manager.errors import ClientManagerError
from client_manager.models.cluster import ClusterSpec
from client_manager.models.cluster_plan import Check, ClusterRequest
from client_manager.models.sync import Host

Look = Callable[[], Iterator[Check]]


def examine(app: App, request: ClusterRequest, spec: ClusterSpec, hosts: tuple[Host, ...]) -> tuple[Check, ...]:
    """Look at everything that the cluster will need; what cannot be looked at stands in the way.

    Args:
        app: the gateways.
        request: what the operator asks.
        spec: what the cluster shall be.
        hosts: the rows of the cluster as they are.
    """
    looks: tuple[tuple[str, Look], ...] = (
        ("Docker", lambda: machine_checks.docker(app)),
        ("ports", lambda: machine_checks.ports(app, spec)),
        ("containers", lambda: machine_checks.containers(app, spec)),
        ("files", lambda: machine_checks.readable(app, spec)),
        ("disk", lambda: machine_checks.disk(app, spec)),
        ("database", lambda: database_checks.place(app)),
        ("TLS", lambda: database_checks.tls(app)),
        ("pooler", lambda: database_checks.pooler(app)),
        ("rights", lambda: database_checks.rights(app, spec)),
        ("machines", lambda: machine_checks.machines(app, request, spec, hosts)),
    )
    return tuple(check for name, look in looks for check in made(name, look))


def made(name: str, look: Look) -> list[Check]:
    """Return what a look finds; one that fails is a finding of its own, never silence."""
    try:
        return list(look())
    except ClientManagerError as error:
        return [Check(name=name, severity="critical", what=f"{error.what} {error.why}".strip(), hint=error.hint)]
