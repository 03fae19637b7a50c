"""Pure decisions: given what was read, may this go, and what goes with it. Nothing here reads or deletes."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from client_manager.models.base import Model
from client_manager.models.deregistration import (
    WAYS_OUT,
    Blocker,
    ClusterSnapshot,
    DeregistrationDecision,
    LeaseSeen,
)
from client_manager.models.sync import STALE_AFTER_S, Deployment


class RemovalSnapshot(Model):
    """What was read of a client before its removal.

    Attributes:
        data: where its data is, or None where it has none.
        data_root: the folder that the console may delete in.
        data_is_volume: whether the data lies in a Docker volume of the client's own rather than in a folder.
        other_users: containers, beside the client's own, that mount the same data.
        operation: an operation that was cut off, in words, or None.
        delete_data: whether the operator asked for the data to go too.
        registered: whether it is registered for sync; None: that is not known, and ``sync_problem`` says why.
    """

    client: str
    data: Path | None
    data_root: Path
    data_is_volume: bool
    other_users: tuple[str, ...]
    operation: str | None
    delete_data: bool
    registered: bool | None = False
    sync_problem: str = ""


class RemovalDecision(Model):
    """Why the client may not go (empty: it may), what goes, and what stays."""

    blockers: tuple[str, ...]
    goes: tuple[str, ...]
    stays: tuple[str, ...]


def decide_removal(snapshot: RemovalSnapshot) -> RemovalDecision:
    """Decide whether a client may be removed.

    Data is deleted only when that was asked for, nothing else uses it, and it lies where the console keeps data.
    """
    blockers = []
    if snapshot.operation:
        blockers.append(
            f"An operation on {snapshot.client} was cut off: {snapshot.operation}. Resume or undo it first."
        )
    if snapshot.delete_data:
        if snapshot.other_users:
            blockers.append(f"Its data is also used by {', '.join(snapshot.other_users)}.")
        if snapshot.data and not snapshot.data_is_volume and not _inside(snapshot.data, snapshot.data_root):
            blockers.append(f"Its data lies outside {snapshot.data_root}; delete {snapshot.data} by hand.")
    data = (f"all data in {snapshot.data}",) if snapshot.data else ()
    container = ("the container", "its network")
    return RemovalDecision(
        blockers=tuple(blockers),
        goes=(*container, *data, "the spec with its secret key") if snapshot.delete_data else container,
        stays=(
            *(() if snapshot.delete_data else (*data, "the spec with its secret key, set aside")),
            *_registration(snapshot),
        ),
    )


def _registration(snapshot: RemovalSnapshot) -> Iterator[str]:
    ends = f"client-manager sync deregister {snapshot.client}"
    if snapshot.registered:
        yield f"its registration for sync, and its replica; to end that first: {ends}"
    elif snapshot.registered is None:
        yield f"a registration for sync, if any, which is not known: {snapshot.sync_problem} To end it: {ends}"


def _inside(path: Path, root: Path) -> bool:
    return path.is_relative_to(root) and path != root and ".." not in path.parts


_RUN_THERE: Final = "Run this on that machine; if the machine is gone for good, use --lost-host."


def decide(snapshot: ClusterSnapshot) -> DeregistrationDecision:
    """Decide whether a cluster may be deregistered.

    It may when it holds no client whose sync is enabled, no job runs, nobody leads or lives but the nodes that the
    operation itself stops, every row was seen, and nothing that belongs elsewhere would go with it.
    """
    blockers = (*_unseen(snapshot), *_entangled(snapshot), *_in_use(snapshot), *_alive(snapshot))
    lease = _own_lease(snapshot)
    disabled = tuple(client.client_name for client in snapshot.clients if not client.sync_enabled)
    return DeregistrationDecision(
        cluster=snapshot.cluster,
        blockers=blockers,
        warnings=tuple(_warnings(snapshot, disabled)),
        disabled=disabled,
        orphans=tuple(job.job_id for job in snapshot.jobs if job.status == "running") if _is_lost(snapshot) else (),
        goes=snapshot.goes,
        stays=snapshot.stays,
        leader=lease.leader if lease and lease.valid else None,
        fingerprint=fingerprint(snapshot),
    )


def fingerprint(snapshot: ClusterSnapshot) -> str:
    """Return a digest of everything that would be deleted, but for what living nodes change all the time."""
    goes = {
        "cluster": snapshot.cluster,
        "lost_host": snapshot.circumstances.lost_host,
        "hosts": sorted([str(host.host_id), host.hostname, host.content] for host in snapshot.hosts),
        "nodes": sorted([node.cluster_name, node.node_name, str(node.host_id)] for node in snapshot.nodes),
        "clients": sorted(
            [str(client.deployment_id), client.client_name, str(client.sync_enabled), client.content]
            for client in snapshot.clients
        ),
    }
    return hashlib.sha256(json.dumps(goes, sort_keys=True).encode()).hexdigest()


def _unseen(snapshot: ClusterSnapshot) -> Iterator[Blocker]:
    if snapshot.hidden:
        yield Blocker(
            kind="hidden",
            what=f"This database user may not see every row of {', '.join(snapshot.hidden)}.",
            hint="Use the URL of the schema's owner: client-manager database use URL.",
        )


def _entangled(snapshot: ClusterSnapshot) -> Iterator[Blocker]:
    for table in snapshot.cascading:
        yield Blocker(
            kind="entangled",
            what=f"Rows of {table} would go with the cluster's without being asked.",
            hint="Run 'client-manager database migrate', or drop that foreign key.",
        )
    others = {lease.cluster_name for lease in snapshot.leases} | {node.cluster_name for node in snapshot.nodes}
    for other in sorted(others - {snapshot.cluster}):
        yield Blocker(
            kind="entangled",
            what=f"The nodes or the lease of another cluster, {other}, are recorded on a machine of this one.",
            hint=f"Deploy {other} again on its own machine, or deregister it first.",
        )


def _in_use(snapshot: ClusterSnapshot) -> Iterator[Blocker]:
    for client in snapshot.clients:
        if client.sync_enabled:
            yield Blocker(
                kind="enabled",
                what=f"The sync of {client.client_name} is enabled.",
                hint="Disable it, migrate the client to another cluster, or decommission it.",
                client=client,
                ways_out=WAYS_OUT,
            )
    if _is_lost(snapshot):
        return
    clients = {client.client_name: client for client in snapshot.clients}
    for job in snapshot.jobs:
        if job.status == "running":
            yield Blocker(
                kind="running",
                what=f"A job of {job.client_name} is running.",
                hint="Wait until it is over, or cancel it.",
                client=clients.get(job.client_name),
                ways_out=("disable",),
            )


def _alive(snapshot: ClusterSnapshot) -> Iterator[Blocker]:
    lease = _own_lease(snapshot)
    if lease and lease.valid and not _is_ours(snapshot, lease.hostname, lease.leader):
        yield Blocker(
            kind="leader",
            what=f"{lease.leader} on {lease.hostname or 'an unknown machine'} leads the cluster.",
            hint=_RUN_THERE,
        )
    for name, hostname, age_s in _unstopped(snapshot):
        if age_s is not None and age_s <= STALE_AFTER_S:
            yield Blocker(
                kind="alive", what=f"{name} on {hostname} was heard of {age_s:.0f} seconds ago.", hint=_RUN_THERE
            )
        elif not snapshot.circumstances.lost_host:
            yield Blocker(kind="elsewhere", what=f"{name} on {hostname} is not stopped by this.", hint=_RUN_THERE)


def _unstopped(snapshot: ClusterSnapshot) -> Iterator[tuple[str, str, float | None]]:
    """Yield name, machine and age of what may be running and is not stopped by the operation."""
    for node in snapshot.nodes:
        if not node.stopped and not _is_ours(snapshot, node.hostname, node.node_name):
            yield node.node_name, node.hostname, node.heartbeat_age_s
    with_nodes = {node.host_id for node in snapshot.nodes}
    here = () if snapshot.circumstances.lost_host else snapshot.circumstances.here
    for host in snapshot.hosts:
        if host.is_node and not _is_ours(snapshot, host.hostname, host.hostname):
            yield "the predecessor's node", host.hostname, host.heartbeat_age_s
        elif not host.is_node and host.host_id not in with_nodes and host.hostname not in here:
            yield "something", host.hostname, host.heartbeat_age_s


def _is_ours(snapshot: ClusterSnapshot, hostname: str | None, node: str) -> bool:
    circumstances = snapshot.circumstances
    return not circumstances.lost_host and hostname in circumstances.here and node in circumstances.stops


def _is_lost(snapshot: ClusterSnapshot) -> bool:
    """Say whether the cluster's machines are gone, so that nothing of it runs any more."""
    return snapshot.circumstances.lost_host and not any(_alive(snapshot))


def _own_lease(snapshot: ClusterSnapshot) -> LeaseSeen | None:
    return next((lease for lease in snapshot.leases if lease.cluster_name == snapshot.cluster), None)


def _warnings(snapshot: ClusterSnapshot, disabled: tuple[str, ...]) -> Iterator[str]:
    if disabled:
        yield f"Registered with sync disabled, and deleted from the records: {', '.join(disabled)}."
    for host in snapshot.hosts:
        if host.is_stale:
            yield f"{host.hostname} has {_silence(host.heartbeat_age_s)}."
    waiting = sum(job.status == "queued" for job in snapshot.jobs)
    if waiting:
        yield f"Waiting jobs that are cancelled: {waiting}."
    if _is_lost(snapshot) and len(snapshot.jobs) > waiting:
        yield f"Jobs of the lost machine that are closed as failed: {len(snapshot.jobs) - waiting}."
    if snapshot.homeless:
        yield f"Registered without a host, in no cluster, and left alone: {', '.join(snapshot.homeless)}."


def _silence(age_s: float | None) -> str:
    return "never been heard of" if age_s is None else f"not been heard of for {age_s / 60:.0f} minutes"


# What a run stops at until somebody has looked. A full run takes the source as it is.
_STOPPED: Final = {
    "needs_confirmation": "a run would have deleted much",
    "source_replaced": "its database is another one than before",
    "source_corrupt": "its database is damaged",
}


def why_full_run_waits(client: Deployment) -> str:
    """Return why a full run of a client needs the client's name typed; empty: it does not."""
    stopped = _STOPPED.get(client.replica_status or "", "")
    return stopped and f"Its replication has stopped: {client.replica_reason or stopped}."


def full_run_hint(client: str) -> str:
    """Return how such a run is asked for."""
    command = f"client-manager sync run {client} --full --confirm {client}"
    return f"If its replica is to be what its database is now: {command}"
