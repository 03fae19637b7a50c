"""A sync cluster: one machine, two nodes on it, and what they are told."""

import re
from pathlib import Path
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import AfterValidator, Field

from client_manager.docker_names import ImageReference, NodePrefix
from client_manager.models.base import Model
from client_manager.models.container import CONTAINER_PREFIX
from client_manager.models.names import NewPort
from client_manager.models.sync import Deployment, Host, Job, Lease, LeaseTimes, SyncNode

_CLUSTER = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
# PostgreSQL cuts names at 63 bytes, and the nodes log in as "sync_node_<cluster>".
CLUSTER_NAME_LENGTH: Final = 52

NodeName = Literal["sync-node-a", "sync-node-b"]
Network = Literal["host", "bridge"]


def _cluster_name(name: str) -> str:
    if len(name) > CLUSTER_NAME_LENGTH:
        raise ValueError(f"at most {CLUSTER_NAME_LENGTH} characters; this has {len(name)}")
    if not _CLUSTER.fullmatch(name):
        raise ValueError("lower-case letters, digits and hyphens only, beginning and ending with a letter or a digit")
    return name


ClusterName = Annotated[str, AfterValidator(_cluster_name)]


def _default_ports() -> dict[NodeName, int]:
    return {"sync-node-a": 9443, "sync-node-b": 9444}


class ClusterSpec(Model):
    """What a cluster should be; ``cluster.json`` in its folder, which the nodes read too.

    Attributes:
        hostname: of the machine, as ``hosts`` has it.
        host_id: of its row.
        data_root: where the clients are, the same inside the containers.
        network: ``host`` where the database is on the machine's loopback; else a bridge of the nodes' own.
        socket_folder: of the embedded PostgreSQL, mounted at its own path.
        ports: node -> where its API listens on 127.0.0.1.
        uid, gid: what the nodes run as.
        workers: clients that are replicated at once.
        heavy_workers: of them, those that may be loading everything.
        container_prefix: before a node's name in its container's; another one lets two clusters share a machine.
        database: what the nodes' URL leads to, as people name it.
        open_files: that a node may have at once; never more than this machine lets Docker give.
    """

    name: ClusterName
    hostname: str = Field(min_length=1, max_length=255)
    host_id: UUID
    data_root: Path
    image: ImageReference
    network: Network
    socket_folder: Path | None = None
    ports: dict[NodeName, NewPort] = Field(default_factory=_default_ports)
    uid: int = Field(ge=0)
    gid: int = Field(ge=0)
    times: LeaseTimes = LeaseTimes()
    workers: int = Field(default=4, ge=1, le=64)
    heavy_workers: int = Field(default=2, ge=1, le=64)
    memory_bytes: int = Field(default=512 * 1024**2, ge=128 * 1024**2)
    container_prefix: NodePrefix = CONTAINER_PREFIX
    open_files: int = Field(default=65536, ge=1024)
    database: str = ""

    def container(self, node: str) -> str:
        """Return the name of a node's container."""
        return f"{self.container_prefix}{node}"


class ClusterFolder(Model):
    """The files of a cluster on its machine: ``<data_root>/.client-manager/clusters/<name>``."""

    path: Path

    @property
    def spec(self) -> Path:
        """What the cluster should be."""
        return self.path / "cluster.json"

    @property
    def database_url(self) -> Path:
        """The nodes' URL, with their password."""
        return self.path / "database.url"

    @property
    def token(self) -> Path:
        """The bearer token of the nodes' API."""
        return self.path / "token"

    @property
    def root_certificate(self) -> Path:
        """What the database's certificate is checked against, where that is no authority that every system knows."""
        return self.path / "root.crt"

    @property
    def state(self) -> Path:
        """The baselines of the clients, shared by both nodes: the only folder that they write to."""
        return self.path / "state"


def cluster_folder(data_root: Path, name: str) -> ClusterFolder:
    """Return where a cluster's files are."""
    return ClusterFolder(path=data_root / ".client-manager" / "clusters" / name)


class NodeOpinion(Model):
    """What a node says of itself when it is asked: ``/health``, or why it could not be asked."""

    node_name: str
    reachable: bool
    healthy: bool = False
    is_leader: bool = False
    leader_id: str | None = None
    term: int | None = None
    node_id: str | None = None
    problem: str = ""
    last_sync_age_s: float | None = None
    uptime_seconds: float | None = None


class ClusterState(Model):
    """A cluster as ``sync_metadata`` has it, read in one transaction.

    Attributes:
        jobs: under way, and the last that failed.
    """

    name: str
    hosts: tuple[Host, ...]
    nodes: tuple[SyncNode, ...]
    lease: Lease | None
    deployments: tuple[Deployment, ...]
    jobs: tuple[Job, ...]


class HealthFinding(Model):
    """One thing about a cluster that is as it should be, or not, and what to do about it."""

    severity: Literal["ok", "warning", "critical"]
    what: str
    hint: str = ""
