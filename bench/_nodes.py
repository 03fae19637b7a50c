"""A cluster of node processes on this machine, its server and its clients, for the benchmarks of failover and fleet."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cluster import Cluster as Server
from psycopg.types.json import Jsonb
from pydantic import SecretStr

import _paths  # noqa: F401
from client_manager.database.migrations import migrate
from client_manager.gateways import sync_roles
from client_manager.gateways.cluster_files import ClusterFiles
from client_manager.gateways.database import Database
from client_manager.gateways.sync_store import SyncStore
from client_manager.models.cluster import ClusterSpec, NodeName

NAME: Final = "bench"
DATABASE: Final = "nodes"
NODES: Final[tuple[NodeName, NodeName]] = ("sync-node-a", "sync-node-b")
CONNECTIONS: Final = 60


def wait_until(what: str, done: Callable[[], Any], deadline_s: float = 60, every_s: float = 0.02) -> Any:  # noqa: ANN401
    """Wait for a condition, and return what it gave.

    Raises:
        TimeoutError: it did not come true.
    """
    end = time.monotonic() + deadline_s
    while not (found := done()):
        if time.monotonic() > end:
            raise TimeoutError(f"not within {deadline_s:g} s: {what}")
        time.sleep(every_s)
    return found


@dataclass
class Process:
    """A node: ``client-manager node run`` in a process of its own, its log in a file."""

    name: NodeName
    port: int
    folder: Path
    log: Path
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        """Start it."""
        command = [str(Path(sys.executable).with_name("client-manager")), "node", "run"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--cluster-folder", str(self.folder), "--node", self.name], stdout=log, stderr=log
            )

    def signal(self, number: signal.Signals) -> float:
        """Send it a signal; returns when, in seconds of the epoch."""
        at = time.time()
        self.process.send_signal(number)
        return at

    def end(self) -> None:
        """See to it that it is gone."""
        if self.process.poll() is None:
            with suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()

    def health(self) -> Mapping[str, Any] | None:
        """Return what it says of itself if it says that it is well."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
        try:
            connection.request("GET", "/health")
            answer = connection.getresponse()
            said = json.loads(answer.read())
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        return said if answer.status == http.HTTPStatus.OK else None


@dataclass
class Cluster:
    """What is measured."""

    server: Server
    spec: ClusterSpec
    nodes: dict[NodeName, Process]

    def connect(self) -> Any:  # noqa: ANN401  a context manager of psycopg's
        """Open a superuser's connection that commits every statement."""
        return self.server.connect(DATABASE)

    def settled(self) -> str | None:
        """Return the leader if all nodes are well and agree on it."""
        leaders = {said["leader_id"] if (said := node.health()) else None for node in self.nodes.values()}
        return leaders.pop() if len(leaders) == 1 else None

    def leader(self) -> Process:
        """Wait until all is well, and return the leader."""
        leader: str = wait_until("all nodes are well and agree on the leader", self.settled)
        name = leader.partition("/")[0]
        return next(node for key, node in self.nodes.items() if key == name)

    def register(self, clients: Mapping[str, Path], interval_s: int) -> None:
        """Register clients, as the console does."""
        with sync_roles.of(Database(SecretStr(self.server.url(DATABASE)))) as roles:
            for name in clients:
                roles.ensure_owner(name, NAME)
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO sync_metadata.client_deployments (host_id, client_name, container_name, sync_enabled,"
                " sync_interval, next_sync_at, config) VALUES (%s, %s, %s, true, %s, now(), %s)",
                [
                    (self.spec.host_id, name, f"openwebui-{name}", interval_s, Jsonb({"sqlite_path": str(path)}))
                    for name, path in clients.items()
                ],
            )

    def enqueue(self, clients: Sequence[str]) -> None:
        """Queue a run of each client."""
        with self.connect() as connection:
            for name in clients:
                SyncStore(connection).enqueue(name, full=False, triggered_by="bench")


@contextmanager
def folder(prefix: str) -> Iterator[str]:
    """Make a folder that the server's own account may pass through, gone at the end."""
    with tempfile.TemporaryDirectory(prefix=prefix) as made:
        Path(made).chmod(0o711)
        yield made


@contextmanager
def running(server: Server, folder: Path, names: Sequence[NodeName] = NODES) -> Iterator[Cluster]:
    """A migrated database, a cluster without clients, and its nodes; the nodes are gone at the end."""
    server.create(DATABASE)
    migrate(Database(SecretStr(server.url(DATABASE))))
    with server.connect(DATABASE) as connection:
        host = SyncStore(connection).upsert_host(NAME, socket.gethostname(), {"bench": True}, None)
    spec = ClusterSpec(
        name=NAME,
        hostname=socket.gethostname(),
        host_id=host,
        data_root=folder,
        image="none:none",
        network="host",
        ports=dict(zip(NODES, _free_ports(len(NODES)), strict=True)),
        uid=os.getuid(),
        gid=os.getgid(),
    )
    files = ClusterFiles(folder)
    files.prepare(spec)
    files.write(spec)
    files.ensure_token(spec)
    files.write_url(spec, SecretStr(_login(server)))
    with ExitStack() as stack:
        nodes = {
            name: Process(name, spec.ports[name], files.folder(NAME).path, folder / f"{name}.log") for name in names
        }
        for node in nodes.values():
            node.start()
            stack.callback(node.end)
        yield Cluster(server, spec, nodes)


def _login(server: Server) -> str:
    """Make the nodes' role; this server trusts whoever reaches it."""
    with sync_roles.of(Database(SecretStr(server.url(DATABASE)))) as roles:
        roles.ensure_node(NAME, CONNECTIONS)
    return f"postgresql://{sync_roles.node_role(NAME)}@127.0.0.1:{server.port}/{DATABASE}"


def _free_ports(many: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(many)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
