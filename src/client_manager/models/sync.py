"""What ``sync_metadata`` holds: machines, nodes, the lease, clients and their jobs. Ages are by the server's clock."""

from typing import Any, Final, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

from client_manager.models.base import Model

JobStatus = Literal["queued", "running", "success", "failed", "cancelled"]
SyncType = Literal["full", "incremental", "manual", "verify"]
DeploymentStatus = Literal["active", "paused", "migrating", "stopped"]

NODE_NAMES: Final = ("sync-node-a", "sync-node-b")
STALE_AFTER_S: Final = 300  # a host that was not heard of for so long is taken for lost
_PREDECESSOR_ENDINGS: Final = ("-node-a", "-node-b", "-primary", "-secondary")


class Host(Model):
    """A machine of a cluster, or a row of the predecessor's, which has one for each node.

    Attributes:
        deployments, enabled: clients on it, and those of them that are replicated.
    """

    host_id: UUID
    hostname: str
    ip_address: str | None
    cluster_name: str
    status: str | None
    last_heartbeat: AwareDatetime | None
    heartbeat_age_s: float | None
    metadata: dict[str, Any] | None
    deployments: int
    enabled: int

    @property
    def is_predecessor_node(self) -> bool:
        """Whether a node of the shell predecessor wrote it."""
        return not self.metadata and self.hostname.endswith(_PREDECESSOR_ENDINGS)

    @property
    def is_stale(self) -> bool:
        """Whether it has not been heard of for five minutes."""
        return self.heartbeat_age_s is None or self.heartbeat_age_s > STALE_AFTER_S


class SyncNode(Model):
    """A node as it last described itself.

    Attributes:
        clock_skew_seconds: the server's clock less the node's.
        leader_seen, term_seen: what the node itself thinks.
    """

    cluster_name: str
    node_name: str
    host_id: UUID
    hostname: str
    boot_id: UUID
    api_port: int | None
    version: str
    started_at: AwareDatetime
    last_heartbeat: AwareDatetime
    stopped_at: AwareDatetime | None
    heartbeat_age_s: float
    clock_skew_seconds: float | None
    leader_seen: str | None
    term_seen: int | None

    @property
    def is_stale(self) -> bool:
        """Whether it has not been heard of for five minutes."""
        return self.heartbeat_age_s > STALE_AFTER_S


class Lease(Model):
    """The lease of a cluster; ``seconds_left`` below zero: it has run out."""

    cluster_name: str
    leader_id: str
    leader_name: str | None
    leader_host_id: UUID | None
    term: int
    acquired_at: AwareDatetime
    expires_at: AwareDatetime
    wanted_name: str | None
    wanted_at: AwareDatetime | None
    seconds_left: float

    @property
    def is_valid(self) -> bool:
        """Whether somebody leads."""
        return self.seconds_left > 0

    @property
    def leader(self) -> str:
        """The leader's name for people."""
        return self.leader_name or self.leader_id


class Deployment(Model):
    """A client as the sync system knows it.

    Attributes:
        host_id, hostname, cluster_name: None where the row has no host.
        sync_interval: seconds.
        config: ``sqlite_path`` of the client's database on its host, and what others have put there.
        lag_s: since the replica was last known to be what the source was.
        generation, fence, replica_status, replica_reason, verified_at: of the replica, None before its first run.
        quarantined: values and rows that do not fit PostgreSQL.
        open_conflicts: rows that wait for an operator's decision.
    """

    deployment_id: UUID
    host_id: UUID | None
    hostname: str | None
    cluster_name: str | None
    client_name: str
    container_name: str
    fqdn: str | None
    port: int | None
    database_type: str | None
    sync_enabled: bool
    sync_interval: int
    last_sync_at: AwareDatetime | None
    last_sync_status: str | None
    next_sync_at: AwareDatetime | None
    status: str | None
    config: dict[str, Any] | None
    created_at: AwareDatetime | None
    lag_s: float | None
    generation: int | None
    fence: int | None
    replica_status: str | None
    replica_reason: str | None
    verified_at: AwareDatetime | None
    quarantined: int = 0
    open_conflicts: int = 0


class Job(Model):
    """A run of replication: waiting, under way, or over. ``started_at`` of a waiting one is since when it waits."""

    job_id: UUID
    client_name: str
    status: JobStatus
    sync_type: str | None
    triggered_by: str | None
    queued_at: AwareDatetime | None
    started_at: AwareDatetime | None
    completed_at: AwareDatetime | None
    tables_total: int | None
    tables_synced: int | None
    rows_synced: int | None
    rows_failed: int | None
    duration_seconds: float | None
    bytes_transferred: int | None
    error_message: str | None
    node_name: str | None
    term: int | None
    cancel_requested_at: AwareDatetime | None

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status not in {"queued", "running"}


class TableProgress(Model):
    """How far one table of a job is."""

    table_name: str
    rows_total: int | None
    rows_processed: int | None
    rows_failed: int | None
    status: str | None


class Conflict(Model):
    """A row that was not the same on both sides, with both."""

    log_id: UUID
    client_name: str
    table_name: str
    record_id: str | None
    conflict_type: str
    resolution_strategy: str | None
    detected_at: AwareDatetime | None
    resolved_at: AwareDatetime | None
    resolved_by: str | None
    resolution_notes: str | None
    source_data: Any
    target_data: Any


class LeaseTimes(Model):
    """The times of the election, in seconds.

    A leader stops by itself when its last renewal is ``ttl_s`` less ``margin_s`` old, before anybody else may lead.
    """

    ttl_s: float = Field(default=8, ge=1, le=300)
    renew_s: float = Field(default=2, gt=0)
    poll_s: float = Field(default=1, gt=0)
    margin_s: float = Field(default=2, gt=0)
