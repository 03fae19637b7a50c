"""The story without Docker: a database that the real application has written, and two nodes as processes."""

import lzma
import sys
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Final

from client_manager.client_sync.register import record
from client_manager.cluster.draft import draft
from client_manager.demo import acts
from client_manager.demo.narration import command
from client_manager.demo.place import NAME
from client_manager.demo.stage import DoesNotHold, Stage
from client_manager.gateways import client_files, process, webui_database
from client_manager.models.client_sync import Registration
from client_manager.models.cluster_plan import ClusterRequest
from client_manager.models.container import CONTAINER_PREFIX
from client_manager.models.sync import NODE_NAMES
from client_manager.sync_node.nodes import spec_of
from client_manager.workflows.deploy_cluster import prepare

_PACKED: Final = "webui-0.12.4.db.xz"
_DOMAIN: Final = "chat.demo.example"
_INTERVAL_S: Final = 2
_LOAD_S: Final = 60.0
_END_S: Final = 30.0
_LAST_LINES: Final = 3


@dataclass
class ProcessStory:
    """The acts, and the nodes that run."""

    stage: Stage
    _nodes: dict[str, process.Running] = field(default_factory=dict)

    def play(self) -> None:
        """Play every act but the last, the removal."""
        stage = self.stage
        stage.narrator.act("The data of a client: a database of Open WebUI's")
        self._unpack()
        stage.narrator.act("The database of the sync system")
        self._migrate()
        stage.narrator.act("A cluster of two sync nodes, of which one leads")
        self._run_nodes()
        stage.narrator.act("The client is replicated to PostgreSQL")
        self._register()
        stage.narrator.act("The leader is killed")
        self._kill_the_leader()
        stage.narrator.act("A cluster cannot be taken down while somebody needs it")
        stage.narrator.tell("--lost-host, since without Docker the console has no nodes that it could stop itself.")
        acts.be_blocked(stage, "--lost-host", "--confirm", NAME)
        stage.narrator.act("Its nodes are ended, its sync is disabled in the flow, and the cluster goes")
        self._end_nodes()
        bundle = acts.be_deregistered(stage, "--lost-host")
        stage.narrator.act("It comes back from its bundle")
        acts.be_restored(stage, bundle)

    def run_again(self) -> None:
        """Let everything run, for somebody who wants to look at it."""
        self._run_nodes()
        self.stage.type("sync", "start", NAME, "--yes")

    def remove_the_client(self) -> None:
        """Remove nothing: no client of the console's was made, only its data, which lies in the demo's folder."""

    @property
    def nothing_left(self) -> str:
        """What is said when nothing is."""
        return "no process and no file of the demo is left, and its PostgreSQL has stopped."

    @property
    def ways_in(self) -> tuple[str, ...]:
        """What there is to look at."""
        ports = spec_of(self.stage.app, NAME).ports
        return (
            "client-manager cluster watch      # the nodes, live",
            "client-manager sync status        # the client",
            *(f"http://127.0.0.1:{port}/health       {node} of itself" for node, port in ports.items()),
        )

    @property
    def _data(self) -> Path:
        return self.stage.app.files.data(NAME)

    def _log(self, node: str) -> Path:
        return self.stage.place.folder / f"{node}.log"

    def _unpack(self) -> None:
        app, path = self.stage.app, self._data / webui_database.FILE
        app.files.make_data(NAME)
        packed = files(__package__) / _PACKED
        with client_files.disk_errors(path):
            path.write_bytes(lzma.decompress(packed.read_bytes()))
        self.stage.narrator.tell(f"{_PACKED}, which comes with the program, is unpacked to {path}.")
        counts = webui_database.counts(self._data)
        self.stage.hold(counts.get("chat"), "the database has chats", counts)
        self.stage.narrator.looked(
            f"SQLite reads {len(counts)} tables with {sum(counts.values())} rows, {counts['chat']} of them chats."
        )

    def _migrate(self) -> None:
        self.stage.type("database", "migrate", "--yes")
        with self.stage.app.sync_store() as store:
            known = store.clusters()
        self.stage.hold(not known, "sync_metadata is there, and knows no cluster", known)
        self.stage.narrator.looked("PostgreSQL has the schema sync_metadata, and no cluster in it.")

    def _run_nodes(self) -> None:
        stage = self.stage
        stage.narrator.tell(
            "'cluster deploy' would make containers. Its other half needs no Docker: the nodes' login, the machine's "
            "record and the cluster's files are made by the same operation, and the nodes are started by hand."
        )
        drafted = draft(stage.app, ClusterRequest(name=NAME))
        prepare(stage.app, drafted.model_copy(update={"network": "host"}))  # so that they listen on the loopback only
        for node in NODE_NAMES:
            self._run(node)
        acts.see_the_nodes(stage, "run", self._require_nodes)

    def _run(self, node: str) -> None:
        folder = self.stage.app.cluster_files.folder(NAME).path
        words = ("node", "run", "--cluster-folder", str(folder), "--node", node)
        self.stage.narrator.typed(command(*words), goes_on=True)
        program = (sys.executable, "-m", "client_manager", *words)
        environment, keep = self.stage.place.environment(), self.stage.keep
        self._nodes[node] = process.start(program, environment, self._log(node), outlives=keep)

    def _register(self) -> None:
        stage, spec = self.stage, spec_of(self.stage.app, NAME)
        stage.narrator.tell("'sync register' asks Docker where a client's data is; the same record, without asking:")
        record(
            stage.app,
            Registration(
                client=NAME,
                container=f"{CONTAINER_PREFIX}{NAME}",
                domain=_DOMAIN,
                port=None,
                cluster=NAME,
                host_id=spec.host_id,
                hostname=spec.hostname,
                database=self._data / webui_database.FILE,
                interval_s=_INTERVAL_S,
                kind="new",
            ),
        )
        source = webui_database.counts(self._data)
        stage.wait_until(
            lambda: stage.replica_counts() == source, "every row of SQLite is in PostgreSQL", within_s=_LOAD_S
        )
        stage.narrator.looked(
            f"PostgreSQL has the schema {NAME}: {len(source)} tables, {sum(source.values())} rows, "
            "in each table as many as in SQLite."
        )
        stage.type("sync", "verify", NAME)
        self._write("The second question")

    def _kill_the_leader(self) -> None:
        stage = self.stage

        def kill(node: str) -> None:
            stage.narrator.typed(("kill", "-9", str(self._nodes[node].pid)))
            process.kill(self._nodes[node].pid)

        dead = acts.kill_the_leader(stage, kill, self._is_dead)
        self._write("A question after the kill")
        self._run(dead)
        acts.see_the_nodes(stage, "run", self._require_nodes)

    def _is_dead(self, node: str) -> bool:
        return self._nodes[node].wait(_END_S) != 0

    def _require_nodes(self) -> None:
        for node, running in self._nodes.items():
            code = running.poll()
            if code is not None:
                with client_files.disk_errors(self._log(node)):
                    last = self._log(node).read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:]
                raise DoesNotHold(
                    f"This does not hold: {node} runs.",
                    why=f"It has ended with {code}. {' '.join(last)}".strip(),
                    hint="Look at what it says, and play the demo again.",
                )

    def _write(self, title: str) -> None:
        self.stage.narrator.tell("A chat is written into the SQLite file, as the application would.")
        acts.write_a_chat(self.stage, title, lambda said: webui_database.write_chat(self._data, said), _INTERVAL_S)

    def _end_nodes(self) -> None:
        numbers = [node.pid for node in self._nodes.values()]
        self.stage.narrator.typed(("kill", *map(str, numbers)))
        process.end(numbers, within_s=_END_S)
        with self.stage.app.sync_store() as store:
            state = store.state(NAME)
        stopped = [node.node_name for node in state.nodes if node.stopped_at]
        self.stage.hold(sorted(stopped) == sorted(NODE_NAMES), "both nodes have signed off", state.nodes)
        self.stage.hold(not (state.lease and state.lease.is_valid), "nobody leads", state.lease)
        self.stage.narrator.looked("both processes are gone; by PostgreSQL both have signed off, and nobody leads.")
