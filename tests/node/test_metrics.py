"""What the metrics say of events, and that their number stays bounded."""

from collections.abc import Callable, Mapping
from pathlib import Path
from uuid import uuid4

import pytest

from client_manager.models.cluster import ClusterFolder, ClusterSpec
from client_manager.models.work import ClientWork, RunningWork, Work
from client_manager.node import metrics as module
from client_manager.node.health import Vitals
from client_manager.node.identity import Identity
from client_manager.node.leadership import Leadership
from client_manager.node.metrics import Metrics

RUN: Mapping[str, object] = {
    "client": "acme", "kind": "sync", "status": "success", "job_id": None, "seconds": 2.5, "level": "pages",
    "tables": 1, "rows": 7, "bytes": 4096, "quarantined": 0, "missed": 0, "error_type": "", "error": "",
}  # fmt: skip
IDLE = Work(term=7, outcomes={"success": 1, "idle": 3})


@pytest.fixture
def vitals() -> Vitals:
    spec = ClusterSpec(
        name="prod", hostname="host", host_id=uuid4(), data_root=Path("/nowhere"), image="node:1", network="host",
        uid=0, gid=0,
    )  # fmt: skip
    return Vitals(Identity(spec, ClusterFolder(path=Path("/nowhere")), "sync-node-a"), Leadership(lambda: 100.0))


@pytest.fixture
def metrics(vitals: Vitals) -> Metrics:
    return Metrics(vitals, lambda: IDLE)


def series(metrics: Metrics) -> dict[str, float]:
    lines = [line for line in metrics.text().decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_a_run_is_counted_under_the_predecessors_names(metrics: Metrics) -> None:
    metrics.hear("job_ended", {**RUN, "job_id": uuid4()})
    found = series(metrics)
    assert found['sync_operations_total{client="acme",status="success"}'] == 1
    assert found['sync_rows_processed_total{client="acme",table="(all)"}'] == 7
    assert found['sync_bytes_transferred_total{client="acme",direction="upload"}'] == 4096
    assert found['sync_duration_seconds_sum{client="acme"}'] == 2.5
    assert found['sync_duration_seconds_bucket{client="acme",le="5.0"}'] == 1
    assert found['sync_duration_seconds_bucket{client="acme",le="1.0"}'] == 0
    assert found["sync_queue_processing_time_seconds_count"] == 1


def test_a_failed_run_is_an_error_of_its_kind(metrics: Metrics) -> None:
    failed = {name: RUN[name] for name in ("client", "kind", "job_id", "seconds")}
    metrics.hear("job_ended", {**failed, "status": "failed", "error_type": "Blocked", "error": "words of a tenant"})
    found = series(metrics)
    assert found['sync_operations_total{client="acme",status="failed"}'] == 1
    assert found['errors_total{component="sync",error_type="Blocked"}'] == 1
    assert "tenant" not in metrics.text().decode()


@pytest.mark.parametrize(
    ("runs", "counted"),
    [
        ([("full", 5)], 5),
        ([("pages", 5)], 0),
        ([("pages", 5), ("pages", 8)], 3),
        ([("full", 5), ("pages", 2), ("pages", 4)], 7),
    ],
)
def test_only_what_is_set_aside_anew_is_counted(metrics: Metrics, runs: list[tuple[str, int]], counted: int) -> None:
    for level, quarantined in runs:
        metrics.hear("job_ended", {**RUN, "level": level, "quarantined": quarantined})
    name = 'sync_rows_failed_total{client="acme",error_type="quarantined",table="(all)"}'
    assert series(metrics)[name] == counted


def test_a_verification_counts_its_differences(metrics: Metrics) -> None:
    metrics.hear("job_ended", {**RUN, "kind": "verify", "differences": 3, "healed": 2, "rows": 1000})
    found = series(metrics)
    assert found['conflicts_detected_total{client="acme",table="(all)",type="difference"}'] == 3
    assert found['conflicts_resolved_total{client="acme",strategy="healed"}'] == 2
    assert 'sync_rows_processed_total{client="acme",table="(all)"}' not in found


@pytest.mark.parametrize(
    ("event", "fields", "name"),
    [
        ("elected", {"former": None}, 'leader_elections_total{result="won"}'),
        ("lost", {"reason": "stopped"}, 'leader_elections_total{result="lost"}'),
        ("name_refused", {"problem": "x"}, 'leader_elections_total{result="name_refused"}'),
        ("database_lost", {"what": "x"}, 'heartbeat_failures_total{node_id="sync-node-a"}'),
        ("database_lost", {"what": "x"}, 'errors_total{component="election",error_type="database_lost"}'),
        ("work_interrupted", {"why": "x"}, 'errors_total{component="scheduler",error_type="database_lost"}'),
        ("cache_event", {"key": "deployment.x", "action": "invalidate"},
         'state_cache_invalidations_total{reason="invalidate"}'),
        ("elected", {"former": "sync-node-b/abc"},
         'failover_events_total{from_node="sync-node-b",reason="takeover",to_node="sync-node-a"}'),
    ],
)  # fmt: skip
def test_events_are_counted(metrics: Metrics, event: str, fields: Mapping[str, object], name: str) -> None:
    assert name not in series(metrics)
    metrics.hear(event, fields)
    metrics.hear(event, fields)
    assert series(metrics)[name] == 2


def test_an_own_restart_is_no_failover(metrics: Metrics) -> None:
    metrics.hear("elected", {"former": "sync-node-a/abc"})
    assert not [name for name in series(metrics) if name.startswith("failover_events_total")]


def test_what_is_now_comes_from_the_scheduler_and_the_election(vitals: Vitals) -> None:
    running = RunningWork(client="acme", kind="sync", lane="light", since_s=1, job_id=None)
    clients = tuple(
        ClientWork(client=name, last_success_age_s=age, due_in_s=1, failures=0, problem="")
        for name, age in (("acme", 30.0), ("beta", 700.0), ("new", None))
    )
    work = Work(term=7, running=(running,), waiting=2, jobs=3, outcomes={"idle": 9}, clients=clients)
    vitals.leadership.update(
        term=7, leads=True, leads_until=103.0, leader_id=vitals.identity.node_id, leader_until=104.0, heard_at=99.0
    )
    found = series(Metrics(vitals, lambda: work))
    labels = '{cluster="prod",node_id="sync-node-a"}'
    assert (found[f"sync_container_is_leader{labels}"], found[f"node_healthy{labels}"]) == (1, 1)
    assert found['leader_term{cluster="prod"}'] == 7
    assert (found["sync_jobs_active"], found["sync_queue_size"], found["state_cache_size"]) == (1, 5, 3)
    assert found['sync_looks_total{outcome="idle"}'] == 9
    assert found[f'state_sync_lag_seconds{{host_id="{vitals.identity.spec.host_id}"}}'] == 700
    assert 'last_successful_sync_timestamp{client="new"}' not in found
    ages = [found[f'last_successful_sync_timestamp{{client="{name}"}}'] for name in ("acme", "beta")]
    assert ages[0] - ages[1] == pytest.approx(670, abs=1)


def test_a_client_that_is_deregistered_leaves_no_series(metrics: Metrics) -> None:
    metrics.hear("job_ended", RUN)
    metrics.hear("job_ended", {**RUN, "client": "beta"})
    metrics.hear("cache_event", {"key": "deployment.acme", "action": "delete"})
    named = [name for name in series(metrics) if "client=" in name]
    assert [name for name in named if 'client="acme"' in name] == []
    assert [name for name in named if 'client="beta"' in name]


def test_there_are_no_more_series_than_clients_may_be(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_CLIENTS", 3)
    for number in range(10):
        metrics.hear("job_ended", {**RUN, "client": f"c{number}"})
    found = {name: value for name, value in series(metrics).items() if name.startswith("sync_operations_total")}
    assert len(found) == 4
    assert found['sync_operations_total{client="(others)",status="success"}'] == 7


def test_an_event_that_nobody_counts_is_no_fault(metrics: Metrics) -> None:
    before = series(metrics).keys()
    metrics.hear("leader_seen", {"leader": "x", "term": 1})
    assert series(metrics).keys() == before


def test_two_registries_do_not_meet(vitals: Vitals) -> None:
    make: Callable[[], Metrics] = lambda: Metrics(vitals, lambda: IDLE)  # noqa: E731
    first, second = make(), make()
    first.hear("lost", {"reason": "x"})
    assert 'leader_elections_total{result="lost"}' not in series(second)
