"""The sync nodes of this machine, and what they say of themselves."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import get_args

from client_manager.app import App
from client_manager.errors import NotFound
from client_manager.gateways import node_http
from client_manager.models.cluster import ClusterSpec, NodeName, NodeOpinion
from client_manager.models.container import LABEL_SPEC, ContainerDetail
from client_manager.models.sync_node import NodeStatus
from client_manager.sync_node.container_config import spec_hash

NODES: tuple[NodeName, ...] = get_args(NodeName)


def spec_of(app: App, cluster: str) -> ClusterSpec:
    """Return what a cluster of this machine should be.

    Raises:
        NotFound: it is not deployed here.
    """
    spec = app.cluster_files.read(cluster)
    if spec is None:
        raise NotFound(
            f"The cluster {cluster} is not deployed on this machine.",
            why=f"Deployed here: {', '.join(app.cluster_files.names()) or 'none'}.",
            hint=f"Deploy it (client-manager cluster deploy {cluster}), or go to its machine.",
        )
    return spec


def cluster_here(app: App, cluster: str | None = None) -> ClusterSpec:
    """Return the named cluster, or the only one of this machine.

    Raises:
        NotFound: it is not deployed here, or there is not exactly one to choose.
    """
    names = app.cluster_files.names()
    if cluster is not None:
        return spec_of(app, cluster)
    if len(names) != 1:
        raise NotFound(
            "This machine has more than one sync cluster." if names else "No sync cluster is deployed on this machine.",
            why=f"They are {', '.join(names)}." if names else "",
            hint="Name one of them." if names else f"Deploy one: client-manager cluster deploy {app.settings.cluster}",
        )
    return spec_of(app, names[0])


def list_nodes(app: App, cluster: str | None = None) -> tuple[NodeStatus, ...]:
    """Return the nodes of one cluster of this machine, or of all, each asked for its opinion.

    Raises:
        NotFound: the cluster is not deployed here.
    """
    specs = [spec_of(app, name) for name in ([cluster] if cluster else app.cluster_files.names())]
    return tuple(status for spec in specs for status in statuses(app, spec))


def status(app: App, node: NodeName, cluster: str | None = None) -> NodeStatus:
    """Return one node.

    Raises:
        NotFound: the cluster is not deployed here.
    """
    return next(found for found in statuses(app, cluster_here(app, cluster)) if found.node == node)


def statuses(app: App, spec: ClusterSpec) -> tuple[NodeStatus, ...]:
    """Return both nodes of a cluster."""
    said = {opinion.node_name: opinion for opinion in opinions(spec)}
    return tuple(_status(app, spec, node, said[node]) for node in NODES)


def opinions(spec: ClusterSpec) -> Sequence[NodeOpinion]:
    """Ask both nodes of a cluster of this machine at once what they think."""
    with ThreadPoolExecutor(len(NODES)) as pool:
        return list(pool.map(lambda node: node_http.opinion(node, spec.ports[node]), NODES))


def is_current(app: App, spec: ClusterSpec, node: NodeName, container: ContainerDetail | None) -> bool:
    """Say whether a container is what the spec says, and its image what the reference now means."""
    if container is None:
        return False
    image = app.engine.find_image(spec.image)
    wanted = spec_hash(spec, app.cluster_files.folder(spec.name), node)
    return container.labels.get(LABEL_SPEC) == wanted and image is not None and image.id == container.image_id


def _status(app: App, spec: ClusterSpec, node: NodeName, opinion: NodeOpinion) -> NodeStatus:
    found = app.engine.find(spec.container(node))
    return NodeStatus(
        cluster=spec.name,
        node=node,
        container=spec.container(node),
        state=found.state if found else "missing",
        current=is_current(app, spec, node, found),
        image=found.image if found else "",
        image_id=found.image_id if found else "",
        restarts=found.restarts if found else 0,
        port=spec.ports[node],
        opinion=opinion,
    )
