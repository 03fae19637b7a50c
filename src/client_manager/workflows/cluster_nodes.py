"""The nodes of a cluster that are on this machine, ours or the predecessor's, as a deregistration handles them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from client_manager.app import App
from client_manager.errors import ClientManagerError
from client_manager.gateways import sync_roles
from client_manager.models.container import LABEL_CLUSTER, ContainerDetail
from client_manager.models.deregistration import Circumstances
from client_manager.models.operation import Progress
from client_manager.models.sync import NODE_NAMES
from client_manager.models.sync_node import cluster_of, whose
from client_manager.sync_node.container_config import network_name
from client_manager.workflows.deregister_cluster import Nodes

Report = Callable[[Progress], None]
_ROLE: Final = "ROLE"


def nodes_of(app: App, cluster: str, report: Report, *, lost_host: bool = False) -> Nodes:
    """Return the nodes of a cluster on this machine, and how they are stopped, started again and removed.

    This machine has the nodes of a cluster whose files it has, and those whose containers it has. Without either, it
    has none: another machine may well be called the same.

    Args:
        app: the gateways.
        cluster: its name.
        report: told of the steps.
        lost_host: the operator says that the machine is gone; nothing of this one is stopped then.
    """
    if lost_host:
        return Nodes(Circumstances(lost_host=True), lambda: (), lambda: None, lambda: _drop_role(app, cluster))
    work = _Work(app, cluster, report)
    return Nodes(work.circumstances(), work.stop, work.start_again, work.remove)


@dataclass
class _Work:
    """The containers of a cluster's nodes; ``stopped`` are the ids of those that were running."""

    app: App
    cluster: str
    report: Report
    stopped: list[str] = field(default_factory=list)

    def circumstances(self) -> Circumstances:
        spec = self.app.cluster_files.read(self.cluster)
        theirs = tuple(_name_of_predecessor(each) for each in self._containers() if whose(each) == "predecessor")
        return Circumstances(
            here=((spec.hostname,) if spec else ()) + theirs, stops=(NODE_NAMES if spec else ()) + theirs
        )

    def stop(self) -> tuple[str, ...]:
        for container in self._containers():
            if container.running:
                self.report(Progress(step="Stopping the nodes", detail=container.name))
                self.stopped.append(container.id)
            self.app.engine.stop(container.id, self.app.settings.node_stop_timeout_s)
        alive = [each.name for each in self._containers() if each.running]
        if alive:
            raise ClientManagerError(
                f"{', '.join(alive)} still runs after it was stopped.", hint="Look at its log, then repeat this."
            )
        return self.circumstances().stops

    def start_again(self) -> None:
        for container in self.stopped:
            self.app.engine.start(container)
        self.stopped.clear()

    def remove(self) -> None:
        """Remove what was ours; the predecessor's containers stay, stopped, for they are its own."""
        spec = self.app.cluster_files.read(self.cluster)
        for container in self._containers():
            if whose(container) == "ours":
                self.report(Progress(step="Removing the nodes", detail=container.name))
                self.app.engine.remove(container.id)
        if spec:
            self.app.engine.remove_network(network_name(spec))
            self.app.cluster_files.discard(self.cluster)
        _drop_role(self.app, self.cluster)

    def _containers(self) -> list[ContainerDetail]:
        """Return every container of the cluster's nodes, those beside them from a replacement that was cut off too."""
        names = {f"{self.app.settings.node_container_prefix}{node}" for node in NODE_NAMES}
        found = (
            self.app.engine.find(row.id)
            for row in self.app.engine.containers()
            if row.name in names or row.labels.get(LABEL_CLUSTER) == self.cluster
        )
        return [each for each in found if each and whose(each) != "other" and cluster_of(each) == self.cluster]


def _name_of_predecessor(container: ContainerDetail) -> str:
    """Return what a node of the predecessor's calls itself, in its host's row and in the lease."""
    return f"{container.env['CLUSTER_NAME']}-{container.env[_ROLE]}"


def _drop_role(app: App, cluster: str) -> None:
    with sync_roles.of(app.database) as roles:
        roles.drop_node(cluster)
