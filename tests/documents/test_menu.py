"""The page of the menus has every entry that the program offers, with its key and in its order."""

import os
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import UUID

import pytest
from pydantic import SecretStr

from client_manager import guard
from client_manager.app import App
from client_manager.deployment.clients import inspect_client
from client_manager.menu import client_settings, clients, clusters, main, nodes, sync, unblocking
from client_manager.menu.prompts import Back, Nobody, Option
from client_manager.menu.session import Session
from client_manager.models.client import ClientSpec
from client_manager.models.cluster import ClusterSpec
from client_manager.models.operation import Operation
from client_manager.settings import Settings
from tests.conftest import clear_away
from tests.documents.commands import CHECKOUT
from tests.screen import console_on
from tests.unit.test_deregistration_views import client, snapshot

T = TypeVar("T")
Menu = list[tuple[str, str]]
PAGE: Final = CHECKOUT / "docs" / "menu.md"


class Reader(Nobody):
    """Reads what is offered, picks the entries of some keys, and then goes back."""

    def __init__(self, *picks: str) -> None:
        super().__init__()
        self._picks = list(picks)
        self.read: Menu = []

    def choose(self, message: str, options: Sequence[Option[T]], *, is_first: bool = False) -> T:
        del message, is_first
        self.read = [(option.key or "", option.label) for option in options]
        if not self._picks:
            raise Back
        key = self._picks.pop(0)
        return next(option.value for option in options if option.key == key)

    def text(self, message: str, parse: Callable[[str], T], *, default: str = "") -> T:
        del message
        return parse(default)

    def yes_no(self, message: str) -> bool:
        del message
        return True


def page() -> dict[str, Menu]:
    """The tables of the page, by their headings."""
    parts = re.split(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {
        heading: entries
        for heading, text in zip(parts[::2], parts[1::2], strict=True)
        if (entries := re.findall(r"^\| (\w) \| (.+?) \|", text, re.MULTILINE))
    }


@pytest.fixture
def name(docker_api: Any, app_image: str) -> Iterator[str]:
    """A container that nobody manages; it is not started."""
    name = f"t{secrets.token_hex(5)}"
    docker_api.create_container(app_image, name=f"openwebui-{name}")
    yield name
    clear_away(docker_api, [name])


@pytest.fixture
def app(tmp_path: Path, name: str) -> App:
    """The console of a machine with a client, neither of whose container nor database is there."""
    url = SecretStr("postgresql://u:p@127.0.0.1:9/x")
    app = App(Settings(data_root=tmp_path, state_dir=tmp_path / "state", database_url=url))
    spec: dict[str, object] = {
        "name": f"{name}-2",
        "container": f"openwebui-{name}-2",
        "domain": "chat.acme.example",
        "port": None,
    }
    spec |= {"image": "image:v1", "env": {}, "secrets": {"WEBUI_SECRET_KEY": "k"}, "memory_bytes": 2**30}
    app.files.write(ClientSpec.model_validate(spec))
    return app


@pytest.fixture
def cluster(app: App, name: str) -> str:
    """A cluster of that machine, neither of whose nodes is there."""
    spec = ClusterSpec(
        name=name,
        hostname="vps-1",
        host_id=UUID(int=1),
        data_root=app.settings.data_root,
        image="node:1",
        network="host",
        uid=os.getuid(),
        gid=os.getgid(),
        ports={"sync-node-a": 19443, "sync-node-b": 19444},
        container_prefix=f"openwebui-{name}-",
    )
    app.cluster_files.prepare(spec)
    app.cluster_files.write(spec)
    return name


def offered(app: App, menu: Callable[[Session], object], *picks: str) -> Menu:
    """What a menu offers, after the entries of these keys were picked."""
    reader = Reader(*picks)
    with suppress(Back):
        menu(Session(app=app, console=console_on(StringIO()), ask=reader))
    assert reader.read
    return reader.read


def constant(options: Sequence[Option[Any]]) -> Menu:
    return [(option.key or "", option.label) for option in options]


def test_the_page_has_the_menus_of_clients(app: App, name: str) -> None:
    shown = page()
    operation = Operation(
        action="set", client=name, container=f"openwebui-{name}", operator="o", old_container_id=None,
        old_was_running=False, had_spec=False, had_data=False, had_volume=False, had_network=False,
    )  # fmt: skip
    found = inspect_client(app, name).summary

    assert constant(main.MAIN_MENU) == shown["Main menu"]
    assert offered(app, main._ending(operation)) == shown["An operation that was cut off"]
    assert offered(app, lambda session: clients.client_menu(session, f"{name}-2")) == shown["A client"]
    assert offered(app, lambda session: clients._found_menu(session, found)) == shown["A container that is not managed"]
    changed = offered(app, lambda session: client_settings.change_settings(session, f"{name}-2"), "3")
    assert changed == shown["Change settings"]
    assert [(key, label) for label, _, key in sync._OFFERED] == shown["Sync Management"][:-1]
    registered = offered(app, lambda session: sync.sync_menu(session, name))
    assert registered == shown["Sync Management"][1:]


def test_the_page_has_the_menus_of_clusters(app: App, cluster: str) -> None:
    shown = page()
    blocked = guard.decide(snapshot([client("acme")]))
    stopped = [("6", "Start") if key == "6" else (key, label) for key, label in shown["A sync node"]]

    assert offered(app, clusters.manage) == shown["Manage Sync Cluster"]
    assert offered(app, lambda session: unblocking.unblock(session, blocked)) == shown["A blocked deregistration"]
    assert offered(app, lambda session: nodes.node_menu(session, "sync-node-a", cluster)) == stopped


def test_without_a_cluster_the_page_says_what_is_there(app: App) -> None:
    shown = page()["Manage Sync Cluster"]

    assert offered(app, clusters.manage) == [(key, label) for key, label in shown if key in "15r0"]
    assert "Without a cluster on this machine only `1`, `5`, `r` and `0` are there." in PAGE.read_text(encoding="utf-8")


def test_every_menu_of_the_page_is_held_to_the_program() -> None:
    assert set(page()) == {
        *("Main menu", "An operation that was cut off", "A client", "A container that is not managed"),
        *("Change settings", "Sync Management", "Manage Sync Cluster", "A blocked deregistration", "A sync node"),
    }
