"""A whole cluster on one machine: server, two nodes, two tenants; what is done to it, and what must be so then."""

import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from psycopg.types.json import Jsonb
from pydantic import SecretStr

from client_manager.gateways import sync_roles
from client_manager.gateways.cluster_files import ClusterFiles
from client_manager.gateways.database import Database
from client_manager.gateways.sync_store import SyncStore
from client_manager.models.cluster import ClusterFolder, ClusterSpec, NodeName
from client_manager.models.sync import LeaseTimes
from tests.chaos import server
from tests.chaos.audit import Term
from tests.chaos.clients import Client
from tests.chaos.containers import node_config
from tests.chaos.health import Truth
from tests.chaos.nodes import Node, wait_until
from tests.chaos.story import Story

NAMES: Final[tuple[NodeName, NodeName]] = ("sync-node-a", "sync-node-b")
CLIENTS: Final = 2
INTERVAL_S: Final = 1
CONNECTIONS: Final = 40
_STATE_MIB: Final = 96


@dataclass
class Cluster:
    """Everything of one cluster.

    Attributes:
        calm: nothing is done to it but what ``up``, ``alive`` and ``linked`` tell.
    """

    api: Any
    spec: ClusterSpec
    folder: ClusterFolder
    server: server.Server
    nodes: dict[NodeName, Node]
    clients: list[Client]
    image: str
    up: Story = field(default_factory=Story)
    calm: Story = field(default_factory=Story)

    @property
    def network(self) -> str:
        """The bridge that server and nodes are on."""
        return self.spec.container_prefix.rstrip("-")

    @property
    def times(self) -> LeaseTimes:
        return self.spec.times

    @property
    def grace_s(self) -> float:
        """How long a node may say what is no longer so."""
        return self.times.ttl_s + self.times.poll_s + 1

    def truth(self) -> Truth:
        terms = self.server.read_audit().terms()
        return Truth(terms, self.up, self.calm, self.grace_s, self.times.poll_s + 1)

    def term(self) -> Term | None:
        """Who leads now, by the server's own record."""
        terms = self.server.read_audit().terms()
        return terms[-1] if terms and terms[-1].ended > time.time() else None

    def leader(self) -> Node:
        """The node that leads; waits for one."""
        term: Term = wait_until("somebody leads", self.term)
        return self.node_of(term)

    def node_of(self, term: Term) -> Node:
        name = term.leader_id.partition("/")[0]
        return next(node for key, node in self.nodes.items() if key == name)

    def other(self, node: Node) -> Node:
        return next(other for other in self.nodes.values() if other is not node)

    def ask_for_runs(self) -> None:
        """Queue a run of every client, as the console does."""
        with self.server.connect() as connection:
            for client in self.clients:
                assert SyncStore(connection).enqueue(client.name, full=False, triggered_by="chaos")

    def is_loaded(self) -> bool:
        """Whether every client has a replica."""
        return {client.name for client in self.clients} <= {
            row.client for row in self.server.read_audit().writes if row.advanced
        }

    def settle(self, deadline_s: float = 60) -> None:
        """Wait until both nodes say that all is well and name the leader whom the server knows."""
        try:
            wait_until("both nodes are healthy and agree", self._settled, deadline_s)
        except AssertionError as error:
            error.add_note(self.story())
            raise

    def story(self) -> str:
        """What the nodes have said lately, for whoever has to find out what went wrong."""
        return "\n".join(f"--- {node.name}: {node.said()}\n{node.events()}" for node in self.nodes.values())

    def _settled(self) -> bool:
        term = self.term()
        if term is None:
            return False
        said = [node.said() for node in self.nodes.values()]
        return all(
            sample is not None
            and sample.status == 200
            and sample.body["leader_id"] == term.leader_id
            and sample.sent > term.begun
            and sample.received > time.time() - 2
            for sample in said
        )

    def mend(self) -> None:
        """Undo whatever was done; what is well is left alone."""
        if not self.server.runs:
            self.server.start()
        self.up.tell(so=True)
        for node in self.nodes.values():
            self._mend(node)
        if not self.calm.now:
            self.calm.tell(so=True)

    def _mend(self, node: Node) -> None:
        node.disarm()
        if not node.linked.now:
            with suppress(Exception):
                node.let_packets_through()
            with suppress(Exception):
                node.join()
            node.linked.tell(so=True)
        if not node.runs:
            node.start()
        elif not node.alive.now:  # it may be frozen
            node.send(signal.SIGCONT)

    def add_node(self, name: NodeName, *, beside: str = "", image: str = "", variables: Sequence[str] = ()) -> Node:
        """Make one node's container in place of the one that is there, or beside it."""
        node = Node(
            self.api,
            name,
            self.spec.container(name) + beside,
            self.network,
            f"{self.server.address.rpartition('.')[0]}.{20 + NAMES.index(name) + 10 * bool(beside)}",
            self.server.address,
            self.spec.ports[name],
            self.folder.path.parents[2] / "chaos" / f"{name}{beside}",
        )
        node.create(node_config(self.spec, self.folder, node, image or self.image, variables))
        return node

    def url(self) -> str:
        """The nodes' own."""
        found = ClusterFiles(self.spec.data_root).url(self.spec.name)
        assert found
        return found.get_secret_value()

    def write_url(self, url: str) -> None:
        """Give the nodes another URL, as the console does."""
        ClusterFiles(self.spec.data_root).write_url(self.spec, SecretStr(url))


@contextmanager
def running(api: Any, image: str, times: LeaseTimes) -> Iterator[Cluster]:
    """A cluster that replicates two tenants that write; gone at the end."""
    name = f"chaos-{secrets.token_hex(4)}"
    root = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    root.chmod(0o755)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, root)
        prefix = stack.enter_context(server.network(api, f"openwebui-{name}"))
        database = stack.enter_context(
            server.running(api, f"{name}-postgres", f"openwebui-{name}", f"{prefix}.10", root / "postgres")
        )
        clients = [
            Client(f"{name}-{place}", root / f"{name}-{place}" / "data" / "webui.db", seed)
            for seed, place in enumerate("ab")
        ]
        spec = _registered(database, name, root, image, times, clients)
        files = ClusterFiles(root)
        files.prepare(spec)
        stack.enter_context(server.memory_folder(files.folder(name).state, _STATE_MIB))
        files.write(spec)
        files.ensure_token(spec)
        cluster = Cluster(api, spec, files.folder(name), database, {}, clients, image)
        cluster.write_url(_roles(database, spec, clients))
        for client in clients:
            stack.callback(client.kill_writer)
            client.begin_writing()
        for node_name in NAMES:
            node = cluster.nodes[node_name] = cluster.add_node(node_name)
            stack.callback(node.remove)
            node.start()
        cluster.settle()
        wait_until("every client is loaded", cluster.is_loaded, 60)
        yield cluster


def _registered(  # noqa: PLR0913, PLR0917  what a cluster is made of
    database: server.Server, name: str, root: Path, image: str, times: LeaseTimes, clients: Sequence[Client]
) -> ClusterSpec:
    """Write the rows of the machine and of its clients, and return what the cluster should be."""
    with database.connect() as connection:
        host = SyncStore(connection).upsert_host(name, name, {"chaos": True}, None)
        for client in clients:
            connection.execute(
                "INSERT INTO sync_metadata.client_deployments (host_id, client_name, container_name, sync_enabled,"
                " sync_interval, next_sync_at, config) VALUES (%s, %s, %s, true, %s, now(), %s)",
                (host, client.name, f"openwebui-{client.name}", INTERVAL_S, Jsonb({"sqlite_path": str(client.path)})),
            )
    return ClusterSpec(
        name=name,
        hostname=name,
        host_id=host,
        data_root=root,
        image=image,
        network="bridge",
        uid=0,
        gid=0,
        times=times,
        container_prefix=f"openwebui-{name}-",
        open_files=1024,
    )


def _roles(database: server.Server, spec: ClusterSpec, clients: Sequence[Client]) -> str:
    """Make the roles as the console does; returns the nodes' URL."""
    password = sync_roles.new_password()
    with sync_roles.of(Database(SecretStr(database.url))) as roles:
        roles.ensure_node(spec.name, CONNECTIONS)
        roles.set_password(spec.name, password)
        for client in clients:
            roles.ensure_owner(client.name, spec.name)
    return database.url_of(sync_roles.node_role(spec.name), password.get_secret_value())
