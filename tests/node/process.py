"""A real node for the tests: the command ``node run`` as a process of its own, with the files of a cluster."""

import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from client_manager.models.cluster import ClusterFolder, ClusterSpec, cluster_folder
from client_manager.models.sync import LeaseTimes
from tests.node.nodes import CLUSTER, add_host
from tests.ports import free_ports
from tests.waiting import until

TOKEN = "token-of-the-cluster-prod"
NODES = ("sync-node-a", "sync-node-b")
TIMES = LeaseTimes(ttl_s=3, renew_s=0.5, poll_s=0.2, margin_s=1)


@dataclass
class Machine:
    """The files of one machine: its clients, its cluster."""

    data_root: Path
    url: str
    spec: ClusterSpec

    @property
    def folder(self) -> ClusterFolder:
        return cluster_folder(self.data_root, self.spec.name)

    def database(self, client: str) -> Path:
        return self.data_root / client / "data" / "webui.db"

    def write_url(self, url: str) -> None:
        beside = self.folder.path / "database.url.new"
        beside.write_text(f"{url}\n")
        beside.replace(self.folder.database_url)


def machine(root: Path, url: str, *clients: str, own_url: str | None = None, cluster: str = CLUSTER) -> Machine:
    """Make a machine with its clients, each with a small database, registered in the cluster.

    Args:
        url: of the administrator.
        own_url: the nodes'.
    """
    data_root = root / "openwebui"
    host_id = add_host(url, *clients, cluster=cluster)
    spec = ClusterSpec(
        name=cluster, hostname=f"{cluster}-host", host_id=host_id, data_root=data_root, image="node:1", network="host",
        uid=0, gid=0, times=TIMES, ports=dict(zip(NODES, free_ports(2), strict=True)),
    )  # fmt: skip
    made = Machine(data_root, url, spec)
    made.folder.state.mkdir(parents=True)
    made.folder.spec.write_text(spec.model_dump_json())
    made.folder.token.write_text(f"{TOKEN}\n")
    made.write_url(own_url or url)
    for client in clients:
        path = made.database(client)
        path.parent.mkdir(parents=True)
        with sqlite3.connect(path) as connection:
            connection.executescript(
                "PRAGMA journal_mode=WAL; CREATE TABLE chat (id TEXT PRIMARY KEY, title TEXT);"
                "INSERT INTO chat VALUES ('1', 'first'), ('2', 'second');"
            )
        connection.close()
    return made


@dataclass
class RunningNode:
    """The process, every line that it wrote, and its API."""

    machine: Machine
    name: str
    arguments: tuple[str, ...] = ()
    lines: list[str] = field(default_factory=list)
    complaints: str = ""
    process: "subprocess.Popen[str]" = field(init=False)

    def start(self, environment: dict[str, str] | None = None) -> "RunningNode":
        command = [sys.executable, "-m", "client_manager", "node", "run", "--cluster-folder"]
        self.process = subprocess.Popen(
            [*command, str(self.machine.folder.path), "--node", self.name, *self.arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})},
        )  # fmt: skip
        self._threads = [threading.Thread(target=read, daemon=True) for read in (self._read, self._read_complaints)]
        for thread in self._threads:
            thread.start()
        return self

    def _read(self) -> None:
        assert self.process.stdout
        self.lines.extend(line.rstrip("\n") for line in self.process.stdout)

    def _read_complaints(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.complaints += line

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.machine.spec.ports[self.name]}"  # type: ignore[index]

    def request(self, method: str, path: str, body: object = None, token: str = TOKEN) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.request(method, self.base + path, json=body, headers=headers, timeout=10, trust_env=False)

    def health(self) -> dict[str, Any]:
        """What it says of itself, and with which status; nothing while it does not listen."""
        try:
            answer = httpx.get(f"{self.base}/health", timeout=5, trust_env=False)
        except httpx.TransportError:
            return {"http": 0}
        return {"http": answer.status_code, **answer.json()}

    def becomes(self, condition: Callable[[dict[str, Any]], Any], *, within_s: float = 20) -> dict[str, Any]:
        """Wait until its health is so."""

        def found() -> dict[str, Any] | None:
            assert self.process.poll() is None, self.told
            health = self.health()
            return health if condition(health) else None

        health: dict[str, Any] = until(found, within_s=within_s, what=f"{self.name}: {self.health()}")
        return health

    def leads(self, *, within_s: float = 20) -> dict[str, Any]:
        return self.becomes(lambda health: health["http"] == 200 and health["is_leader"], within_s=within_s)

    def follows(self, *, within_s: float = 20) -> dict[str, Any]:
        return self.becomes(lambda health: health["http"] == 200 and not health["is_leader"], within_s=within_s)

    @property
    def told(self) -> list[dict[str, Any]]:
        """Its log."""
        return [json.loads(line) for line in list(self.lines)]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.told if line["event"] == name]

    def metric(self, name: str, **labels: str) -> float | None:
        """The value of a series; None: there is none."""
        for line in self.request("GET", "/metrics").text.splitlines():
            series, _, value = line.rpartition(" ")
            if series.partition("{")[0] == name and all(f'{key}="{text}"' in series for key, text in labels.items()):
                return float(value)
        return None

    def wait(self, within_s: float = 30) -> int:
        """Its exit code, when all that it wrote is read."""
        code = self.process.wait(within_s)
        for thread in self._threads:
            thread.join(10)
        return code

    def stop(self) -> int:
        self.process.terminate()
        return self.wait()

    def end(self) -> None:
        """Whatever it does, it is gone afterwards."""
        if self.process.poll() is None:
            self.process.kill()
        self.wait()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream
            stream.close()
