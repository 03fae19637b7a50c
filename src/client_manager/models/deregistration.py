"""Taking a cluster down: what was read of it, what stands in the way, what goes with it, and what is kept aside."""

from typing import Any, Final, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

from client_manager.models.base import Model
from client_manager.models.sync import STALE_AFTER_S

WayOut = Literal["disable", "migrate", "decommission"]
WAYS_OUT: Final[tuple[WayOut, ...]] = ("disable", "migrate", "decommission")
BUNDLE_FORMAT: Final = "client-manager cluster bundle"


class Circumstances(Model):
    """What of a cluster the operation has in its own hands.

    Attributes:
        here: the hostnames, as ``hosts`` has them, that are this machine.
        stops: the nodes on this machine that the operation stops before anything is deleted.
        lost_host: whether the operator says that the cluster's other machines are gone for good.
    """

    here: tuple[str, ...] = ()
    stops: tuple[str, ...] = ()
    lost_host: bool = False


class HostSeen(Model):
    """A machine of the cluster, or a row of the predecessor's, which has one for each node.

    Attributes:
        heartbeat_age_s: by the server's clock; None where it never gave a sign.
        is_node: whether the row is itself a node, as the predecessor wrote them.
        content: a digest of all of the row that nodes do not change by themselves.
    """

    host_id: UUID
    hostname: str
    heartbeat_age_s: float | None
    is_node: bool
    content: str

    @property
    def is_stale(self) -> bool:
        """Whether it has not been heard of for five minutes."""
        return self.heartbeat_age_s is None or self.heartbeat_age_s > STALE_AFTER_S


class NodeSeen(Model):
    """A node's row. ``cluster_name`` is another's where the row only hangs on one of the cluster's machines."""

    cluster_name: str
    node_name: str
    host_id: UUID
    hostname: str
    stopped: bool
    heartbeat_age_s: float

    @property
    def is_stale(self) -> bool:
        """Whether it has not been heard of for five minutes."""
        return self.heartbeat_age_s > STALE_AFTER_S


class LeaseSeen(Model):
    """A lease: the cluster's own, or another's that hangs on one of its machines.

    Attributes:
        leader: the node's name; of the predecessor's nodes, their id.
        hostname: of the machine that the leader runs on, None where the lease names none.
        valid: whether it had not run out, by the server's clock.
    """

    cluster_name: str
    leader: str
    hostname: str | None
    valid: bool


class ClientSeen(Model):
    """A registered client of the cluster; ``content`` is a digest of all of its row that a run does not change."""

    deployment_id: UUID
    client_name: str
    container_name: str
    host_id: UUID
    sync_enabled: bool
    last_sync_at: AwareDatetime | None
    status: str | None
    content: str


class JobSeen(Model):
    """A job of one of the clients that is not over."""

    job_id: UUID
    client_name: str
    status: Literal["queued", "running"]


class ClusterSnapshot(Model):
    """A cluster as it was at one moment: all that the guard is told.

    Attributes:
        hidden: tables of which the role may not see every row: what was read is then worth nothing.
        cascading: tables that would lose rows which nobody counted, because they hang on the cluster's.
        homeless: clients that are registered with no host at all, in no cluster.
        goes: table -> rows that the deregistration deletes.
        stays: table -> rows that tell of the cluster and outlive it.
    """

    cluster: str
    circumstances: Circumstances
    hidden: tuple[str, ...] = ()
    cascading: tuple[str, ...] = ()
    hosts: tuple[HostSeen, ...] = ()
    nodes: tuple[NodeSeen, ...] = ()
    leases: tuple[LeaseSeen, ...] = ()
    clients: tuple[ClientSeen, ...] = ()
    jobs: tuple[JobSeen, ...] = ()
    homeless: tuple[str, ...] = ()
    goes: dict[str, int] = Field(default_factory=dict)
    stays: dict[str, int] = Field(default_factory=dict)


class Blocker(Model):
    """One reason why the cluster may not go.

    Attributes:
        client: whose sync is the reason, where it is one.
        ways_out: what may be done with that client instead.
    """

    kind: Literal["enabled", "running", "leader", "alive", "elsewhere", "entangled", "hidden"]
    what: str
    hint: str
    client: ClientSeen | None = None
    ways_out: tuple[WayOut, ...] = ()


class DeregistrationDecision(Model):
    """Whether a cluster may go, and what goes with it.

    Attributes:
        blockers: why not; empty: it may.
        disabled: clients whose records go although they are registered; their sync is off.
        orphans: running jobs of a lost machine, which are closed first.
        leader: who leads now and is to be confirmed too, or None.
        fingerprint: of everything that would be deleted.
    """

    cluster: str
    blockers: tuple[Blocker, ...]
    warnings: tuple[str, ...]
    disabled: tuple[str, ...]
    orphans: tuple[UUID, ...]
    goes: dict[str, int]
    stays: dict[str, int]
    leader: str | None
    fingerprint: str

    @property
    def enabled(self) -> tuple[ClientSeen, ...]:
        """The clients whose sync stands in the way."""
        return tuple(blocker.client for blocker in self.blockers if blocker.kind == "enabled" and blocker.client)


class Confirmation(Model):
    """What the operator typed, and the fingerprint of what was on the screen then.

    Attributes:
        drop_replicas: whether the replicas of the clients go too; no bundle brings those back.
    """

    cluster: str
    leader: str | None
    fingerprint: str
    drop_replicas: bool = False


class Bundle(Model):
    """A cluster as it was, table by table.

    Attributes:
        schema_version: the last migration of the database that it comes from.
        tables: table -> rows, each PostgreSQL's own JSON of it; as text where a number in it has no exact float.
        settings: the cluster's ``cluster.json``, or None where this machine has none.
    """

    format: Literal["client-manager cluster bundle"] = BUNDLE_FORMAT
    version: Literal[1] = 1
    cluster: str
    made_at: AwareDatetime
    made_by: str
    made_with: str
    fingerprint: str
    schema_version: int
    tables: dict[str, tuple[dict[str, Any] | str, ...]]
    settings: dict[str, Any] | None


class DeregistrationReport(Model):
    """What a deregistration did.

    Attributes:
        bundle: where the file is that brings it back.
        deleted: table -> rows.
        stopped: the nodes that were stopped.
        notes: what an operator should know besides.
    """

    cluster: str
    bundle: str
    deleted: dict[str, int]
    kept: dict[str, int]
    stopped: tuple[str, ...]
    notes: tuple[str, ...] = ()


class RestoreReport(Model):
    """What a bundle brought back, or would.

    Attributes:
        restored: table -> rows that were written.
        present: table -> rows that were there already, and stay as they are.
        linked: table -> rows of history that belong to a restored client again.
        clashes: what of the bundle cannot come back beside what is there now, each in words.
        notes: what was not brought back on purpose.
    """

    cluster: str
    bundle: str
    dry_run: bool
    restored: dict[str, int]
    present: dict[str, int]
    linked: dict[str, int]
    clashes: tuple[str, ...]
    notes: tuple[str, ...]


class Destination(Model):
    """A machine of another cluster, which somebody leads."""

    cluster: str
    host_id: UUID
    hostname: str
    leader: str


class MoveReport(Model):
    """What moving a client's record did; ``enabled``: whether its sync is on, as it was before."""

    client: str
    source: str
    target: Destination
    enabled: bool
    notes: tuple[str, ...]
