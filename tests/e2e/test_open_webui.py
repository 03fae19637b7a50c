"""The main job on the real Open WebUI, in the menu, by keys: one tenant's life from creation to removal and back."""

import json
import secrets
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import OPEN_WEBUI, clear_away
from tests.e2e.terminal import CTRL_C, ENTER, ERASE, ESCAPE, Terminal

HEALTHY_S = 240
ACME = f"acme-{secrets.token_hex(4)}"  # other tests have their clients on this machine too
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
    clear_away(docker_api, [ACME])
    with Terminal([sys.executable, "-m", "client_manager"], environment) as terminal:
        yield terminal
    clear_away(docker_api, [ACME])


def port_of(docker_api: Any) -> int:
    bindings = docker_api.inspect_container(f"openwebui-{ACME}")["HostConfig"]["PortBindings"]
    return int(bindings["8080/tcp"][0]["HostPort"])


def create_acme(menu: Terminal) -> None:
    menu.answer("Main menu (Ctrl-C", "2", ENTER)
    menu.answer("Client name:", ACME, ENTER)
    menu.answer("Domain:", ERASE, f"{ACME}.example.test", ENTER)
    menu.answer("Port (empty", ENTER)
    menu.answer("Image:", ENTER)
    menu.answer("Memory limit:", ERASE, "2g", ENTER)
    menu.answer(f"Create {ACME}? (y/N)", "y", ENTER)
    menu.wait_for(f"{ACME} is healthy at https://{ACME}.example.test", within_s=HEALTHY_S)


def change_domain(menu: Terminal, domain: str) -> None:
    menu.answer("0) Back", "7", ENTER)
    menu.answer("New domain:", ERASE, domain, ENTER)
    menu.answer("(y/N)", "y", ENTER)
    menu.wait_for(f"set-domain {ACME}", within_s=HEALTHY_S)


def change_memory(menu: Terminal, memory: str) -> None:
    menu.answer("0) Back", "6", ENTER)
    menu.answer("6) Port", "3", ENTER)
    menu.answer("Memory limit:", ERASE, memory, ENTER)
    menu.answer("a) Review and apply", "a", ENTER)
    menu.answer("(y/N)", "y", ENTER)
    menu.wait_for(f"set {ACME} --memory {memory}", within_s=HEALTHY_S)


def repair(menu: Terminal) -> None:
    menu.answer("0) Back", "r", ENTER)
    menu.answer("(y/N)", "y", ENTER)
    menu.wait_for(f"client repair {ACME}", within_s=HEALTHY_S)


def remove_and_keep_data(menu: Terminal) -> None:
    menu.answer("0) Back", "x", ENTER)
    menu.answer("Delete its data for good", ENTER)
    menu.answer("Type the client's name", ACME, ENTER)
    menu.wait_for(f"{ACME} is removed.", within_s=60)


@pytest.mark.timeout(900)
def test_one_tenant_keeps_its_admin_through_every_change(menu: Terminal, docker_api: Any, tmp_path: Path) -> None:
    create_acme(menu)
    tenant = Tenant(port_of(docker_api))
    assert tenant.call("/health/db") == {"status": True}
    tenant.sign_up()
    menu.answer("Main menu (Ctrl-C", "3", ENTER)
    menu.choose("Which deployment?", f"{ACME}.example.test")

    change_domain(menu, "chat.example.test")
    assert tenant.who_am_i() == ADMIN["email"]
    assert tenant.call("/api/v1/auths/admin/config")["WEBUI_URL"] == "https://chat.example.test"

    change_memory(menu, "1536m")
    assert docker_api.inspect_container(f"openwebui-{ACME}")["HostConfig"]["Memory"] == 1536 * 1024**2
    assert tenant.who_am_i() == ADMIN["email"]

    docker_api.remove_container(f"openwebui-{ACME}", force=True)
    repair(menu)
    assert tenant.who_am_i() == ADMIN["email"]

    remove_and_keep_data(menu)
    assert (tmp_path / "openwebui" / ACME / "data" / "webui.db").exists()
    assert not docker_api.containers(all=True, filters={"name": f"openwebui-{ACME}"})

    others = ("Which deployment? (Esc: back)", "Which deployment? (type to filter, Esc: back)")  # few, many
    if menu.wait_for(*others, "There are no clients yet") in others:
        menu.press(ESCAPE)
    create_acme(menu)
    tenant.port = port_of(docker_api)
    assert tenant.who_am_i() == ADMIN["email"]
    menu.answer("Main menu (Ctrl-C", CTRL_C)
    assert menu.exit_code() == 130
