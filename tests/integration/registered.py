"""Clusters as their nodes would have registered them, written by plain SQL, and what is left of them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from pydantic import SecretStr

from client_manager.app import App
from client_manager.models.deregistration import Circumstances, Confirmation, DeregistrationDecision
from client_manager.models.operation import Progress
from client_manager.settings import Settings
from client_manager.workflows.deregister_cluster import Nodes

TABLES = (
    *("hosts", "sync_nodes", "leader_election", "client_deployments", "replication_state"),
    *("sync_jobs", "sync_progress", "conflict_log", "cache_events", "quarantine"),
)
NODES = ("sync-node-a", "sync-node-b")


def app_on(url: str, tmp_path: Path) -> App:
    """The console on a database, with a data root of its own."""
    return App(Settings(data_root=tmp_path / "root", state_dir=tmp_path / "state", database_url=SecretStr(url)))


@dataclass
class Registered:
    """What a test writes into ``sync_metadata``, past every gateway."""

    connection: Any
    hosts: dict[str, Any] = field(default_factory=dict)

    def cluster(self, name: str, hostname: str = "machine", *, age_s: float = 1, leader: str | None = None) -> Any:
        """A machine with two nodes, heard of so long ago; one of them leads where it is named."""
        host = self.one(
            "INSERT INTO sync_metadata.hosts (hostname, cluster_name, metadata, last_heartbeat)"
            " VALUES (%s, %s, '{\"nodes\": 2}', clock_timestamp() - make_interval(secs => %s)) RETURNING host_id",
            [hostname, name, age_s],
        )
        self.hosts[name] = host
        for node in NODES:
            self.connection.execute(
                "INSERT INTO sync_metadata.sync_nodes (cluster_name, node_name, host_id, boot_id, version,"
                " last_heartbeat)"
                " VALUES (%s, %s, %s, gen_random_uuid(), '1', clock_timestamp() - make_interval(secs => %s))",
                [name, node, host, age_s],
            )
        if leader:
            self.lease(name, leader)
        return host

    def lease(self, cluster: str, leader: str, *, left_s: float = 60, term: int = 7, host: Any = None) -> None:
        self.connection.execute(
            "INSERT INTO sync_metadata.leader_election (cluster_name, leader_id, leader_name, leader_host_id,"
            " acquired_at, expires_at, term) VALUES (%s, %s, %s, %s, clock_timestamp() - interval '1 hour',"
            " clock_timestamp() + make_interval(secs => %s), %s)",
            [cluster, f"{leader}/boot", leader, host or self.hosts[cluster], left_s, term],
        )

    def client(self, name: str, cluster: str | None, *, enabled: bool = False, **columns: Any) -> Any:
        """A registered client; a cluster of None is a row without a host."""
        host = self.hosts[cluster] if cluster else None
        values = {"status": "active" if enabled else "paused", "config": '{"sqlite_path": "/x/webui.db"}', **columns}
        return self.one(
            sql.SQL(
                "INSERT INTO sync_metadata.client_deployments (client_name, container_name, host_id, sync_enabled, {})"
                " VALUES ({}) RETURNING deployment_id"
            ).format(
                sql.SQL(", ").join(map(sql.Identifier, values)),
                sql.SQL(", ").join(sql.Placeholder() * (4 + len(values))),
            ),
            [name, f"openwebui-{name}", host, enabled, *values.values()],
        )

    def history(self, client: str) -> None:
        """A job that is over with a table's progress, a conflict, the state of the replica, a value in quarantine."""
        job = self.job(client, "success")
        self.connection.execute(
            "INSERT INTO sync_metadata.sync_progress (job_id, table_name, status) VALUES (%s, 'user', 'success')", [job]
        )
        self.connection.execute(
            "INSERT INTO sync_metadata.conflict_log"
            " (deployment_id, client_name, table_name, conflict_type, source_data)"
            " SELECT deployment_id, client_name, 'user', 'custom', '{\"n\": 1.10, \"name\": \"Zoë\"}'"
            " FROM sync_metadata.client_deployments WHERE client_name = %s",
            [client],
        )
        self.connection.execute(
            "INSERT INTO sync_metadata.replication_state (client_name, generation, fence) VALUES (%s, 5, 6)", [client]
        )
        self.connection.execute(
            "INSERT INTO sync_metadata.quarantine (client_name, table_name, row_key, sqlite_type, raw, kind, reason,"
            " generation) VALUES (%s, 'user', '1', 'text', '\\x00', 'quarantined', 'r', 1)",
            [client],
        )

    def job(self, client: str, status: str) -> Any:
        return self.one(
            "INSERT INTO sync_metadata.sync_jobs (deployment_id, client_name, status, duration_seconds)"
            " SELECT deployment_id, client_name, %s, 1.10 FROM sync_metadata.client_deployments WHERE client_name = %s"
            " RETURNING job_id",
            [status, client],
        )

    def enable(self, client: str) -> None:
        self.connection.execute(
            "UPDATE sync_metadata.client_deployments SET sync_enabled = true WHERE client_name = %s", [client]
        )

    def one(self, query: Any, parameters: Any = None) -> Any:
        return self.connection.execute(query, parameters).fetchone()[0]

    def count(self, table: str) -> int:
        return int(self.one(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier("sync_metadata", table))))

    def rows(self) -> dict[str, list[Any]]:
        """Every row of every table, as PostgreSQL's own JSON."""
        self.connection.execute("SET timezone = 'UTC'")
        return {
            table: [
                row
                for (row,) in self.connection.execute(
                    sql.SQL("SELECT to_jsonb(t) FROM {} t ORDER BY 1").format(sql.Identifier("sync_metadata", table))
                )
            ]
            for table in TABLES
        }


def connected(url: str) -> Any:
    return psycopg.connect(url, autocommit=True)


def here(hostname: str = "machine", stops: tuple[str, ...] = NODES) -> Circumstances:
    """The machine is this one, and its nodes are stopped by the operation."""
    return Circumstances(here=(hostname,), stops=stops)


def confirm(decision: DeregistrationDecision) -> Confirmation:
    return Confirmation(cluster=decision.cluster, leader=decision.leader, fingerprint=decision.fingerprint)


@dataclass
class FakeNodes:
    """Stands where the nodes' containers would, and remembers what was done to them."""

    circumstances: Circumstances = field(default_factory=here)
    done: list[str] = field(default_factory=list)
    meanwhile: Any = None  # called while they are being stopped

    def nodes(self) -> Nodes:
        return Nodes(
            circumstances=self.circumstances,
            stop=self._stop,
            start_again=lambda: self.done.append("started again"),
            remove=lambda: self.done.append("removed"),
        )

    def _stop(self) -> tuple[str, ...]:
        self.done.append("stopped")
        if self.meanwhile:
            self.meanwhile()
        return self.circumstances.stops


def silent(progress: Progress) -> None:
    del progress
