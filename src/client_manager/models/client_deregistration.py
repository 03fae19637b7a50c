"""Taking one client's replication back: what there is of it, and what went."""

from pathlib import Path
from uuid import UUID

from client_manager.models.base import Model
from client_manager.models.client_sync import Paused


class ClientTraces(Model):
    """What the database holds of a client.

    Attributes:
        deployment_id: None where it is not registered.
        running, queued: jobs that are not over.
        originals: values and rows that the replica could not hold.
        generation: of the replica; None or 0: it has none.
        tables: of the replica.
        has_owner: whether the role is there that owns the replica.
    """

    deployment_id: UUID | None
    cluster_name: str | None
    hostname: str | None
    sync_enabled: bool
    status: str | None
    running: int
    queued: int
    jobs: int
    conflicts: int
    originals: int
    generation: int | None
    tables: tuple[str, ...]
    has_schema: bool
    replica_bytes: int
    has_owner: bool

    @property
    def has_replica(self) -> bool:
        """Whether replication has made the schema that is there."""
        return self.has_schema and bool(self.generation)


class Deregistered(Model):
    """A client that is registered no more.

    Attributes:
        before: what there was.
        paused: what was under way, and how it ended; None where it was not registered.
        nodes: the clusters' login roles that have no access to its replica any more.
        dropped_data: whether the replica is gone, and all that was kept of it; otherwise it can be registered again
            and goes on where it was.
        baselines: folders on this machine that are gone with the data.
        baselines_left: folders that could not be removed, with the reason.
    """

    client: str
    before: ClientTraces
    paused: Paused | None
    nodes: tuple[str, ...]
    dropped_data: bool
    baselines: tuple[Path, ...] = ()
    baselines_left: tuple[str, ...] = ()
