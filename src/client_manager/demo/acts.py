"""What both stories do: chats arrive, a leader is followed by another, the cluster is blocked, goes and comes back."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from client_manager.demo.place import NAME
from client_manager.demo.stage import Stage
from client_manager.errors import ExitCode
from client_manager.models.sync import Deployment, Lease
from client_manager.sync_node.nodes import opinions, spec_of

_AGREE_S: Final = 30.0
_TAKEOVER_S: Final = 30.0


def write_a_chat(stage: Stage, title: str, write: Callable[[str], str], interval_s: int) -> None:
    """Write a chat, and wait until it is in PostgreSQL; say how long that took."""
    began = time.monotonic()
    seconds = stage.arrival_s(write(title), title, began)
    stage.narrator.looked(
        f"'{title}' is in PostgreSQL, {seconds:.2f} s after it was written; the leader looks every {interval_s} s."
    )


def see_the_nodes(stage: Stage, where: str, require_alive: Callable[[], None]) -> Lease:
    """Wait until both nodes say that they are well, and agree with PostgreSQL on who leads.

    Args:
        stage: of the demo.
        where: they are, in words.
        require_alive: raises where one of them has ended, which is not waited for.
    """
    spec = spec_of(stage.app, NAME)

    def agreed() -> Lease | None:
        require_alive()
        lease, said = stage.lease(), opinions(spec)
        well = lease and all(each.healthy and each.leader_id == lease.leader_id for each in said)
        return lease if well else None

    lease = stage.wait_until(agreed, "both nodes are well and agree on who leads", within_s=_AGREE_S)
    stage.narrator.looked(
        f"both nodes {where} and say that they are well; by PostgreSQL {lease.leader} leads, term {lease.term}."
    )
    return lease


def kill_the_leader(stage: Stage, kill: Callable[[str], None], is_dead: Callable[[str], bool]) -> str:
    """Kill the node that leads, wait until the other one does, and say how long that took.

    Args:
        stage: of the demo.
        kill: shows how a node is killed, and does it.
        is_dead: says whether it is.

    Returns:
        the name of the dead one.
    """
    before = stage.leader()
    with stage.app.sync_store() as store:

        def successor() -> Lease | None:
            lease = store.lease(NAME)
            return lease if lease and lease.is_valid and lease.leader_id != before.leader_id else None

        began = time.monotonic()
        kill(before.leader)
        after = stage.wait_until(successor, "another node leads", within_s=_TAKEOVER_S)
        seconds = since(began)
    stage.hold(is_dead(before.leader), f"{before.leader} is dead", "it runs")
    stage.narrator.looked(
        f"{before.leader} is dead, and {after.leader} leads {seconds:.2f} s after the kill, "
        f"with term {after.term} after {before.term}."
    )
    return before.leader


def be_blocked(stage: Stage, *options: str) -> None:
    """Try to deregister the cluster while its client is replicated."""
    before = record(stage)
    stage.type("cluster", "deregister", NAME, *options, ends_with=ExitCode.BLOCKED)
    after = record(stage)
    stage.hold(
        after and before and after.deployment_id == before.deployment_id and after.sync_enabled,
        "the client is still registered, and replicated",
        after,
    )
    lease = stage.leader()
    stage.narrator.looked(f"nothing was done: {NAME} is registered and enabled, and {lease.leader} leads.")


def be_deregistered(stage: Stage, *options: str) -> Path:
    """Deregister the cluster with what stands in the way disabled in the same command; return the bundle."""
    before = stage.replica_counts()
    stage.type("cluster", "deregister", NAME, "--disable", NAME, *options, "--confirm", NAME)
    with stage.app.sync_store() as store:
        state = store.state(NAME)
    stage.hold(
        not (state.hosts or state.nodes or state.deployments or state.lease),
        "no machine, node, client or lease of the cluster is recorded",
        state,
    )
    after = stage.replica_counts()
    stage.hold(after == before, "the replica is as it was", after)
    bundles = sorted((stage.app.settings.data_root / "bundles").glob(f"{NAME}-*.json"))
    stage.hold(len(bundles) == 1, "there is one bundle", bundles)
    stage.narrator.looked(
        f"no machine, node, client or lease of {NAME} is recorded any more; the replica has its "
        f"{sum(after.values())} rows."
    )
    return bundles[0]


def be_restored(stage: Stage, bundle: Path) -> None:
    """Bring the cluster back from its bundle."""
    stage.type("cluster", "restore", str(bundle), "--yes")
    found = record(stage)
    stage.hold(found and found.cluster_name == NAME and not found.sync_enabled, "the record is back", found)
    stage.narrator.looked(f"{NAME} is recorded in the cluster {NAME} again, its sync disabled as it was.")


def record(stage: Stage) -> Deployment | None:
    """Return the client's record, or None where it has none."""
    with stage.app.sync_store() as store:
        return next(iter(store.deployments(client=NAME)), None)


def since(began: float) -> float:
    """Return the seconds since a moment of the monotonic clock."""
    return time.monotonic() - began
