"""How a cluster is: what the database has of it against what its nodes say themselves, and what to do about it."""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from client_manager.app import App
from client_manager.cluster import client_health
from client_manager.errors import NotFound
from client_manager.gateways import host, node_http
from client_manager.gateways.sync_registry import SyncRegistry
from client_manager.gateways.sync_store import SyncStore
from client_manager.models.base import Model
from client_manager.models.cluster import ClusterState, HealthFinding, NodeOpinion
from client_manager.models.sync import NODE_NAMES, STALE_AFTER_S, Deployment, Lease, LeaseTimes, SyncNode

_SILENT_AFTER_S: Final = 10
_SKEW_S: Final = 2
_LOOKS: Final = 3


class Seen(Model):
    """All that a judgement rests on.

    Attributes:
        opinions: of the nodes, where they are on this machine.
        late: whether the lease was found unrenewed at each of several looks.
        quarantined: client -> values that its replica could not hold.
        homeless: clients that no machine has.
        machine: this one's name, where the cluster is on it.
    """

    state: ClusterState
    opinions: tuple[NodeOpinion, ...] = ()
    late: bool = False
    quarantined: Mapping[str, int] = {}
    homeless: tuple[Deployment, ...] = ()
    machine: str | None = None


def examine(app: App, cluster: str) -> tuple[HealthFinding, ...]:
    """Return what is to be said of a cluster, the worst first.

    Raises:
        NotFound: nobody has ever heard of it.
        Unavailable: the database does not answer.
    """
    return judge(look(app, cluster))


def look(app: App, cluster: str) -> Seen:
    """Read a cluster and ask its nodes, where they are on this machine.

    Raises:
        NotFound: nobody has ever heard of it.
    """
    spec = app.cluster_files.read(cluster)
    with app.database.connect() as connection:
        store = SyncStore(connection)
        state = store.state(cluster)
        if spec is None and not (state.hosts or state.nodes or state.lease):
            raise NotFound(
                f"There is no cluster {cluster}.", hint=f"The database knows: {', '.join(store.clusters()) or 'none'}."
            )
        return Seen(
            state=state,
            opinions=opinions(app, cluster),
            late=_is_late(store, cluster, spec.times if spec else LeaseTimes(), state.lease),
            quarantined=SyncRegistry(connection).quarantined(cluster),
            homeless=tuple(row for row in store.deployments() if row.host_id is None),
            machine=host.name() if spec else None,
        )


def opinions(app: App, cluster: str) -> tuple[NodeOpinion, ...]:
    """Ask the nodes of a cluster what they think; none where it is not on this machine."""
    spec = app.cluster_files.read(cluster)
    if spec is None:
        return ()
    with ThreadPoolExecutor(len(spec.ports)) as pool:
        return tuple(pool.map(lambda node: node_http.opinion(node, spec.ports[node]), spec.ports))


def judge(seen: Seen) -> tuple[HealthFinding, ...]:
    """Return the findings, the worst first; pure."""
    found = [
        *_leader(seen),
        *(finding for name in NODE_NAMES for finding in _node(name, seen.state)),
        *_opinions(seen),
        *_hosts(seen),
        *client_health.judge(seen.state, seen.quarantined, seen.homeless),
    ]
    return tuple(sorted(found, key=lambda finding: ("critical", "warning", "ok").index(finding.severity)))


def _is_late(store: SyncStore, cluster: str, times: LeaseTimes, lease: Lease | None) -> bool:
    """Say whether at each look the lease had missed a renewal; once may be chance, or a hand-over."""
    for again in range(_LOOKS):
        if lease is None or not lease.is_valid or lease.seconds_left > times.ttl_s - 2 * times.renew_s:
            return False
        if again < _LOOKS - 1:
            time.sleep(times.renew_s / 2)
            lease = store.lease(cluster)
    return True


def _leader(seen: Seen) -> Iterator[HealthFinding]:
    lease = seen.state.lease
    if lease is None or not lease.is_valid:
        since = "nobody ever has" if lease is None else f"{lease.leader}'s lease ended {-lease.seconds_left:.0f} s ago"
        yield HealthFinding(
            severity="critical",
            what=f"Nobody leads: {since}.",
            hint="Look at the nodes: client-manager node list, client-manager node logs sync-node-a.",
        )
    elif seen.late:
        yield HealthFinding(
            severity="warning",
            what=f"{lease.leader} renews its lease late: {lease.seconds_left:.1f} s were left.",
            hint="The database is slow or the machine is busy; look at its load and at the node's log.",
        )
    else:
        yield HealthFinding(severity="ok", what=f"{lease.leader} leads, term {lease.term}")


def _node(name: str, state: ClusterState) -> Iterator[HealthFinding]:
    node = next((row for row in state.nodes if row.node_name == name), None)
    deploy = f"client-manager cluster deploy {state.name}"
    if node is None:
        yield HealthFinding(severity="warning", what=f"{name} has never run.", hint=f"Deploy it: {deploy}.")
        return
    trouble = _trouble(node)
    if trouble:
        hint = f"client-manager node start {name}; 'client-manager node logs {name}' tells why."
        yield HealthFinding(severity="warning", what=f"{name} {trouble}: nobody stands by.", hint=hint)
    elif node.clock_skew_seconds is not None and abs(node.clock_skew_seconds) > _SKEW_S:
        what = f"{name}'s clock is {abs(node.clock_skew_seconds):.1f} s from the server's."
        yield HealthFinding(severity="warning", what=what, hint=f"Set up NTP on {node.hostname} ('timedatectl').")
    else:
        yield HealthFinding(severity="ok", what=f"{name} gave a sign {node.heartbeat_age_s:.0f} s ago")


def _trouble(node: SyncNode) -> str:
    if node.stopped_at is not None:
        return "is stopped"
    return f"was last heard of {node.heartbeat_age_s:.0f} s ago" if node.heartbeat_age_s > _SILENT_AFTER_S else ""


def _opinions(seen: Seen) -> Iterator[HealthFinding]:
    lease = seen.state.lease
    valid = lease if lease and lease.is_valid else None
    stopped = {node.node_name for node in seen.state.nodes if node.stopped_at}
    for said in seen.opinions:
        logs = f"client-manager node logs {said.node_name}"
        if not said.reachable:
            if said.node_name not in stopped:
                what = f"{said.node_name} does not answer: {said.problem}."
                yield HealthFinding(severity="warning", what=what, hint=f"See {logs}.")
        elif not said.healthy:
            what = f"{said.node_name} says that it is not well: {said.problem}"
            yield HealthFinding(severity="warning", what=what, hint=f"See {logs}.")
        elif said.is_leader and (valid is None or said.node_id != valid.leader_id):
            what = f"{said.node_name} believes that it leads, and the lease is not its own."
            hint = "It cannot write under an earlier term. If this stays, restart it."
            yield HealthFinding(severity="critical", what=what, hint=hint)
        elif valid and said.leader_id and said.leader_id != valid.leader_id:
            what = f"{said.node_name} takes {said.leader_id} for the leader, which is {valid.leader_id}."
            yield HealthFinding(
                severity="warning", what=what, hint="During a switch-over this passes; else restart it."
            )


def _hosts(seen: Seen) -> Iterator[HealthFinding]:
    machines = [row for row in seen.state.hosts if not row.is_predecessor_node]
    for row in seen.state.hosts:
        if row.is_predecessor_node and row.deployments:
            what = f"{row.deployments} clients still belong to the predecessor's node {row.hostname}."
            hint = f"Move them: client-manager cluster deploy {seen.state.name}."
            yield HealthFinding(severity="warning", what=what, hint=hint)
        elif not row.is_predecessor_node and row.is_stale:
            what = f"The machine {row.hostname} has not been heard of for more than {STALE_AFTER_S // 60} minutes."
            hint = "Look whether it runs. If it is lost: deploy the cluster elsewhere with --take-over."
            yield HealthFinding(severity="critical" if row.enabled else "warning", what=what, hint=hint)
    yield from _elsewhere(seen, [row.hostname for row in machines if row.deployments])


def _elsewhere(seen: Seen, machines: Sequence[str]) -> Iterator[HealthFinding]:
    """Find clients of the cluster that its nodes do not see, since they are another machine's."""
    running = {node.hostname for node in seen.state.nodes} or ({seen.machine} if seen.machine else set())
    for name in machines:
        if running and name not in running:
            what = f"Clients of the cluster are on {name}, and its nodes on {', '.join(sorted(running))}."
            hint = f"Move them: client-manager cluster deploy {seen.state.name} --take-over, with their data here."
            yield HealthFinding(severity="critical", what=what, hint=hint)
