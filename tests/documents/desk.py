"""An operator's place at a machine of a test's own: what documents call by name stands for something of the test's."""

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import environ
from pathlib import Path
from typing import Any, Final

import psycopg

from tests.conftest import APP_IMAGE, OPEN_WEBUI, clear_away
from tests.documents.shell import Shell
from tests.ports import free_pair, window

LOOKS_WITHIN_S: Final = 30


@dataclass
class Desk:
    """A shell with its settings, and the ways past the program to see what it has done.

    Attributes:
        mark: what is in every name of this test, and in no other's.
        url: of the database in use, as its superuser; empty where there is none.
        means: what a document says, and what is typed for it here. Documents are held to their own words; these stand
            in their place so that tests can run beside each other.
        earlier: since when each container of the test ran when the latest command was typed.
    """

    folder: Path
    api: Any
    node_image: str = ""
    url: str = ""
    mark: str = field(default_factory=lambda: f"t{secrets.token_hex(4)}")
    means: dict[str, str] = field(default_factory=dict)
    earlier: dict[str, str] = field(default_factory=dict)
    shell: Shell = field(init=False)

    def __post_init__(self) -> None:
        first = window(20)
        self.means |= {
            "acme": f"acme-{self.mark}",
            "prod-1": f"prod-1-{self.mark}",
            "prod-2": f"prod-2-{self.mark}",
            "/opt/openwebui": str(self.data_root),
            "/srv/": f"{self.folder}/srv/",
            OPEN_WEBUI: f"{APP_IMAGE}:v2",
            "THE-URL": self.url,
        }
        ports, folders = free_pair(), ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME")
        self.environment = {name: str(self.folder / name) for name in folders} | {
            "PATH": f"{Path(sys.executable).parent}:{environ['PATH']}",
            "CLIENT_MANAGER_DATA_ROOT": str(self.data_root),
            "CLIENT_MANAGER_STATE_DIR": str(self.folder / "state"),
            "CLIENT_MANAGER_POSTGRES_DIR": str(self.folder / "postgres"),
            "CLIENT_MANAGER_IMAGE": f"{APP_IMAGE}:v1",
            "CLIENT_MANAGER_FIRST_PORT": str(first),
            "CLIENT_MANAGER_LAST_PORT": str(first + 19),
            "CLIENT_MANAGER_MEMORY_BYTES": str(256 * 1024**2),
            "CLIENT_MANAGER_NETWORK_POOL": "10.216.0.0/16",
            "CLIENT_MANAGER_HEALTH_TIMEOUT_S": "60",
            "CLIENT_MANAGER_STOP_TIMEOUT_S": "1",
            "CLIENT_MANAGER_CLUSTER": self.means["prod-1"],
            "CLIENT_MANAGER_NODE_CONTAINER_PREFIX": f"openwebui-{self.mark}-",
            "CLIENT_MANAGER_NODE_PORTS": json.dumps(ports),
            **({"CLIENT_MANAGER_NODE_IMAGE": self.node_image} if self.node_image else {}),
        }

    @property
    def data_root(self) -> Path:
        return self.folder / "openwebui"

    @property
    def output(self) -> str:
        """What the latest command has said, in one line."""
        return " ".join(self.shell.screen.split())

    def here(self, text: str) -> str:
        """Return a document's words with what they mean here."""
        for word, meant in self.means.items():
            text = text.replace(word, meant)
        return text

    def run(self, command: str, *, code: int = 0) -> None:
        """Run the program for a situation that a document takes as given."""
        words, variables = self.here(command).split(), environ | self.environment
        done = subprocess.run(words, env=variables, check=False, capture_output=True, text=True, timeout=60)
        assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"

    def container(self, name: str = "openwebui-acme") -> Any:
        """What the Engine knows of a container, or None."""
        found = [each for each in self.api.containers(all=True) if f"/{self.here(name)}" in each["Names"]]
        return self.api.inspect_container(found[0]["Id"]) if found else None

    def runs(self, name: str = "openwebui-acme") -> bool:
        """Whether a container is there and running."""
        found = self.container(name)
        return bool(found and found["State"]["Running"])

    def since(self) -> dict[str, str]:
        """Since when each container of the test runs, by its name."""
        found = [each for each in self.api.containers(all=True) if any(self.mark in name for name in each["Names"])]
        return {
            each["Names"][0].removeprefix("/"): str(self.api.inspect_container(each["Id"])["State"]["StartedAt"])
            for each in found
        }

    def restarted(self, name: str = "openwebui-acme") -> bool:
        """Whether a container runs that ran before the latest command, and has started since."""
        full = self.here(name)
        return self.runs(name) and full in self.earlier and self.since()[full] != self.earlier[full]

    def variables(self, name: str = "openwebui-acme") -> dict[str, str]:
        """The environment of a container."""
        found = self.container(name)
        return dict(pair.split("=", 1) for pair in found["Config"]["Env"]) if found else {}

    def spec(self) -> Any:
        """The client's ``client.json``; nothing where there is none."""
        path = self.data_root / self.means["acme"] / "client.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def rows(self, query: str, *values: object) -> list[Any]:
        """Ask the database, past the program."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def one(self, query: str, *values: object) -> Any:
        """The first value that the database answers, or None."""
        found = self.rows(query, *values)
        return found[0][0] if found else None


@dataclass(frozen=True)
class Step:
    """A command of a document, typed.

    Attributes:
        look: what the world says to it, past the program; waited for.
        answers: the questions that it asks, and what is typed.
        code: the exit code that the document implies.
        or_code: another one, where it depends on what else is on the machine.
        before: the situation that the document speaks of, where the steps before do not lead to it.
    """

    command: str
    look: Callable[[Desk], object]
    answers: Sequence[tuple[str, str]] = ()
    code: int = 0
    or_code: int | None = None
    before: Callable[[Desk], object] | None = None
    within_s: float = 45


def take(desk: Desk, step: Step) -> None:
    """Type a command as its document shows it; it must end as it should, and the world be what it should be."""
    if step.before:
        step.before(desk)
    desk.earlier = desk.since()
    answers = [(desk.here(question), desk.here(keys)) for question, keys in step.answers]
    code = desk.shell.type(desk.here(step.command), answers, within_s=step.within_s)
    assert code in {step.code, step.or_code}, f"{step.command} left with {code}, not {step.code}:\n{desk.shell.screen}"
    end = time.monotonic() + LOOKS_WITHIN_S
    while not step.look(desk):
        assert time.monotonic() < end, f"{step.command} has not done what it says:\n{desk.shell.screen}"
        time.sleep(0.05)


def says(*texts: str) -> Callable[[Desk], bool]:
    """Whether the command said all of this."""
    return lambda desk: all(desk.here(text) in desk.output for text in texts)


@contextmanager
def seated(desk: Desk) -> Iterator[Desk]:
    """The desk with its shell; what Docker has of the test is gone at the end."""
    try:
        with Shell(desk.environment) as shell:
            desk.shell = shell
            yield desk
    finally:
        clear_away(desk.api, [desk.mark])
