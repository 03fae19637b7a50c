"""What is said of a cluster, by what was read of it and what its nodes say."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from client_manager.cluster.health import Seen, judge
from client_manager.models.cluster import ClusterState, NodeOpinion
from client_manager.models.sync import Deployment, Host, Job, Lease, SyncNode

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def host(**changes: Any) -> Host:
    values = {
        "host_id": UUID(int=1), "hostname": "vm", "ip_address": None, "cluster_name": "prod", "status": "active",
        "last_heartbeat": NOW, "heartbeat_age_s": 3.0, "metadata": {"kind": "machine"}, "deployments": 1, "enabled": 1,
    }  # fmt: skip
    return Host.model_validate({**values, **changes})


def node(name: str, **changes: Any) -> SyncNode:
    values = {
        "cluster_name": "prod", "node_name": name, "host_id": UUID(int=1), "hostname": "vm", "boot_id": UUID(int=2),
        "api_port": 9443, "version": "1", "started_at": NOW, "last_heartbeat": NOW, "stopped_at": None,
        "heartbeat_age_s": 1.0, "clock_skew_seconds": 0.1, "leader_seen": "sync-node-a/1", "term_seen": 5,
    }  # fmt: skip
    return SyncNode.model_validate({**values, **changes})


def lease(**changes: Any) -> Lease:
    values = {
        "cluster_name": "prod", "leader_id": "sync-node-a/1", "leader_name": "sync-node-a",
        "leader_host_id": UUID(int=1),
        "term": 5, "acquired_at": NOW, "expires_at": NOW, "wanted_name": None, "wanted_at": None, "seconds_left": 7.0,
    }  # fmt: skip
    return Lease.model_validate({**values, **changes})


def client(**changes: Any) -> Deployment:
    values: dict[str, Any] = dict.fromkeys(Deployment.model_fields)
    values |= {
        "deployment_id": UUID(int=3), "host_id": UUID(int=1), "hostname": "vm", "cluster_name": "prod",
        "client_name": "acme", "container_name": "openwebui-acme", "sync_enabled": True, "sync_interval": 60,
        "last_sync_status": "success", "status": "active", "lag_s": 30.0, "replica_status": "ok",
        "quarantined": 0, "open_conflicts": 0,
    }  # fmt: skip
    return Deployment.model_validate({**values, **changes})


def job(message: str) -> Job:
    values: dict[str, Any] = dict.fromkeys(Job.model_fields)
    values |= {"job_id": UUID(int=4), "client_name": "acme", "status": "failed", "error_message": message}
    return Job.model_validate(values)


def opinion(name: str, **changes: Any) -> NodeOpinion:
    values = {
        "node_name": name, "reachable": True, "healthy": True, "is_leader": name == "sync-node-a",
        "node_id": f"{name}/1", "leader_id": "sync-node-a/1", "term": 5,
    }  # fmt: skip
    return NodeOpinion.model_validate({**values, **changes})


def seen(**changes: Any) -> Seen:
    state = {
        "name": "prod", "hosts": (host(),), "nodes": (node("sync-node-a"), node("sync-node-b")), "lease": lease(),
        "deployments": (client(),), "jobs": (),
    }  # fmt: skip
    state |= {name: changes.pop(name) for name in list(changes) if name in state}
    values = {"opinions": (opinion("sync-node-a"), opinion("sync-node-b")), "machine": "vm"}
    return Seen.model_validate({"state": ClusterState.model_validate(state), **values, **changes})


def test_a_cluster_that_is_well_has_nothing_but_good_said_of_it() -> None:
    found = judge(seen())

    assert {finding.severity for finding in found} == {"ok"}
    assert "sync-node-a leads, term 5" in [finding.what for finding in found]


CASES: list[tuple[str, dict[str, Any], str, str]] = [
    ("no lease", {"lease": None}, "critical", "Nobody leads: nobody ever has"),
    ("lease over", {"lease": lease(seconds_left=-4)}, "critical", "Nobody leads: sync-node-a's lease ended 4 s ago"),
    ("lease late", {"late": True}, "warning", "renews its lease late"),
    ("node missing", {"nodes": (node("sync-node-a"),)}, "warning", "sync-node-b has never run"),
    ("node stopped", {"nodes": (node("sync-node-a"), node("sync-node-b", stopped_at=NOW))}, "warning", "is stopped"),
    (
        "node silent",
        {"nodes": (node("sync-node-a"), node("sync-node-b", heartbeat_age_s=40))},
        "warning",
        "sync-node-b was last heard of 40 s ago",
    ),
    (
        "clock",
        {"nodes": (node("sync-node-a", clock_skew_seconds=-3), node("sync-node-b"))},
        "warning",
        "sync-node-a's clock is 3.0 s",
    ),
    (
        "no answer",
        {"opinions": (opinion("sync-node-a"), opinion("sync-node-b", reachable=False, problem="refused"))},
        "warning",
        "sync-node-b does not answer: refused",
    ),
    (
        "unwell",
        {"opinions": (opinion("sync-node-a", healthy=False, problem="PostgreSQL"), opinion("sync-node-b"))},
        "warning",
        "sync-node-a says that it is not well: PostgreSQL",
    ),
    (
        "two leaders",
        {"opinions": (opinion("sync-node-a"), opinion("sync-node-b", is_leader=True))},
        "critical",
        "sync-node-b believes that it leads",
    ),
    (
        "differing",
        {"opinions": (opinion("sync-node-a"), opinion("sync-node-b", leader_id="sync-node-a/0"))},
        "warning",
        "takes sync-node-a/0 for the leader",
    ),
    ("machine lost", {"hosts": (host(heartbeat_age_s=400),)}, "critical", "machine vm has not been heard of"),
    ("idle machine lost", {"hosts": (host(heartbeat_age_s=None, enabled=0),)}, "warning", "machine vm has not been"),
    (
        "predecessor",
        {"hosts": (host(), host(hostname="prod-node-a", metadata={}, deployments=2))},
        "warning",
        "2 clients still belong to the predecessor's node prod-node-a",
    ),
    ("another machine", {"hosts": (host(), host(hostname="vm2"))}, "critical", "Clients of the cluster are on vm2"),
    ("lag", {"deployments": (client(lag_s=181),)}, "warning", "replica of acme is 181 s behind"),
    (
        "failed",
        {"deployments": (client(last_sync_status="failed"),), "jobs": (job("disk full"),)},
        "warning",
        "last run of acme failed: disk full",
    ),
    (
        "blocked",
        {"deployments": (client(replica_status="source_corrupt", replica_reason="page 7"),)},
        "critical",
        "acme has a damaged database: page 7",
    ),
    ("busy", {"deployments": (client(replica_status="source_busy"),)}, "warning", "acme is busy"),
    ("quarantine", {"quarantined": {"acme": 3}}, "warning", "3 values of acme have no place"),
    ("homeless", {"homeless": (client(client_name="lost", host_id=None),)}, "warning", "lost belongs to no machine"),
]


@pytest.mark.parametrize(("changes", "severity", "said"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_whatever_is_wrong_is_said_with_what_to_do(changes: dict[str, Any], severity: str, said: str) -> None:
    found = [finding for finding in judge(seen(**changes)) if said in finding.what]

    assert [finding.severity for finding in found] == [severity]
    assert found[0].hint


def test_the_worst_comes_first() -> None:
    found = judge(seen(lease=None, quarantined={"acme": 1}))

    ranks = [("critical", "warning", "ok").index(finding.severity) for finding in found]
    assert ranks == sorted(ranks)
    assert ranks[0] == 0


def test_a_client_that_is_paused_may_lag() -> None:
    found = judge(seen(deployments=(client(sync_enabled=False, lag_s=9000, last_sync_status="failed"),)))

    assert {finding.severity for finding in found} == {"ok"}


def test_a_stopped_node_is_not_expected_to_answer() -> None:
    stopped = {"nodes": (node("sync-node-a"), node("sync-node-b", stopped_at=NOW))}
    said = (opinion("sync-node-a"), opinion("sync-node-b", reachable=False, problem="refused"))

    found = judge(seen(**stopped, opinions=said))

    assert not [finding for finding in found if "does not answer" in finding.what]
