"""Elections for the tests: as threads, and as processes of their own that can be killed or stopped.

Run as a module, it is one node: it reads its settings from standard input, takes part until SIGTERM, and writes a line
of JSON for every event and for every change of what ``Leadership.term`` says. All times are CLOCK_MONOTONIC, which the
processes of a machine share.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import psycopg
from pydantic import SecretStr

from client_manager.gateways.database import Database
from client_manager.models.cluster import ClusterFolder, ClusterSpec, NodeName
from client_manager.models.sync import LeaseTimes
from client_manager.node.election import Election
from client_manager.node.identity import Identity
from client_manager.node.leadership import Leadership
from tests.waiting import until

CLUSTER = "prod"
TIMES = LeaseTimes(ttl_s=2, renew_s=0.5, poll_s=0.2, margin_s=0.5)
_SAMPLE_S = 0.002


def add_host(url: str, *clients: str, cluster: str = CLUSTER) -> UUID:
    """Insert a machine with its clients, each with a replica's state."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(
            "INSERT INTO sync_metadata.hosts (hostname, cluster_name) VALUES (%s || '-host', %s) RETURNING host_id",
            [cluster, cluster],
        ).fetchone()
        assert row
        for client in clients:
            connection.execute(
                "INSERT INTO sync_metadata.client_deployments (host_id, client_name, container_name, sync_enabled)"
                " VALUES (%s, %s, 'openwebui-' || %s, true)",
                [row[0], client, client],
            )
            connection.execute("INSERT INTO sync_metadata.replication_state (client_name) VALUES (%s)", [client])
    host_id: UUID = row[0]
    return host_id


def ask(url: str, query: str, *parameters: object) -> list[Any]:
    """Run a statement, and return its rows."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query, parameters or None)
        return cursor.fetchall() if cursor.description else []


def lease(url: str) -> tuple[str, int] | None:
    """Who has the lease, valid or not, and with which term."""
    rows = ask(url, "SELECT leader_id, term FROM sync_metadata.leader_election WHERE cluster_name = %s", CLUSTER)
    return (rows[0][0], rows[0][1]) if rows else None


def identity(host_id: UUID, name: str, times: LeaseTimes = TIMES, cluster: str = CLUSTER) -> Identity:
    """A new process of a node."""
    folder = ClusterFolder(path=Path("/nowhere"))
    spec = ClusterSpec(
        name=cluster, hostname=f"{cluster}-host", host_id=host_id, data_root=Path("/nowhere"), image="node:1",
        network="host", uid=0, gid=0, times=times,
    )  # fmt: skip
    spec = spec.model_copy(update={"ports": {name: 9443}})
    return Identity(spec, folder, cast("NodeName", name))


@dataclass
class Node:
    """An election in a thread of this process."""

    identity: Identity
    url: str
    drain: Callable[[float], None] = lambda _: None
    leadership: Leadership = field(default_factory=Leadership)
    events: list[tuple[float, str, Mapping[str, object]]] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None

    def start(self) -> "Node":
        database = Database(SecretStr(self.url), application_name=self.identity.node_id)
        election = Election(self.identity, database, self.leadership, drain=self.drain, told=self._told)
        self.thread = threading.Thread(target=election.run, args=[self.stop], daemon=True)
        self.thread.start()
        return self

    def end(self) -> None:
        self.stop.set()
        if self.thread:
            self.thread.join(20)
            assert not self.thread.is_alive()

    def _told(self, event: str, fields: Mapping[str, object]) -> None:
        self.events.append((time.monotonic(), event, fields))

    def told(self, event: str) -> list[Mapping[str, object]]:
        """The fields of all events of this kind."""
        return [fields for _, name, fields in self.events if name == event]

    def leads(self) -> int | None:
        """The term that the node may write under now."""
        return self.leadership.term()


@contextmanager
def nodes(*members: Node) -> Iterator[tuple[Node, ...]]:
    """Start them, and stop them at the end."""
    try:
        yield tuple(node.start() for node in members)
    finally:
        for node in members:
            node.stop.set()
        for node in members:
            node.end()


class Process:
    """A node in a process of its own."""

    def __init__(self, host_id: UUID, name: str, url: str, times: LeaseTimes = TIMES) -> None:
        self.lines: list[dict[str, Any]] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.node.nodes"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        assert self._process.stdin
        settings = {"host_id": str(host_id), "name": name, "url": url, "times": times.model_dump()}
        self._process.stdin.write(json.dumps(settings))
        self._process.stdin.close()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        until(lambda: self.told("started"), within_s=30, what=f"{name} starts")

    def _read(self) -> None:
        assert self._process.stdout
        self.lines.extend(json.loads(line) for line in self._process.stdout)

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(10)
        self._reader.join(10)
        assert self._process.stdout
        self._process.stdout.close()

    def wait(self) -> int:
        return self._process.wait(20)

    def told(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == event]

    def terms(self) -> list[tuple[float, int | None]]:
        """When ``Leadership.term`` changed, and to what."""
        return [(line["at"], line["term"]) for line in self.told("term")]

    def leads(self) -> int | None:
        terms = self.terms()
        return terms[-1][1] if terms else None


@contextmanager
def processes(*started: Process) -> Iterator[tuple[Process, ...]]:
    """Kill them at the end."""
    try:
        yield started
    finally:
        for process in started:
            process.end()


def _main() -> None:
    settings = json.load(sys.stdin)
    leadership, stop, lock = Leadership(), threading.Event(), threading.Lock()

    def say(event: str, fields: Mapping[str, object]) -> None:
        line = json.dumps({"event": event, "at": time.monotonic(), **fields}, default=str)
        with lock:
            os.write(1, f"{line}\n".encode())

    def sample() -> None:
        last: object = "nothing"
        while not stop.wait(_SAMPLE_S):
            term, at = leadership.term(), time.monotonic()
            if term != last:
                last = term
                say("term", {"term": term, "asked_at": at})

    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=sample, daemon=True).start()
    who = identity(UUID(settings["host_id"]), settings["name"], LeaseTimes(**settings["times"]))
    database = Database(SecretStr(settings["url"]), application_name=who.node_id)
    election = Election(who, database, leadership, drain=lambda _: None, told=say)
    thread = threading.Thread(target=election.run, args=[stop])
    thread.start()
    say("started", {"node_id": who.node_id})
    thread.join()
    say("ended", {})


if __name__ == "__main__":
    _main()
