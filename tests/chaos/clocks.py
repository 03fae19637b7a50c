"""A node's clock, moved under it: Debian's libfaketime, which changes the clock and leaves alone what measures time."""

import signal
import tempfile
import time
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from client_manager.gateways.sync_store import SyncStore
from tests.chaos.cluster import Cluster
from tests.chaos.faults_of_nodes import DEATH_S, switch_over
from tests.chaos.nodes import Node, wait_until
from tests.chaos.trial import Hurt

_IMAGE = "python:3.11-slim"
_FETCH = (
    "apt-get update -qq && cd /tmp && apt-get download -qq libfaketime && dpkg -x libfaketime*.deb x"
    " && cp x/usr/lib/*/faketime/libfaketimeMT.so.1 {folder}/libfaketime.so"
)
_HOUR_S = 3600


@cache
def fetching(api: Any) -> Future[bytes]:
    """The library, once it has been fetched; asked for early, it keeps nobody waiting."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="libfaketime")
    found = pool.submit(_fetch, api)
    pool.shutdown(wait=False)
    return found


def _fetch(api: Any) -> bytes:
    with tempfile.TemporaryDirectory(prefix="chaos-clock-") as folder:
        container = api.create_container(
            _IMAGE,
            ["sh", "-c", _FETCH.format(folder=folder)],
            user="root",
            host_config=api.create_host_config(binds=[f"{folder}:{folder}"]),
        )["Id"]
        try:
            api.start(container)
            ended = api.wait(container, timeout=120)["StatusCode"]
            assert ended == 0, api.logs(container, tail=20).decode(errors="replace")
        finally:
            api.remove_container(container, force=True)
        return Path(folder, "libfaketime.so").read_bytes()


def leaders_clock_moved(cluster: Cluster) -> Generator[Hurt, None, None]:
    """The leader's clock jumps ahead, and back; it leads on."""
    node = cluster.leader()
    _start_with_a_clock(cluster, node)
    switch_over(cluster, node)
    at = _move(cluster, node, _HOUR_S)
    renewals = len(cluster.server.read_audit().leases)
    wait_until("the lease is renewed", lambda: len(cluster.server.read_audit().leases) > renewals + 1)
    assert cluster.leader() is node
    yield Hurt(at, None, "the node says by how much")
    _move(cluster, node, 0)
    _start_without(node)


def followers_clock_moved(cluster: Cluster) -> Generator[Hurt, None, None]:
    """The follower's clock is wrong when the leader dies; it leads nevertheless, by the server's clock."""
    leader = cluster.leader()
    node = cluster.other(leader)
    _start_with_a_clock(cluster, node)
    _move(cluster, node, _HOUR_S)
    yield Hurt(leader.send(signal.SIGKILL), DEATH_S, "its leader was killed meanwhile")
    leader.ended()
    _start_without(node)


def _start_with_a_clock(cluster: Cluster, node: Node) -> None:
    node.stop()
    (node.chaos / "libfaketime.so").write_bytes(fetching(cluster.api).result())
    _set(node, 0)
    node.start()
    cluster.settle()


def _start_without(node: Node) -> None:
    node.stop()
    (node.chaos / "clock").unlink()


def _set(node: Node, ahead_s: int) -> None:
    (node.chaos / "clock").write_text(f"+{ahead_s}\n")


def _move(cluster: Cluster, node: Node, ahead_s: int) -> float:
    """Move the clock, and wait until the node itself has told the server how wrong it is."""
    at = time.time()
    _set(node, ahead_s)
    wait_until(f"{node.name} is {ahead_s} s ahead", lambda: _is_ahead(cluster, node, ahead_s))
    return at


def _is_ahead(cluster: Cluster, node: Node, ahead_s: int) -> bool:
    with cluster.server.connect() as connection:
        nodes = SyncStore(connection).nodes(cluster.spec.name)
    skew = next(found.clock_skew_seconds for found in nodes if found.node_name == node.name)
    return skew is not None and abs(skew + ahead_s) < _HOUR_S / 60
