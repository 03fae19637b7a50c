"""Start, stop, restart and remove a node, and read its log."""

from collections.abc import Iterator
from contextlib import contextmanager

from client_manager.app import App
from client_manager.errors import ClientManagerError, NotFound
from client_manager.gateways import lock, node_http
from client_manager.models.cluster import ClusterSpec, NodeName, NodeOpinion
from client_manager.models.container import ContainerDetail
from client_manager.models.operation import Progress
from client_manager.sync_node.health import Report, wait_healthy
from client_manager.sync_node.nodes import cluster_here


def start(app: App, node: NodeName, report: Report, *, cluster: str | None = None) -> NodeOpinion:
    """Start a node, and return what it says once it takes part; one that runs is only waited for.

    Raises:
        NotFound: the cluster is not deployed here, or its container is missing.
        ClientManagerError: it does not turn healthy; it is left as it is, to be looked at.
    """
    with _at_work(app, node, "start", cluster) as (spec, container):
        report(Progress(step=f"Starting {node}"))
        app.engine.start(container.id)
        return wait_healthy(app, spec, node, report, before=None)


def stop(app: App, node: NodeName, report: Report, *, cluster: str | None = None) -> None:
    """Stop a node and return when it has stopped; a leader ends its runs and hands over first.

    Raises:
        NotFound: the cluster is not deployed here, or its container is missing.
    """
    with _at_work(app, node, "stop", cluster) as (_, container):
        _stop(app, node, container, report)


def restart(app: App, node: NodeName, report: Report, *, cluster: str | None = None) -> NodeOpinion:
    """Stop a node, start it, and return what it says once it takes part.

    Raises:
        NotFound: the cluster is not deployed here, or its container is missing.
        ClientManagerError: it does not turn healthy; it is left as it is, to be looked at.
    """
    with _at_work(app, node, "restart", cluster) as (spec, container):
        before = node_http.opinion(node, spec.ports[node]).node_id
        _stop(app, node, container, report)
        report(Progress(step=f"Starting {node}"))
        app.engine.start(container.id)
        return wait_healthy(app, spec, node, report, before=before)


def remove(app: App, node: NodeName, report: Report, *, cluster: str | None = None) -> None:
    """Stop a node and remove its container; the cluster's files stay.

    Raises:
        NotFound: the cluster is not deployed here, or its container is missing.
    """
    with _at_work(app, node, "remove", cluster) as (_, container):
        _stop(app, node, container, report)
        app.engine.remove(container.id)


def last_log(app: App, node: NodeName, lines: int, *, cluster: str | None = None) -> list[str]:
    """Return the last lines of a node's log.

    Raises:
        NotFound: the cluster is not deployed here, or its container is missing.
    """
    return app.engine.log_tail(_container(app, cluster_here(app, cluster), node).id, lines)


def follow_log(app: App, node: NodeName, lines: int, *, cluster: str | None = None) -> Iterator[str]:
    """Yield the last lines of a node's log and then every new one, until its container stops.

    Raises:
        NotFound: the cluster is not deployed here, or its container is missing.
    """
    yield from app.engine.follow_log(_container(app, cluster_here(app, cluster), node).id, lines)


@contextmanager
def cluster_lock(app: App, cluster: str, action: str) -> Iterator[None]:
    """Be the only operator at work on a cluster of this machine.

    Raises:
        Conflict: another one is.
    """
    with lock.held(app.files.locks, f"cluster-{cluster}", action):
        yield


@contextmanager
def _at_work(
    app: App, node: NodeName, action: str, cluster: str | None
) -> Iterator[tuple[ClusterSpec, ContainerDetail]]:
    app.require_local_engine()
    spec = cluster_here(app, cluster)
    with (
        cluster_lock(app, spec.name, f"{action} of {node}"),
        app.journal.action(f"node {action}", f"{spec.name}/{node}", {}),
    ):
        yield spec, _container(app, spec, node)


def _stop(app: App, node: NodeName, container: ContainerDetail, report: Report) -> None:
    report(Progress(step=f"Stopping {node}"))
    app.engine.stop(container.id, app.settings.node_stop_timeout_s)
    if app.engine.get(container.id).running:
        raise ClientManagerError(f"{container.name} still runs after it was stopped.", hint="Look at its log.")


def _container(app: App, spec: ClusterSpec, node: NodeName) -> ContainerDetail:
    found = app.engine.find(spec.container(node))
    if found is None:
        raise NotFound(
            f"The container {spec.container(node)} is missing.",
            hint=f"Make it anew: client-manager cluster deploy {spec.name}",
        )
    return found
