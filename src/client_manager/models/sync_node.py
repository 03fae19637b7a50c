"""A sync node's container as this machine's Docker has it."""

from typing import Literal

from client_manager.models.base import Model
from client_manager.models.cluster import NodeName, NodeOpinion
from client_manager.models.container import LABEL_CLUSTER, LABEL_ROLE, ContainerDetail

Whose = Literal["ours", "predecessor", "other"]

# What the shell predecessor starts its nodes with, by which they are known.
_OF_PREDECESSOR = frozenset({"ROLE", "CLUSTER_NAME", "DATABASE_URL"})


class NodeStatus(Model):
    """A node: its container, and what it says of itself.

    Attributes:
        state: the container's, as Docker has it; ``missing`` where there is none.
        current: whether it is what the cluster's spec says, down to the image.
        port: where its API is on 127.0.0.1.
    """

    cluster: str
    node: NodeName
    container: str
    state: str
    current: bool
    image: str
    image_id: str
    restarts: int
    port: int
    opinion: NodeOpinion

    @property
    def running(self) -> bool:
        """Whether its process is alive."""
        return self.state in {"running", "paused"}


def whose(container: ContainerDetail) -> Whose:
    """Return who made a container that has a sync node's name."""
    if container.labels.get(LABEL_ROLE) == "sync-node":
        return "ours"
    return "predecessor" if container.env.keys() >= _OF_PREDECESSOR else "other"


def cluster_of(container: ContainerDetail) -> str:
    """Return the cluster of a sync node of ours or of the predecessor's."""
    return container.labels.get(LABEL_CLUSTER) or container.env.get("CLUSTER_NAME", "")
