"""A PostgreSQL server for the tests, and databases in it."""

import io
import secrets
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from pydantic import SecretStr

from client_manager.database.migrations import migrate
from client_manager.gateways.database import Database
from tests.ports import free_port

IMAGE = "postgres:15-alpine"
TEMPLATE = "migrated"
_PASSWORD = "test-only"
# The tests' own superuser is let in without a proof, which costs both sides more than the rest of a connection does.
_WHO_MAY = b"local all all trust\nhost all postgres all trust\nhost all all all scram-sha-256\n"
_HBA = "who-may.conf"
_SETTINGS = (
    "shared_buffers=256MB",
    "max_wal_size=1GB",
    "fsync=off",
    f"hba_file=/etc/{_HBA}",
    "max_connections=200",
    "timezone=Asia/Kolkata",
)


@contextmanager
def running_server(docker_api: Any, *settings: str) -> Iterator[str]:
    """A server in a container, gone at the end; its time zone is not UTC, so that nothing may rest on that."""
    port = free_port()
    own = (f"port={port}", "listen_addresses=127.0.0.1", *_SETTINGS, *settings)
    command = ["postgres", *(part for setting in own for part in ("-c", setting))]
    # In memory: nearly every test has a database of its own, and making and dropping those is what the tests wait for.
    # On the machine's own loopback: Docker's proxy in front would take a twelfth of the tests' processor time.
    config = docker_api.create_host_config(
        network_mode="host", shm_size="512m", tmpfs={"/var/lib/postgresql/data": "size=6g"}
    )
    container = docker_api.create_container(
        IMAGE, command, environment={"POSTGRES_PASSWORD": _PASSWORD}, host_config=config
    )["Id"]
    try:
        docker_api.put_archive(container, "/etc", _archive(_HBA, _WHO_MAY))
        docker_api.start(container)
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


def _archive(name: str, content: bytes) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


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
