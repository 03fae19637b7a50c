"""Debian's pgbouncer between the nodes and their server, giving each transaction whatever connection is free."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import psycopg

from tests.chaos.cluster import Cluster
from tests.chaos.nodes import wait_until
from tests.integration.pooler import IMAGE, _ensure_image

_PORT = 6432
_CONFIG = """
[databases]
* = host={server} port=5432 user={user} password={password}
[pgbouncer]
listen_addr = *
listen_port = {port}
auth_type = any
pool_mode = transaction
default_pool_size = 8
server_round_robin = 1
"""


@contextmanager
def running(cluster: Cluster, direct: str) -> Iterator[str]:
    """Yields the nodes' URL through it."""
    api, name = cluster.api, f"{cluster.spec.name}-pooler"
    _ensure_image(api, "python:3.11-slim")
    server = urlsplit(direct)
    config = _CONFIG.format(server=server.hostname, user=server.username, password=server.password, port=_PORT)
    address = f"{cluster.server.address.rpartition('.')[0]}.11"
    endpoint = api.create_endpoint_config(ipv4_address=address)
    api.create_container(
        f"{IMAGE}:v1",
        ["sh", "-c", 'printf %s "$CONFIG" > /tmp/pgbouncer.ini && exec pgbouncer -q -u nobody /tmp/pgbouncer.ini'],
        name=name,
        entrypoint="",
        user="root",
        environment={"CONFIG": config},
        networking_config=api.create_networking_config({cluster.network: endpoint}),
        healthcheck={"test": ["NONE"]},
    )
    try:
        api.start(name)
        through = direct.replace(f"{server.hostname}:{server.port}", f"{address}:{_PORT}")
        wait_until("the pooler answers", lambda: _answers(through))
        yield through
    finally:
        api.remove_container(name, force=True, v=True)


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
