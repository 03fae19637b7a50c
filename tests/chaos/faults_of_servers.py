"""What can happen to PostgreSQL, to the way to it, and to disks."""

import signal
import time
from collections.abc import Generator
from contextlib import ExitStack, closing, suppress
from functools import partial

import psycopg
from pydantic import SecretStr

from client_manager.gateways import sync_roles
from client_manager.gateways.database import Database
from tests.chaos import pooler
from tests.chaos.cluster import CONNECTIONS, Cluster
from tests.chaos.faults_of_nodes import is_sick, patience_s
from tests.chaos.nodes import Node, wait_until
from tests.chaos.server import fill_up
from tests.chaos.trial import Hurt

OUTAGE_S = 120


def restarted(cluster: Cluster) -> Generator[Hurt, None, None]:
    at = cluster.up.tell(so=False)
    cluster.server.stop()
    cluster.server.start()
    cluster.up.tell(so=True)
    yield Hurt(at)


def killed(cluster: Cluster) -> Generator[Hurt, None, None]:
    at = cluster.up.tell(so=False)
    cluster.server.kill()
    cluster.server.start()
    cluster.up.tell(so=True)
    yield Hurt(at)


def gone_for_two_minutes(cluster: Cluster) -> Generator[Hurt, None, None]:
    gone = cluster.up.tell(so=False)
    cluster.server.stop()
    for node in cluster.nodes.values():
        wait_until(f"{node.name} says that PostgreSQL is gone", partial(is_sick, node))
    wait_until("two minutes are over", lambda: time.time() > gone + OUTAGE_S, OUTAGE_S + 10, every_s=1)
    assert all(is_sick(node) for node in cluster.nodes.values())
    back = time.time()
    cluster.server.start()
    cluster.up.tell(so=True)
    yield Hurt(back, patience_s(cluster), "both nodes said so; times from its return")


def back_with_an_older_state(cluster: Cluster) -> Generator[Hurt, None, None]:
    cluster.up.tell(so=False)
    cluster.server.stop()
    cluster.server.keep_copy()
    cluster.server.start()
    cluster.up.tell(so=True)
    kept = _generations(cluster)
    wait_until("every replica goes on", lambda: _are_ahead(cluster, kept))
    cluster.settle()
    at = cluster.up.tell(so=False)
    cluster.server.stop()
    newest = _latest(cluster)
    cluster.server.put_copy_back()
    cluster.server.start()
    cluster.up.tell(so=True)
    lost = sum(newest[name] - generation for name, generation in kept.items())
    yield Hurt(at, None, f"{lost} generations lost and written again")


def _generations(cluster: Cluster) -> dict[str, int]:
    return dict(cluster.server.sql("SELECT client_name, generation FROM sync_metadata.replication_state"))


def _latest(cluster: Cluster) -> dict[str, int]:
    return {row.client: row.generation for row in cluster.server.audit.writes}


def _are_ahead(cluster: Cluster, before: dict[str, int]) -> bool:
    cluster.ask_for_runs()
    return all(generation >= before[name] + 2 for name, generation in _generations(cluster).items())


def password_rotated(cluster: Cluster) -> Generator[Hurt, None, None]:
    """As the console does it, and the old sessions are ended, so that the new password is needed at once."""
    at = cluster.calm.tell(so=False)
    role, password = sync_roles.node_role(cluster.spec.name), sync_roles.new_password()
    with sync_roles.of(Database(SecretStr(cluster.server.url))) as roles:
        roles.set_password(cluster.spec.name, password)
    cluster.write_url(cluster.server.url_of(role, password.get_secret_value()))
    cluster.server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", role)
    yield Hurt(at)


def connections_used_up(cluster: Cluster) -> Generator[Hurt, None, None]:
    cluster.calm.tell(so=False)
    with ExitStack() as taken:
        url, at, leader = cluster.url(), time.time(), cluster.leader()

        def said() -> bool:
            _take_all(taken, url)
            return _says(cluster, leader, "no connection left", at)

        wait_until("a run says that there is no connection", said)
        freed = time.time()
    yield Hurt(freed, None, "runs waited and said why; times from when there were connections again")


def _take_all(taken: ExitStack, url: str) -> None:
    """Take every connection that is to be had, those too that runs have given back since."""
    with suppress(psycopg.OperationalError):
        for _ in range(CONNECTIONS + 1):
            taken.enter_context(closing(psycopg.connect(url)))
        raise AssertionError("there is no limit")


def _says(cluster: Cluster, node: Node, words: str, since: float) -> bool:
    cluster.ask_for_runs()
    said: bytes = cluster.api.logs(node.container, since=int(since))
    return any(words in line and "job_ended" in line for line in said.decode().splitlines())


def through_a_transaction_pooler(cluster: Cluster) -> Generator[Hurt, None, None]:
    """The nodes move behind the pooler; then its leader is killed, which nothing but the lease tells."""
    direct = cluster.url()
    cluster.calm.tell(so=False)
    with pooler.running(cluster, direct) as through:
        cluster.write_url(through)
        for node in cluster.nodes.values():
            node.stop()
            node.start()
        cluster.settle()
        leader = cluster.leader()
        yield Hurt(leader.send(signal.SIGKILL), patience_s(cluster), "by the lease alone")
        leader.ended()
        cluster.other(leader).stop()
        cluster.write_url(direct)


def state_disk_full(cluster: Cluster) -> Generator[Hurt, None, None]:
    cluster.calm.tell(so=False)
    leader = cluster.leader()
    filler, at = fill_up(cluster.folder.state), time.time()
    try:
        wait_until("a run finds no room", lambda: _says(cluster, leader, "No space left on device", at))
    finally:
        filler.unlink()
    yield Hurt(time.time(), None, "runs failed and said why; times from when there was room again")


def server_disk_full(cluster: Cluster) -> Generator[Hurt, None, None]:
    cluster.calm.tell(so=False)
    leader = cluster.leader()
    filler, at = fill_up(cluster.server.folder), time.time()
    try:
        wait_until("PostgreSQL finds no room", lambda: _finds_no_room(cluster, leader, at))
    finally:
        filler.unlink()
    died = not cluster.server.runs
    if died:
        cluster.server.start()
    ended = "the server ended and was started" if died else "runs failed and said why"
    yield Hurt(time.time(), None, f"{ended}; times from when there was room again")


def _finds_no_room(cluster: Cluster, leader: Node, since: float) -> bool:
    try:
        return _says(cluster, leader, "has no room left", since)
    except psycopg.errors.DiskFull:
        return False
    except psycopg.OperationalError:
        return not cluster.server.runs
