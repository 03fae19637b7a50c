"""A PostgreSQL server for the tests, and databases in it."""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from pydantic import SecretStr

from client_manager.database.migrations import migrate
from client_manager.gateways.database import Database

IMAGE = "postgres:15-alpine"
TEMPLATE = "migrated"
_PASSWORD = "test-only"
_SETTINGS = ("shared_buffers=256MB", "max_wal_size=4GB", "fsync=off", "max_connections=200", "timezone=Asia/Kolkata")


@contextmanager
def running_server(docker_api: Any, *settings: str) -> Iterator[str]:
    """A server in a container, gone at the end; its time zone is not UTC, so that nothing may rest on that."""
    command = ["postgres", *(part for setting in (*_SETTINGS, *settings) for part in ("-c", setting))]
    config = docker_api.create_host_config(port_bindings={5432: ("127.0.0.1", None)}, shm_size="512m")
    container = docker_api.create_container(
        IMAGE, command, environment={"POSTGRES_PASSWORD": _PASSWORD}, ports=[5432], host_config=config
    )["Id"]
    try:
        docker_api.start(container)
        port = docker_api.inspect_container(container)["NetworkSettings"]["Ports"]["5432/tcp"][0]["HostPort"]
        url = f"postgresql://postgres:{_PASSWORD}@127.0.0.1:{port}/postgres"
        _wait_until_ready(url)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
        migrate(Database(SecretStr(in_database(url, TEMPLATE))))
        yield url
    finally:
        docker_api.remove_container(container, force=True, v=True)


def in_database(url: str, name: str) -> str:
    """The URL of another database of the same server."""
    return f"{url.rpartition('/')[0]}/{name}"


@contextmanager
def fresh_database(url: str, template: str = TEMPLATE) -> Iterator[str]:
    """A database of its own, gone at the end."""
    name = f"t_{secrets.token_hex(6)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        )
    try:
        yield in_database(url, name)
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _wait_until_ready(url: str, deadline_s: float = 60) -> None:
    """The image starts the server twice; only the second one listens on TCP."""
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
