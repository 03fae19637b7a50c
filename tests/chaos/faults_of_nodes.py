"""What can happen to a node."""

import signal
import time
from collections.abc import Generator

from client_manager.gateways.sync_store import SyncStore
from tests.chaos.cluster import Cluster
from tests.chaos.nodes import Node, wait_until
from tests.chaos.trial import Fault, Hurt

BEFORE_COMMIT, IN_THE_SHADOW = "before commit", "page written"
# The kernel of a dead process ends its sessions, and its standby sees that at once; the rest is a busy machine's.
DEATH_S = 3.0


def patience_s(cluster: Cluster) -> float:
    """How long a leader may be missing that nobody can tell from a slow one."""
    return cluster.times.ttl_s + cluster.times.poll_s


def killed_idle(cluster: Cluster) -> Generator[Hurt, None, None]:
    node = cluster.leader()
    yield Hurt(node.send(signal.SIGKILL), DEATH_S)
    node.ended()


def frozen_idle(cluster: Cluster) -> Generator[Hurt, None, None]:
    node = cluster.leader()
    yield Hurt(node.send(signal.SIGSTOP), patience_s(cluster))
    node.send(signal.SIGCONT)


def killed_at(label: str) -> Fault:
    def fault(cluster: Cluster) -> Generator[Hurt, None, None]:
        node = cluster.leader()
        node.arm(label, signal.SIGKILL)
        yield Hurt(_gone_off(cluster, node), DEATH_S)
        node.ended()

    return fault


def frozen_at(label: str) -> Fault:
    def fault(cluster: Cluster) -> Generator[Hurt, None, None]:
        node = cluster.leader()
        node.arm(label, signal.SIGSTOP)
        yield Hurt(_gone_off(cluster, node), patience_s(cluster))
        node.send(signal.SIGCONT)

    return fault


def _gone_off(cluster: Cluster, node: Node) -> float:
    cluster.ask_for_runs()
    return node.gone_off()


def leader_cut_off(cluster: Cluster) -> Generator[Hurt, None, None]:
    node = cluster.leader()
    yield Hurt(node.cut(), patience_s(cluster))
    _says_itis_sick(node)
    node.join()


def leader_half_open(cluster: Cluster) -> Generator[Hurt, None, None]:
    node = cluster.leader()
    yield Hurt(node.drop_packets(), patience_s(cluster))
    _says_itis_sick(node)
    node.let_packets_through()


def both_cut_off(cluster: Cluster) -> Generator[Hurt, None, None]:
    nodes = list(cluster.nodes.values())
    cut = [node.cut() for node in nodes]
    wait_until("the lease runs out", lambda: time.time() > max(cut) + cluster.grace_s, 2 * cluster.grace_s)
    for node in nodes:
        _says_itis_sick(node)
        node.join()
    yield Hurt(time.time(), patience_s(cluster), "both said so")


def _says_itis_sick(node: Node) -> None:
    """Whoever cannot hear of the server says that, and does not say that it leads."""
    wait_until(f"{node.name} says that it is cut off", lambda: is_sick(node))


def is_sick(node: Node) -> bool:
    said = node.said()
    return said is not None and said.status == 503 and not said.body["is_leader"]


def restarted_within_the_lease(cluster: Cluster) -> Generator[Hurt, None, None]:
    node = cluster.leader()
    at = node.send(signal.SIGKILL)
    node.ended()
    node.start()
    yield Hurt(at, DEATH_S)


def two_with_one_name(cluster: Cluster) -> Generator[Hurt, None, None]:
    """A second process with the leader's name waits; it gets the name when the first has given it back."""
    node = cluster.leader()
    twin = cluster.add_node(node.name, beside="-twin")  # type: ignore[arg-type]
    try:
        began = twin.start()
        wait_until("the twin says that it waits", lambda: is_sick(twin))
        wait_until("the twin goes on waiting", lambda: time.time() > began + cluster.grace_s, 2 * cluster.grace_s)
        _says_itis_sick(twin)
        assert cluster.leader() is node
        stopped = node.stop()
        wait_until("the twin has the name", lambda: (said := twin.said()) is not None and said.status == 200)
        yield Hurt(stopped, None, "the second waited until the first had stopped")
    finally:
        twin.stop()
        twin.remove()


def switch_over(cluster: Cluster, node: Node) -> None:
    """Make this node the leader, as an operator does."""
    if cluster.leader() is node:
        return
    with cluster.server.connect() as connection:
        assert SyncStore(connection).request_switch_over(cluster.spec.name, node.name)
    wait_until(f"{node.name} leads", lambda: cluster.leader() is node)
    cluster.settle()
