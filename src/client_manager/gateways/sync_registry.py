"""Which clients belong to which machine: what only the console writes."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

import psycopg

from client_manager.errors import Conflict
from client_manager.gateways import queries
from client_manager.models.sync import STALE_AFTER_S

_SQL: Final = queries.load("registry")


class Registered(NamedTuple):
    """A row of a client, locked; ``host_id`` and what follows is of its machine, None where it has none."""

    client_name: str
    container_name: str
    sync_enabled: bool
    status: str | None
    host_id: UUID | None
    hostname: str | None
    cluster_name: str | None
    heartbeat_age_s: float | None


class SyncRegistry:
    """The rows of machines and of their clients, over one connection."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def lock(self, client: str, container: str) -> tuple[Registered, ...]:
        """Return the rows that have this client's name or its container's, held until the transaction ends."""
        rows = self._connection.execute(_SQL["lock_client"], {"client": client, "container": container})
        return tuple(Registered(*row) for row in rows)

    def register(self, client: str, host_id: UUID, values: Mapping[str, object], config: Mapping[str, object]) -> UUID:
        """Write the row of a client, disabled, and return its id.

        Args:
            client: its name.
            host_id: of its machine's row.
            values: ``container``, ``fqdn``, ``port`` and ``interval`` (seconds).
            config: is merged into what is there.
        """
        parameters = {"client": client, "host_id": host_id, "config": json.dumps(config), **values}
        row: Any = self._connection.execute(_SQL["register"], parameters).fetchone()
        return UUID(str(row[0]))

    def move(self, hosts: Sequence[UUID], host_id: UUID) -> tuple[str, ...]:
        """Give the clients of some rows to another; return their names."""
        found = self._connection.execute(_SQL["move_deployments"], {"from": list(hosts), "host_id": host_id})
        return tuple(str(name) for (name,) in found)

    def delete_host(self, host_id: UUID) -> bool:
        """Delete a machine's row; False where clients hang on it."""
        return self._connection.execute(_SQL["delete_host"], {"host_id": host_id}).fetchone() is not None

    def forget(self, lost: Sequence[UUID], replaced: Sequence[UUID] = ()) -> None:
        """Delete the rows of machines, with what is recorded of their nodes; within a transaction.

        Args:
            lost: they must not have been heard of for five minutes.
            replaced: what wrote them was replaced a moment ago.

        Raises:
            Conflict: one of them lives after all, or has a client again; the transaction is to be taken back.
        """
        parameters = {"hosts": list(lost), "stale_s": STALE_AFTER_S}
        silent = {host_id for (host_id,) in self._connection.execute(_SQL["lock_lost_hosts"], parameters)}
        if silent != set(lost) or not all(self.delete_host(host_id) for host_id in (*lost, *replaced)):
            raise Conflict(
                "The cluster's former machine is not lost.",
                why="It has given a sign of life, or a client was registered on it, a moment ago.",
                hint="Take the cluster down there first, or let the machine be lost for good.",
            )

    def quarantined(self, cluster: str) -> dict[str, int]:
        """Return client -> how many of its values its replica could not hold."""
        return dict(self._connection.execute(_SQL["count_quarantined"], {"cluster": cluster}).fetchall())
