"""The story on Docker: a real Open WebUI, a cluster of two containers, and what becomes of both."""

import secrets
import time
from dataclasses import dataclass, field
from typing import Final

from pydantic import SecretStr

from client_manager.demo import acts
from client_manager.demo.place import NAME
from client_manager.demo.stage import Stage
from client_manager.gateways import containers, open_webui
from client_manager.models.container import CONTAINER_PREFIX, ContainerDetail
from client_manager.models.sync import NODE_NAMES

DOMAIN: Final = "chat.demo.example"
EMAIL: Final = "admin@demo.example"
_INTERVAL_S: Final = 10  # the shortest that a registration takes


@dataclass
class DockerStory:
    """The acts, and what one leaves to the next."""

    stage: Stage
    password: SecretStr = field(default_factory=lambda: SecretStr(secrets.token_urlsafe(12)))
    _admin: open_webui.Account | None = None

    def play(self) -> None:
        """Play every act but the last, the removal."""
        stage = self.stage
        stage.narrator.act("A client: an Open WebUI of its own")
        self._create()
        stage.narrator.act("Somebody uses it")
        chat = self._use()
        stage.narrator.act("A cluster of two sync nodes, of which one leads")
        self._deploy()
        stage.narrator.act("The client is replicated to PostgreSQL")
        self._register(chat)
        stage.narrator.act("The leader is killed")
        self._kill_the_leader()
        stage.narrator.act("A cluster cannot be taken down while somebody needs it")
        acts.be_blocked(stage, "--confirm", NAME, "--confirm-leader", stage.leader().leader)
        stage.narrator.act("Its sync is disabled in the flow, and the cluster goes")
        bundle = acts.be_deregistered(stage, "--confirm-leader", stage.leader().leader)
        self._see_no_nodes()
        stage.narrator.act("It comes back from its bundle")
        acts.be_restored(stage, bundle)

    def run_again(self) -> None:
        """Let everything run, for somebody who wants to look at it."""
        self.stage.type("cluster", "deploy", NAME, "--yes")
        self.stage.type("sync", "start", NAME, "--yes")
        self._see_nodes()

    def remove_the_client(self) -> None:
        """Remove the client with its replica and its data, as an operator would."""
        self.stage.type("sync", "deregister", NAME, "--drop-data", "--confirm", NAME)
        self.stage.hold(acts.record(self.stage) is None, "the client's record is gone", "it is there")
        self.stage.type("client", "remove", NAME, "--delete-data", "--confirm", NAME)
        data = self.stage.app.files.data(NAME)
        self.stage.hold(not data.exists(), f"{data} is gone", "it is there")
        found = self.stage.app.engine.find(f"{CONTAINER_PREFIX}{NAME}")
        self.stage.hold(found is None, "the client's container is gone", found)

    @property
    def nothing_left(self) -> str:
        """What is said when nothing is."""
        return "no container, network, volume, process or file of the demo is left, and its PostgreSQL has stopped."

    @property
    def ways_in(self) -> tuple[str, ...]:
        """What there is to look at."""
        return (
            "client-manager                    # the menu",
            "client-manager cluster watch      # the nodes, live",
            f"http://{self.address}              the client; sign in as",
            f"  {EMAIL}, password {self.password.get_secret_value()}",
        )

    @property
    def address(self) -> str:
        """Where the client listens."""
        return f"127.0.0.1:{self.stage.app.settings.first_port}"

    def _create(self) -> None:
        stage = self.stage
        stage.type("client", "create", NAME, "--domain", DOMAIN, "--yes")
        found = self._container(f"{CONTAINER_PREFIX}{NAME}")
        stage.hold(open_webui.database_answers(self.address), f"{self.address} answers on /health/db", "it does not")
        stage.narrator.looked(f"Docker runs {found.name}, and it answers on http://{self.address}.")

    def _use(self) -> str:
        self.stage.narrator.tell(
            "As a browser does: POST /api/v1/auths/signup makes the first account, POST /api/v1/chats/new a chat."
        )
        self._admin = open_webui.Account.sign_up(self.address, "Ada", EMAIL, self.password)
        title = "The first question"
        chat = self._admin.write_chat(title)
        role, found = self._admin.role(), self._admin.chat(chat)
        self.stage.hold(
            (role, found) == ("admin", title), "the application has the account and the chat", (role, found)
        )
        self.stage.narrator.looked(f"the application says that {EMAIL} is its {role} and has the chat '{found}'.")
        return chat

    def _deploy(self) -> None:
        self.stage.type("cluster", "deploy", NAME, "--yes")
        self._see_nodes()

    def _register(self, chat: str) -> None:
        stage = self.stage
        began = time.monotonic()
        stage.type("sync", "register", NAME, "--interval", str(_INTERVAL_S), "--yes")
        stage.arrival_s(chat, "The first question", began)
        counts = stage.replica_counts()
        stage.narrator.looked(
            f"PostgreSQL has the schema {NAME}: {len(counts)} tables, {sum(counts.values())} rows, the chat among them."
        )
        stage.type("sync", "verify", NAME)
        self._write("The second question")

    def _kill_the_leader(self) -> None:
        stage, engine = self.stage, self.stage.app.engine
        prefix = stage.app.settings.node_container_prefix

        def kill(node: str) -> None:
            stage.narrator.tell("Through the Engine's API, as this command does it:")
            stage.narrator.typed(("docker", "kill", "--signal", "KILL", f"{prefix}{node}"))
            containers.kill(engine, f"{prefix}{node}")

        dead = acts.kill_the_leader(stage, kill, lambda node: not engine.get(f"{prefix}{node}").running)
        self._write("A question after the kill")
        stage.type("node", "start", dead, "--yes")
        self._see_nodes()

    def _write(self, title: str) -> None:
        if self._admin is None:
            raise AssertionError
        self.stage.narrator.tell("POST /api/v1/chats/new writes a chat.")
        acts.write_a_chat(self.stage, title, self._admin.write_chat, _INTERVAL_S)

    def _see_nodes(self) -> None:
        acts.see_the_nodes(self.stage, "run in Docker", self._require_nodes)

    def _require_nodes(self) -> None:
        for node in NODE_NAMES:
            self._container(f"{self.stage.app.settings.node_container_prefix}{node}")

    def _see_no_nodes(self) -> None:
        engine, prefix = self.stage.app.engine, self.stage.app.settings.node_container_prefix
        left = [node for node in NODE_NAMES if engine.find(f"{prefix}{node}")]
        self.stage.hold(not left, "the nodes' containers are gone", left)
        client = self._container(f"{CONTAINER_PREFIX}{NAME}")
        self.stage.narrator.looked(f"Docker has no container of the nodes, and still runs {client.name}.")

    def _container(self, name: str) -> ContainerDetail:
        found = self.stage.app.engine.get(name)
        self.stage.hold(found.running, f"{name} runs", found.state)
        return found
