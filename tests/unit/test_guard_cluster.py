"""The guard of a cluster: whatever was read, a client whose sync is enabled never goes."""

from typing import Any
from uuid import UUID, uuid5

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client_manager import guard
from client_manager.models.deregistration import (
    Circumstances,
    ClientSeen,
    ClusterSnapshot,
    HostSeen,
    JobSeen,
    LeaseSeen,
    NodeSeen,
)

_SPACE = UUID(int=7)
_HOSTNAMES = st.sampled_from(["here", "there", "prod-node-a"])
_CLUSTERS = st.sampled_from(["prod", "prod", "prod", "other"])
_NODES = st.sampled_from(["sync-node-a", "sync-node-b"])
_NAMES = st.sampled_from(["acme", "beta", "gamma"])
_AGES = st.sampled_from([0.0, 299.0, 300.0, 300.1, 9e9])


def _id(*parts: str) -> UUID:
    return uuid5(_SPACE, "/".join(parts))


_HOSTS = st.builds(
    HostSeen,
    host_id=_HOSTNAMES.map(_id),
    hostname=_HOSTNAMES,
    heartbeat_age_s=_AGES | st.none(),
    is_node=st.booleans(),
    content=st.sampled_from(["1", "2"]),
)
_NODE_ROWS = st.builds(
    NodeSeen,
    cluster_name=_CLUSTERS,
    node_name=_NODES,
    host_id=_HOSTNAMES.map(_id),
    hostname=_HOSTNAMES,
    stopped=st.booleans(),
    heartbeat_age_s=_AGES,
)
_LEASES = st.builds(
    LeaseSeen, cluster_name=_CLUSTERS, leader=_NODES, hostname=_HOSTNAMES | st.none(), valid=st.booleans()
)
_CLIENTS = st.builds(
    ClientSeen,
    deployment_id=_NAMES.map(_id),
    client_name=_NAMES,
    container_name=_NAMES,
    host_id=_HOSTNAMES.map(_id),
    sync_enabled=st.booleans(),
    last_sync_at=st.none(),
    status=st.sampled_from(["active", "paused", "migrating", "stopped", None]),
    content=st.sampled_from(["1", "2"]),
)
_JOBS = st.builds(
    JobSeen,
    job_id=st.integers(0, 3).map(str).map(_id),
    client_name=_NAMES,
    status=st.sampled_from(["queued", "running"]),
)
_COUNTS = st.dictionaries(st.sampled_from(["hosts", "client_deployments"]), st.integers(0, 9))
_SNAPSHOTS = st.builds(
    ClusterSnapshot,
    cluster=st.just("prod"),
    circumstances=st.builds(
        Circumstances,
        here=st.lists(_HOSTNAMES, unique=True).map(tuple),
        stops=st.lists(_NODES | _HOSTNAMES, unique=True).map(tuple),
        lost_host=st.booleans(),
    ),
    hidden=st.sampled_from([(), (), (), ("hosts",)]),
    cascading=st.sampled_from([(), (), (), ("public.billing",)]),
    hosts=st.lists(_HOSTS, max_size=3).map(tuple),
    nodes=st.lists(_NODE_ROWS, max_size=3).map(tuple),
    leases=st.lists(_LEASES, max_size=2, unique_by=lambda lease: lease.cluster_name).map(tuple),
    clients=st.lists(_CLIENTS, max_size=3, unique_by=lambda client: client.client_name).map(tuple),
    jobs=st.lists(_JOBS, max_size=2, unique_by=lambda job: job.job_id).map(tuple),
    homeless=st.lists(_NAMES, max_size=1).map(tuple),
    goes=_COUNTS,
    stays=_COUNTS,
)


def allowed(snapshot: ClusterSnapshot) -> bool:
    return not guard.decide(snapshot).blockers


@settings(max_examples=500)
@given(_SNAPSHOTS)
def test_no_decision_ever_deletes_a_client_whose_sync_is_enabled(snapshot: ClusterSnapshot) -> None:
    decision = guard.decide(snapshot)
    enabled = {client.client_name for client in snapshot.clients if client.sync_enabled}

    if enabled:
        assert decision.blockers
    assert {client.client_name for client in decision.enabled} == enabled
    assert not enabled & set(decision.disabled)


@settings(max_examples=500)
@given(_SNAPSHOTS)
def test_nothing_goes_that_somebody_else_may_be_using(snapshot: ClusterSnapshot) -> None:
    if not allowed(snapshot):
        return
    ours = snapshot.circumstances
    assert not snapshot.hidden
    assert not snapshot.cascading
    assert {lease.cluster_name for lease in snapshot.leases} <= {"prod"}
    assert {node.cluster_name for node in snapshot.nodes} <= {"prod"}
    for lease in snapshot.leases:
        if lease.valid:
            assert not ours.lost_host
            assert lease.hostname in ours.here
            assert lease.leader in ours.stops
    for node in snapshot.nodes:
        if not node.stopped and not (node.hostname in ours.here and node.node_name in ours.stops):
            assert ours.lost_host
        if not node.stopped and ours.lost_host:
            assert node.heartbeat_age_s > 300
    if not ours.lost_host:
        assert not [job for job in snapshot.jobs if job.status == "running"]


@settings(max_examples=500)
@given(_SNAPSHOTS)
def test_lost_host_demands_that_nobody_was_heard_of_for_five_minutes(snapshot: ClusterSnapshot) -> None:
    if snapshot.circumstances.lost_host and allowed(snapshot):
        with_nodes = {node.host_id for node in snapshot.nodes}
        for host in snapshot.hosts:
            if host.is_node or host.host_id not in with_nodes:
                assert host.heartbeat_age_s is None or host.heartbeat_age_s > 300


@given(_SNAPSHOTS, _SNAPSHOTS)
def test_fingerprint_is_that_of_what_goes(one: ClusterSnapshot, other: ClusterSnapshot) -> None:
    """Equal exactly when the same machines, nodes and clients go; what living nodes change is no difference."""

    def goes(snapshot: ClusterSnapshot) -> object:
        return (
            snapshot.circumstances.lost_host,
            sorted((str(host.host_id), host.hostname, host.content) for host in snapshot.hosts),
            sorted((node.cluster_name, node.node_name, str(node.host_id)) for node in snapshot.nodes),
            sorted(
                (str(row.deployment_id), row.client_name, row.sync_enabled, row.content) for row in snapshot.clients
            ),
        )

    assert (guard.fingerprint(one) == guard.fingerprint(other)) == (goes(one) == goes(other))


@given(_SNAPSHOTS, st.data())
def test_every_change_of_what_goes_has_another_fingerprint(snapshot: ClusterSnapshot, data: st.DataObject) -> None:
    changes: dict[str, dict[str, Any]] = {
        "hosts": {"content": "3", "hostname": "renamed", "host_id": _id("x")},
        "nodes": {"node_name": "sync-node-c", "host_id": _id("x")},
        "clients": {"content": "3", "sync_enabled": None, "client_name": "renamed", "deployment_id": _id("x")},
    }
    field = data.draw(st.sampled_from(sorted(changes)))
    rows = list(getattr(snapshot, field))
    if not rows:
        return
    place = data.draw(st.integers(0, len(rows) - 1))
    name = data.draw(st.sampled_from(sorted(changes[field])))
    value = changes[field][name] if name != "sync_enabled" else not rows[place].sync_enabled
    rows[place] = rows[place].model_copy(update={name: value})
    fewer = rows[:place] + rows[place + 1 :]

    for other in (rows, fewer):
        assert guard.fingerprint(snapshot.model_copy(update={field: tuple(other)})) != guard.fingerprint(snapshot)


@given(_SNAPSHOTS)
def test_fingerprint_outlives_heartbeats_and_orders(snapshot: ClusterSnapshot) -> None:
    later = snapshot.model_copy(
        update={
            "hosts": tuple(host.model_copy(update={"heartbeat_age_s": 1.0}) for host in reversed(snapshot.hosts)),
            "nodes": tuple(node.model_copy(update={"stopped": True}) for node in reversed(snapshot.nodes)),
            "leases": (),
            "clients": tuple(reversed(snapshot.clients)),
        }
    )

    assert guard.fingerprint(later) == guard.fingerprint(snapshot)


@given(_SNAPSHOTS)
def test_every_blocker_says_what_and_how_to_go_on(snapshot: ClusterSnapshot) -> None:
    for blocker in guard.decide(snapshot).blockers:
        assert blocker.what.endswith(".")
        assert blocker.hint
        if blocker.kind == "enabled":
            assert blocker.ways_out == ("disable", "migrate", "decommission")


def test_disabled_clients_and_silent_hosts_are_warned_of_and_counted() -> None:
    host = HostSeen(host_id=_id("here"), hostname="here", heartbeat_age_s=720, is_node=False, content="1")
    client = ClientSeen(
        deployment_id=_id("acme"),
        client_name="acme",
        container_name="openwebui-acme",
        host_id=host.host_id,
        sync_enabled=False,
        last_sync_at=None,
        status="paused",
        content="1",
    )
    snapshot = ClusterSnapshot(
        cluster="prod",
        circumstances=Circumstances(here=("here",)),
        hosts=(host,),
        clients=(client,),
        homeless=("lonely",),
        goes={"client_deployments": 1, "hosts": 1},
    )

    decision = guard.decide(snapshot)

    assert decision.blockers == ()
    assert decision.goes == {"client_deployments": 1, "hosts": 1}
    assert decision.disabled == ("acme",)
    assert [
        word for word in ("acme", "12 minutes", "lonely") if not any(word in text for text in decision.warnings)
    ] == []


@pytest.mark.parametrize("status", ["queued", "running"])
def test_only_a_running_job_blocks(status: str) -> None:
    snapshot = ClusterSnapshot.model_validate(
        {
            "cluster": "prod",
            "circumstances": {},
            "jobs": [{"job_id": _id("1"), "client_name": "acme", "status": status}],
        }
    )

    assert [blocker.kind for blocker in guard.decide(snapshot).blockers] == (["running"] if status == "running" else [])
