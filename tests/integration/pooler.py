"""pgbouncer in front of the tests' PostgreSQL, giving each transaction whatever connection is free."""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import psycopg

from tests.conftest import alone
from tests.ports import free_port
from tests.waiting import PATIENCE_S

IMAGE = "client-manager-test/pgbouncer"
_CONFIG = """
[databases]
* = host=127.0.0.1 port={server} user=postgres password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
auth_type = any
pool_mode = {mode}
default_pool_size = 3
server_round_robin = 1
"""


@contextmanager
def running_pooler(docker_api: Any, base: str, url: str, mode: str) -> Iterator[str]:
    """A pooler on the host's loopback; yields the URL through it of the database that ``url`` names."""
    with alone("pooler-image"):
        _ensure_image(docker_api, base)
    server, port = urlsplit(url), free_port()
    config = _CONFIG.format(server=server.port, password=server.password, port=port, mode=mode)
    command = ["sh", "-c", 'printf %s "$CONFIG" > /tmp/pgbouncer.ini && exec pgbouncer -q -u nobody /tmp/pgbouncer.ini']
    container = docker_api.create_container(
        f"{IMAGE}:v1",
        command,
        entrypoint="",
        user="root",
        environment={"CONFIG": config},
        host_config=docker_api.create_host_config(network_mode="host"),
        healthcheck={"test": ["NONE"]},
    )["Id"]
    try:
        docker_api.start(container)
        through = f"postgresql://anybody:{secrets.token_hex(4)}@127.0.0.1:{port}{server.path}"
        _wait_until_ready(through)
        yield through
    finally:
        docker_api.remove_container(container, force=True, v=True)


def _ensure_image(api: Any, base: str) -> None:
    """Debian's pgbouncer on top of an image that the tests have anyway."""
    if api.images(f"{IMAGE}:v1"):
        return
    install = "apt-get update -qq && apt-get install -y -qq --no-install-recommends pgbouncer"
    container = api.create_container(base, ["sh", "-c", install], entrypoint="", user="root")["Id"]
    try:
        api.start(container)
        ended = api.wait(container, timeout=300)["StatusCode"]
        assert ended == 0, api.logs(container, tail=20).decode(errors="replace")
        api.commit(container, IMAGE, "v1")
    finally:
        api.remove_container(container, force=True)


def _wait_until_ready(url: str, deadline_s: float = PATIENCE_S) -> None:
    end = time.monotonic() + deadline_s
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return
