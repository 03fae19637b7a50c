"""The main job on the real Open WebUI, in the menu, by keys: one tenant's life from creation to removal and back."""

import json
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import OPEN_WEBUI, clear_away
from tests.e2e.terminal import CTRL_C, ENTER, ERASE, ESCAPE, Terminal

HEALTHY_S = 240
ADMIN = {"name": "Ada", "email": "ada@example.test", "password": "correct-horse-battery"}


class Tenant:
    """The client as its administrator meets it: over HTTP, on its published port."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.token = ""

    def call(self, path: str, body: object = None) -> Any:
        """Return the answer of the application's API."""
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=data, headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def sign_up(self) -> None:
        """Become the first administrator and keep the session's token."""
        self.token = self.call("/api/v1/auths/signup", ADMIN)["token"]

    def who_am_i(self) -> str:
        """Return the e-mail that the kept token still stands for."""
        return str(self.call("/api/v1/auths/")["email"])


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        "CLIENT_MANAGER_DATA_ROOT": str(tmp_path / "openwebui"),
        "CLIENT_MANAGER_STATE_DIR": str(tmp_path / "state"),
        "CLIENT_MANAGER_FIRST_PORT": "28081",
        "CLIENT_MANAGER_LAST_PORT": "28099",
        "CLIENT_MANAGER_NETWORK_POOL": "10.215.0.0/16",
        "CLIENT_MANAGER_IMAGE": OPEN_WEBUI,
    }


@pytest.fixture
def menu(docker_api: Any, environment: dict[str, str]) -> Iterator[Terminal]:
    clear_away(docker_api, ["openwebui-acme"])
    with Terminal([sys.executable, "-m", "client_manager"], environment) as terminal:
        yield terminal
    clear_away(docker_api, ["openwebui-acme"])


def port_of(docker_api: Any) -> int:
    bindings = docker_api.inspect_container("openwebui-acme")["HostConfig"]["PortBindings"]
    return int(bindings["8080/tcp"][0]["HostPort"])


def create_acme(menu: Terminal) -> None:
    menu.answer("Main menu (Esc", "2", ENTER)
    menu.answer("Client name:", "acme", ENTER)
    menu.answer("Domain:", ERASE, "acme.example.test", ENTER)
    menu.answer("Port (empty", ENTER)
    menu.answer("Image:", ENTER)
    menu.answer("Memory limit:", ERASE, "2g", ENTER)
    menu.answer("Create acme? (y/N)", "y", ENTER)
    menu.wait_for("acme is healthy at https://acme.example.test", within_s=HEALTHY_S)


def change_domain(menu: Terminal, domain: str) -> None:
    menu.answer("0) Back", "7", ENTER)
    menu.answer("New domain:", ERASE, domain, ENTER)
    menu.answer("(y/N)", "y", ENTER)
    menu.wait_for(f"set-domain acme {domain}", within_s=HEALTHY_S)


def change_memory(menu: Terminal, memory: str) -> None:
    menu.answer("0) Back", "6", ENTER)
    menu.answer("6) Port", "3", ENTER)
    menu.answer("Memory limit:", ERASE, memory, ENTER)
    menu.answer("a) Review and apply", "a", ENTER)
    menu.answer("(y/N)", "y", ENTER)
    menu.wait_for(f"set acme --memory {memory}", within_s=HEALTHY_S)


def repair(menu: Terminal) -> None:
    menu.answer("0) Back", "r", ENTER)
    menu.answer("(y/N)", "y", ENTER)
    menu.wait_for("client repair acme", within_s=HEALTHY_S)


def remove_and_keep_data(menu: Terminal) -> None:
    menu.answer("0) Back", "x", ENTER)
    menu.answer("Delete its data for good", ENTER)
    menu.answer("Type the client's name", "acme", ENTER)
    menu.wait_for("acme is removed.", within_s=60)


@pytest.mark.timeout(900)
def test_one_tenant_keeps_its_admin_through_every_change(menu: Terminal, docker_api: Any, tmp_path: Path) -> None:
    create_acme(menu)
    tenant = Tenant(port_of(docker_api))
    assert tenant.call("/health/db") == {"status": True}
    tenant.sign_up()
    menu.answer("Main menu (Esc", "3", ENTER)
    menu.answer("Which deployment?", ENTER)

    change_domain(menu, "chat.example.test")
    assert tenant.who_am_i() == ADMIN["email"]
    assert tenant.call("/api/v1/auths/admin/config")["WEBUI_URL"] == "https://chat.example.test"

    change_memory(menu, "1536m")
    assert docker_api.inspect_container("openwebui-acme")["HostConfig"]["Memory"] == 1536 * 1024**2
    assert tenant.who_am_i() == ADMIN["email"]

    docker_api.remove_container("openwebui-acme", force=True)
    repair(menu)
    assert tenant.who_am_i() == ADMIN["email"]

    remove_and_keep_data(menu)
    assert (tmp_path / "openwebui" / "acme" / "data" / "webui.db").exists()
    assert not docker_api.containers(all=True, filters={"name": "openwebui-acme"})

    if docker_api.containers(all=True, filters={"name": "openwebui-"}):  # others to choose from, on a machine in use
        menu.answer("Which deployment? (Esc: back)", ESCAPE)
    create_acme(menu)
    tenant.port = port_of(docker_api)
    assert tenant.who_am_i() == ADMIN["email"]
    menu.answer("Main menu (Esc", CTRL_C)
    assert menu.exit_code() == 130
