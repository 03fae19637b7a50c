"""Who a node is: a name that it keeps, and a boot that it has only once."""

from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

from client_manager.models.cluster import ClusterFolder, ClusterSpec, NodeName

_BOOT_DIGITS = 12


@dataclass(frozen=True)
class Identity:
    """One process of a node.

    Attributes:
        spec: of its cluster.
        folder: the cluster's files.
        name: of the node; another process may have it before and after.
        boot_id: of this process.
    """

    spec: ClusterSpec
    folder: ClusterFolder
    name: NodeName
    boot_id: UUID = field(default_factory=uuid4)

    @property
    def cluster(self) -> str:
        """The cluster's name."""
        return self.spec.name

    @property
    def node_id(self) -> str:
        """The name and the boot: what the lease and the sessions carry (63 bytes at most)."""
        return f"{self.name}/{self.boot_id.hex[:_BOOT_DIGITS]}"

    def client_state(self, client: str) -> Path:
        """Where the baselines of a client are."""
        return self.folder.state / client
