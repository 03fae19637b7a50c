"""The real Open WebUI on a database that was made of its replica: it starts, and its users sign in."""

import json
import lzma
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from client_manager.app import App
from client_manager.client_sync.restore import restore
from client_manager.settings import Settings
from tests.conftest import OPEN_WEBUI
from tests.replication.conftest import REAL, Tenant

HEALTHY_S = 240
USERS = (("ada@example.test", "correct-horse-1", "admin"), ("user0@example.test", "pw-0-secret", "user"))


@pytest.fixture
def start(docker_api: Any) -> Iterator[Any]:
    """Starts Open WebUI on a data folder; returns its port."""
    made: list[str] = []

    def run(data: Path) -> int:
        config = docker_api.create_host_config(
            binds=[f"{data}:/app/backend/data"], port_bindings={8080: ("127.0.0.1", None)}, mem_limit="2g"
        )
        environment = {"WEBUI_SECRET_KEY": "test-only", "OFFLINE_MODE": "true", "RAG_EMBEDDING_ENGINE": "openai"}
        container = docker_api.create_container(
            OPEN_WEBUI,
            name=f"restored-{secrets.token_hex(4)}",
            host_config=config,
            ports=[8080],
            environment=environment,
        )["Id"]
        made.append(container)
        docker_api.start(container)
        return int(docker_api.inspect_container(container)["NetworkSettings"]["Ports"]["8080/tcp"][0]["HostPort"])

    yield run
    for container in made:
        docker_api.remove_container(container, force=True, v=True)


def call(port: int, path: str, body: object = None, token: str = "") -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        lines = [json.loads(line) for line in answer.read().splitlines()]
        return lines[0] if len(lines) == 1 else lines


def wait_healthy(port: int) -> None:
    end = time.monotonic() + HEALTHY_S
    while True:
        try:
            if call(port, "/health/db") == {"status": True}:
                return
        except (OSError, ValueError):
            assert time.monotonic() < end, "it does not turn healthy"
        time.sleep(0.5)


@pytest.mark.timeout(600)
def test_the_application_starts_on_what_was_restored_and_its_users_sign_in(
    start: Any, settings: Settings, database_url: str, tmp_path: Path
) -> None:
    source, data = tmp_path / "source", tmp_path / "data"
    source.mkdir()
    data.mkdir()
    tenant = Tenant(source / "webui.db", tmp_path / "state-of-acme", database_url)
    tenant.path.write_bytes(lzma.decompress(REAL.read_bytes()))
    tenant.run()
    mine = "SELECT count(*) FROM acme.chat WHERE user_id = (SELECT id FROM acme.user WHERE email = %s)"
    [(chats,)] = tenant.sql(mine, USERS[0][0])
    tenant.path.unlink()
    app = App(settings.model_copy(update={"database_url": SecretStr(database_url)}))

    restore(app, "acme", data, lambda _: None)
    port = start(data)
    wait_healthy(port)

    for email, password, role in USERS:
        signed_in = call(port, "/api/v1/auths/signin", {"email": email, "password": password})
        assert (signed_in["email"], signed_in["role"]) == (email, role)
        if role == "admin":
            assert call(port, "/api/v1/users/", token=signed_in["token"])["total"] > 1
            assert len(call(port, "/api/v1/chats/all", token=signed_in["token"])) == chats > 1
    with pytest.raises(urllib.error.HTTPError, match="400"):
        call(port, "/api/v1/auths/signin", {"email": USERS[0][0], "password": "wrong"})
