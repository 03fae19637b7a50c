"""A machine of a cluster: its clients with their databases, and a scheduler whose lead the test decides."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from pydantic import SecretStr

from client_manager.gateways.database import Database
from client_manager.models.cluster import ClusterFolder, ClusterSpec, NodeName, cluster_folder
from client_manager.models.sync import LeaseTimes
from client_manager.models.work import ClientWork
from client_manager.node.identity import Identity
from client_manager.node.leadership import Leadership
from client_manager.node.scheduler import Scheduler
from client_manager.replication import steps
from tests.replication.application import Application
from tests.replication.oracle import assert_equal, differences
from tests.waiting import until

CLUSTER = "prod"
TIMES = LeaseTimes(ttl_s=2, renew_s=0.5, poll_s=0.2, margin_s=0.5)
_TABLES = """
CREATE TABLE chat (id VARCHAR(255) PRIMARY KEY, title TEXT, chat JSON, updated_at BIGINT);
CREATE TABLE config (key TEXT PRIMARY KEY, value JSON);
"""


@dataclass
class Client:
    """A client; its application is a process of its own that keeps the database open, as a running one does."""

    name: str
    path: Path
    app: Application = field(init=False)

    def __post_init__(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.app = Application(self.path, "journal_mode = wal")
        self.app.script(_TABLES)
        self.app.run("INSERT INTO config VALUES ('name', ?)", [json.dumps(self.name)])

    def write(self, *ids: str, title: str = "a title") -> None:
        self.app.many("INSERT OR REPLACE INTO chat VALUES (?, ?, '{}', 1)", [(name, title) for name in ids])

    def fill(self, rows: int, size: int) -> None:
        """Make it large, so that a load takes its time."""
        self.app.run(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
            " INSERT INTO chat SELECT 'f' || i, hex(randomblob(?)), '{}', i FROM n",
            (rows, size // 2),
        )


@dataclass
class Machine:
    """The host, its clients, and what PostgreSQL knows of them."""

    url: str
    data_root: Path
    host_id: UUID
    clients: dict[str, Client] = field(default_factory=dict)

    def sql(self, statement: str, *parameters: object) -> list[Any]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    def add(self, name: str, *, interval_s: int = 1, enabled: bool = True, config: object = None) -> Client:
        """Make a client with a database, and register it."""
        client = self.clients[name] = Client(name, self.data_root / name / "data" / "webui.db")
        self.register(name, interval_s=interval_s, enabled=enabled, config=config)
        return client

    def register(self, name: str, *, interval_s: int = 1, enabled: bool = True, config: object = None) -> None:
        self.sql(
            "INSERT INTO sync_metadata.client_deployments (host_id, client_name, container_name, sync_enabled,"
            " sync_interval, config) VALUES (%s, %s, 'openwebui-' || %s, %s, %s, %s::jsonb)",
            self.host_id, name, name, enabled, interval_s, json.dumps(config or {}),
        )  # fmt: skip

    def set(self, name: str, what: str, value: object) -> None:
        self.sql(f"UPDATE sync_metadata.client_deployments SET {what} = %s WHERE client_name = %s", value, name)

    def enqueue(self, name: str, sync_type: str = "incremental") -> UUID:
        [(job_id,)] = self.sql(
            "INSERT INTO sync_metadata.sync_jobs"
            " (deployment_id, client_name, status, sync_type, triggered_by, queued_at)"
            " SELECT deployment_id, client_name, 'queued', %s, 'the test', clock_timestamp()"
            " FROM sync_metadata.client_deployments WHERE client_name = %s RETURNING job_id",
            sync_type, name,
        )  # fmt: skip
        found: UUID = job_id
        return found

    def job(self, job_id: UUID) -> tuple[str, str | None]:
        query = "SELECT status, error_message FROM sync_metadata.sync_jobs WHERE job_id = %s"
        [(status, error)] = self.sql(query, job_id)
        return status, error

    def jobs(self, name: str) -> list[tuple[str, str]]:
        return self.sql(
            "SELECT status, sync_type FROM sync_metadata.sync_jobs WHERE client_name = %s ORDER BY started_at", name
        )

    def cancel(self, job_id: UUID) -> None:
        self.sql("UPDATE sync_metadata.sync_jobs SET cancel_requested_at = clock_timestamp() WHERE job_id = %s", job_id)

    def is_equal(self, name: str) -> bool:
        return not self.differences(name)

    def differences(self, name: str) -> list[str]:
        return differences(self.clients[name].path, self.url, name)

    def assert_equal(self, *names: str) -> None:
        for name in names or self.clients:
            assert_equal(self.clients[name].path, self.url, name)

    def generation(self, name: str) -> int:
        found = self.sql("SELECT generation FROM sync_metadata.replication_state WHERE client_name = %s", name)
        return int(found[0][0]) if found else 0

    def fence(self, term: int, *names: str) -> None:
        """Do what a leader does before it leads."""
        for name in names or self.clients:
            self.sql(
                "INSERT INTO sync_metadata.replication_state (client_name, fence) VALUES (%s, %s)"
                " ON CONFLICT (client_name) DO UPDATE SET fence = excluded.fence",
                name, term,
            )  # fmt: skip


@dataclass
class Node:
    """A node whose election is the test."""

    machine: Machine
    name: NodeName = "sync-node-a"
    workers: int = 4
    heavy_workers: int = 2
    verify_every_s: float = 86_400
    url: str | None = None
    leadership: Leadership = field(default_factory=Leadership)
    events: list[tuple[str, Mapping[str, object]]] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    identity: Identity = field(init=False)
    scheduler: Scheduler = field(init=False)
    thread: threading.Thread = field(init=False)
    failure: BaseException | None = None

    def __post_init__(self) -> None:
        machine = self.machine
        spec = ClusterSpec(
            name=CLUSTER, hostname="prod-host", host_id=machine.host_id, data_root=machine.data_root, image="node:1",
            network="host", uid=0, gid=0, times=TIMES, workers=self.workers, heavy_workers=self.heavy_workers,
        )  # fmt: skip
        folder: ClusterFolder = cluster_folder(machine.data_root, CLUSTER)
        self.identity = Identity(spec, folder, self.name)
        database = Database(SecretStr(self.url or machine.url), application_name=self.identity.node_id)
        self.scheduler = Scheduler(
            self.identity, database, self.leadership, told=self._told, verify_every_s=self.verify_every_s
        )
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self.scheduler.run(self.stop)
        except BaseException as error:
            self.failure = error
            raise

    def _told(self, event: str, fields: Mapping[str, object]) -> None:
        self.events.append((event, fields))

    def told(self, event: str, client: str | None = None) -> list[Mapping[str, object]]:
        found = [fields for name, fields in self.events if name == event]
        return found if client is None else [fields for fields in found if fields.get("client") == client]

    def lead(self, term: int) -> None:
        """Take the lease, and say so, as the election does."""
        self.machine.sql(
            "INSERT INTO sync_metadata.leader_election AS l (cluster_name, leader_id, leader_name, leader_host_id,"
            " acquired_at, expires_at, term) VALUES (%s, %s, %s, %s, clock_timestamp(), clock_timestamp() + '1 h', %s)"
            " ON CONFLICT (cluster_name) DO UPDATE SET leader_id = excluded.leader_id, term = excluded.term",
            CLUSTER, self.identity.node_id, self.name, self.machine.host_id, term,
        )  # fmt: skip
        self.machine.fence(term)
        self.leadership.update(term=term, leads=True, leads_until=float("inf"), leader_id=self.identity.node_id)

    def lose(self) -> None:
        self.leadership.update(leads=False, leads_until=float("-inf"))

    def client(self, name: str) -> ClientWork:
        return next(work for work in self.scheduler.snapshot().clients if work.client == name)

    def is_running(self, name: str) -> bool:
        return any(run.client == name for run in self.scheduler.snapshot().running)

    def synced(self, *names: str, within_s: float = 30) -> None:
        """Wait until the replicas are what the sources are, by the oracle."""
        for name in names or tuple(self.machine.clients):
            until(partial(self.machine.is_equal, name), within_s=within_s, what=f"{name} is replicated")


@contextmanager
def running(node: Node) -> Iterator[Node]:
    """Start the scheduler, and stop it at the end; a thread that died fails the test."""
    node.thread.start()
    try:
        yield node
    finally:
        node.stop.set()
        node.lose()
        node.thread.join(20)
    assert not node.thread.is_alive()
    assert node.failure is None


@contextmanager
def paused(label: str) -> Iterator["Pause"]:
    """Let the next run that reaches a labelled step wait there until it is told to go on."""
    pause = Pause(label)
    steps.on_reach = pause.reach
    try:
        yield pause
    finally:
        steps.on_reach = None
        pause.go.set()


@dataclass
class Pause:
    label: str
    here: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)

    def reach(self, label: str) -> None:
        if label == self.label:
            self.here.set()
            assert self.go.wait(20)

    def wait(self) -> None:
        assert self.here.wait(20), f"no run reaches {self.label}"


@contextmanager
def locked(url: str, statement: str) -> Iterator[Callable[[], None]]:
    """Hold a lock in another session; yields what lets it go."""
    with psycopg.connect(url) as connection:
        connection.execute(statement.encode())
        yield connection.rollback
