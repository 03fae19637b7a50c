"""Clusters, nodes and runs on the screen: golden pictures, hostile names, and never a line too many."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import RenderableType

from client_manager.models.cluster import ClusterState, HealthFinding, NodeOpinion
from client_manager.models.sync import Deployment, Host, Job, Lease, SyncNode, TableProgress
from client_manager.views.clusters import check_line, cluster_page, cluster_table, health_table
from client_manager.views.lines import cut, row_lines
from client_manager.views.nodes import log_line, node_page, node_state, opinion_page, opinion_words
from client_manager.views.sync import progress_lines, sync_page, sync_state, sync_table, tables_words, worst_first
from client_manager.views.watch import Screen, Trouble, watch_screen
from tests.screen import console_on

GOLDEN = Path(__file__).parent / "golden"
# "make golden" for this file: run with the variable set, then read the difference before it is committed.
REWRITE = os.environ.get("REWRITE_GOLDEN") == "1"
NOW = datetime(2026, 10, 5, 2, 0, 0, tzinfo=UTC)
HOSTILE = "[x]\x1b[31m\x1b]0;owned\x07 a\nb \x9b2J :smile:"
LONG = "client-with-a-name-as-long-as-fifty-two-characters-x"


def host(**changes: object) -> Host:
    fields: dict[str, object] = {
        "host_id": UUID(int=1),
        "hostname": "vps-1",
        "ip_address": "10.0.0.1",
        "cluster_name": "prod",
        "status": "active",
        "last_heartbeat": NOW - timedelta(seconds=3),
        "heartbeat_age_s": 3.0,
        "metadata": {"by": "client-manager"},
        "deployments": 3,
        "enabled": 2,
    }
    return Host.model_validate({**fields, **changes})


def node(name: str = "sync-node-a", **changes: object) -> SyncNode:
    fields: dict[str, object] = {
        "cluster_name": "prod",
        "node_name": name,
        "host_id": UUID(int=1),
        "hostname": "vps-1",
        "boot_id": UUID(int=7),
        "api_port": 9443,
        "version": "0.3.0",
        "started_at": NOW - timedelta(hours=3),
        "last_heartbeat": NOW - timedelta(seconds=1),
        "stopped_at": None,
        "heartbeat_age_s": 1.0,
        "clock_skew_seconds": 0.01,
        "leader_seen": "sync-node-a/000000000007",
        "term_seen": 1790000000,
    }
    return SyncNode.model_validate({**fields, **changes})


def lease(**changes: object) -> Lease:
    fields: dict[str, object] = {
        "cluster_name": "prod",
        "leader_id": "sync-node-a/000000000007",
        "leader_name": "sync-node-a",
        "leader_host_id": UUID(int=1),
        "term": 1790000000,
        "acquired_at": NOW - timedelta(hours=3),
        "expires_at": NOW + timedelta(seconds=6.25),
        "wanted_name": None,
        "wanted_at": None,
        "seconds_left": 6.25,
    }
    return Lease.model_validate({**fields, **changes})


def client(name: str = "acme", **changes: object) -> Deployment:
    fields: dict[str, object] = {
        "deployment_id": UUID(int=2),
        "host_id": UUID(int=1),
        "hostname": "vps-1",
        "cluster_name": "prod",
        "client_name": name,
        "container_name": f"openwebui-{name}",
        "fqdn": None,
        "port": 8081,
        "database_type": "sqlite",
        "sync_enabled": True,
        "sync_interval": 60,
        "last_sync_at": NOW - timedelta(seconds=12),
        "last_sync_status": "success",
        "next_sync_at": NOW + timedelta(seconds=48),
        "status": "active",
        "config": {},
        "created_at": NOW - timedelta(days=9),
        "lag_s": 12.0,
        "generation": 41,
        "fence": 1790000000,
        "replica_status": "ok",
        "replica_reason": None,
        "verified_at": NOW - timedelta(hours=8),
    }
    return Deployment.model_validate({**fields, **changes})


def job(client_name: str = "acme", **changes: object) -> Job:
    fields: dict[str, object] = {
        "job_id": UUID(int=0xABCDEF12 << 96),
        "client_name": client_name,
        "status": "running",
        "sync_type": "full",
        "triggered_by": "root@vps-1",
        "queued_at": NOW - timedelta(seconds=21),
        "started_at": NOW - timedelta(seconds=20),
        "completed_at": None,
        "tables_total": 40,
        "tables_synced": 10,
        "rows_synced": 123456,
        "rows_failed": 0,
        "duration_seconds": None,
        "bytes_transferred": None,
        "error_message": None,
        "node_name": "sync-node-a",
        "term": 1790000000,
        "cancel_requested_at": None,
    }
    return Job.model_validate({**fields, **changes})


def failure(client_name: str = "globex", **changes: object) -> Job:
    return job(
        client_name,
        **{
            "status": "failed",
            "sync_type": "incremental",
            "completed_at": NOW - timedelta(minutes=5),
            "error_message": "The database of globex is gone: /opt/openwebui/globex/data/webui.db",
            **changes,
        },
    )


OPINIONS = (
    NodeOpinion(
        node_name="sync-node-a",
        reachable=True,
        healthy=True,
        is_leader=True,
        leader_id="sync-node-a/000000000007",
        term=1790000000,
        last_sync_age_s=12,
        uptime_seconds=10800,
    ),
    NodeOpinion(
        node_name="sync-node-b",
        reachable=True,
        healthy=True,
        leader_id="sync-node-a/000000000007",
        term=1790000000,
    ),
)


def state(**changes: object) -> ClusterState:
    fields: dict[str, object] = {
        "name": "prod",
        "hosts": (host(),),
        "nodes": (node(), node("sync-node-b", api_port=9444)),
        "lease": lease(),
        "deployments": (
            client(),
            client("globex", replica_status="source_missing", replica_reason="webui.db is gone", lag_s=400.0),
            client("initech", sync_enabled=False, status="paused", lag_s=86400.0),
        ),
        "jobs": (job(), job("globex", status="queued", tables_total=None, rows_synced=None), failure()),
    }
    return ClusterState.model_validate({**fields, **changes})


def shown(renderable: RenderableType, width: int = 80, *, colour: bool = False) -> str:
    file = StringIO()
    console = console_on(file, width=width, colour=colour)
    console.print(renderable)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def require_golden(name: str, text: str) -> None:
    path = GOLDEN / name
    if REWRITE:
        path.write_text(text + "\n", encoding="utf-8")
    assert text + "\n" == path.read_text(encoding="utf-8")


def healthy() -> RenderableType:
    return watch_screen((state(), NOW), OPINIONS, None, NOW)


def leaderless() -> RenderableType:
    nodes = (node(heartbeat_age_s=47.0), node("sync-node-b", stopped_at=NOW - timedelta(minutes=9), api_port=9444))
    silent = NodeOpinion(node_name="sync-node-a", reachable=False, problem="connection refused")
    late = lease(seconds_left=-39.0, expires_at=NOW - timedelta(seconds=39))
    gone = state(nodes=nodes, lease=late, hosts=(host(heartbeat_age_s=47.0),))
    return watch_screen((gone, NOW), (silent,), None, NOW)


def database_gone() -> RenderableType:
    trouble = Trouble(NOW + timedelta(seconds=1), "PostgreSQL at db.example.com does not answer.")
    return watch_screen((state(), NOW), OPINIONS, trouble, NOW + timedelta(seconds=15))


def crowded() -> RenderableType:
    clients = tuple(client(f"client-{number:02}", lag_s=float(number)) for number in range(60))
    failing = client("zulu", last_sync_status="failed")
    jobs = tuple(job(f"client-{number:02}") for number in range(9))
    failures = tuple(failure(f"client-{number:02}") for number in range(5))
    hosts = tuple(host(hostname=f"vps-{number}") for number in range(5))
    return watch_screen(
        (state(deployments=(*clients, failing), jobs=(*jobs, *failures), hosts=hosts), NOW), OPINIONS, None, NOW
    )


def never_deployed() -> RenderableType:
    return watch_screen((state(hosts=(), nodes=(), lease=None, deployments=(), jobs=()), NOW), (), None, NOW)


def handing_over() -> RenderableType:
    wanted = lease(wanted_name="sync-node-b", wanted_at=NOW)
    return watch_screen((state(lease=wanted), NOW), OPINIONS, None, NOW)


def hostile() -> RenderableType:
    clients = (client(LONG, lag_s=9e7), client("bravo", replica_status="failed", replica_reason=HOSTILE * 3))
    jobs = (job(LONG, triggered_by=HOSTILE), failure(HOSTILE, error_message=HOSTILE * 4))
    hosts = (host(hostname=HOSTILE * 4),)
    nodes = (node(version=HOSTILE), node("sync-node-b", version="v" * 100, clock_skew_seconds=-3600.0))
    said = NodeOpinion(node_name="sync-node-b", reachable=False, problem=HOSTILE * 4)
    hurt = state(name=HOSTILE * 4, deployments=clients, jobs=jobs, hosts=hosts, nodes=nodes)
    return watch_screen((hurt, NOW), (OPINIONS[0], said), None, NOW)


SCREENS: dict[str, Callable[[], RenderableType]] = {
    "healthy": healthy,
    "leaderless": leaderless,
    "database-gone": database_gone,
    "crowded": crowded,
    "never-deployed": never_deployed,
    "handing-over": handing_over,
    "hostile": hostile,
}


@pytest.mark.parametrize("name", SCREENS)
@pytest.mark.parametrize("ink", ["", "-colour"], ids=["plain", "colour"])
def test_watch_is_the_golden_screen(name: str, ink: str) -> None:
    require_golden(f"watch-{name}{ink}.txt", shown(SCREENS[name](), colour=bool(ink)))


@pytest.mark.parametrize("name", SCREENS)
def test_watch_fits_a_terminal_of_80_by_24(name: str) -> None:
    lines = shown(SCREENS[name]()).splitlines()
    assert len(lines) <= 24
    assert max(map(cell_len, lines)) <= 80


@pytest.mark.parametrize("height", [10, 24, 60])
@pytest.mark.parametrize("width", [80, 132, 200])
def test_watch_fits_every_terminal_with_many_clients(width: int, height: int) -> None:
    clients = tuple(client(f"{number}-{LONG}"[:52]) for number in range(500))
    jobs = tuple(job(f"client-{number}") for number in range(300))
    screen = watch_screen(
        (state(deployments=clients, jobs=jobs), NOW), OPINIONS, Trouble(NOW, HOSTILE * 9), NOW, Screen(width, height)
    )
    lines = shown(screen, width).splitlines()
    assert len(lines) <= height
    assert max(map(cell_len, lines)) <= width


@given(text=st.text(max_size=200), height=st.integers(6, 40))
def test_watch_fits_whatever_a_name_holds(text: str, height: int) -> None:
    clients = (client(text, replica_reason=text),)
    hurt = state(name=text, deployments=clients, jobs=(job(text), failure(text, error_message=text)))
    lines = shown(watch_screen((hurt, NOW), (), None, NOW, Screen(80, height))).splitlines()
    assert len(lines) <= height
    assert not any("\x1b" in line or cell_len(line) > 80 for line in lines)


def test_watch_says_how_many_clients_it_does_not_show_and_how_they_are() -> None:
    fine = [client(f"client-{number:02}") for number in range(40)]
    paused = [client(f"paused-{number}", sync_enabled=False, status="paused") for number in range(3)]
    text = shown(watch_screen((state(deployments=(*paused, *fine)), NOW), (), None, NOW))
    rows = [line for line in text.splitlines() if line.startswith(("client-", "paused-"))]
    assert f"and {43 - len(rows)} more clients: {40 - len(rows)} ok, 3 paused" in text


def test_watch_before_the_first_picture_says_that_it_is_waiting() -> None:
    assert shown(watch_screen(None, (), None, NOW)) == "Asking the database...  (q: leave)"


def test_watch_of_a_database_that_never_answered_says_since_when() -> None:
    text = shown(watch_screen(None, (), Trouble(NOW, "PostgreSQL at db does not answer."), NOW + timedelta(minutes=2)))
    assert text.splitlines()[:2] == ["NO ANSWER since 02:00:00 (2m).", "PostgreSQL at db does not answer."]


# Nodes.


@pytest.mark.parametrize(
    ("changes", "of_lease", "expected"),
    [
        ({}, {}, "leader"),
        ({"node_name": "sync-node-b"}, {}, "standby"),
        ({}, {"seconds_left": -0.1}, "standby"),
        ({"heartbeat_age_s": 10.1}, {}, "silent"),
        ({"stopped_at": NOW, "heartbeat_age_s": 99.0}, {}, "stopped"),
    ],
)
def test_node_state_is_what_the_database_has(changes: dict[str, Any], of_lease: dict[str, Any], expected: str) -> None:
    assert node_state(node(**changes), lease(**of_lease))[0] == expected


def said(**changes: object) -> NodeOpinion:
    return OPINIONS[0].model_copy(update=changes)


@pytest.mark.parametrize(
    ("opinion", "of_lease", "words", "style"),
    [
        (said(), {}, "I lead, term 1790000000", "good"),
        (said(), {"leader_name": "sync-node-b", "leader_id": "sync-node-b/1"}, "I lead, term 1790000000", "bad"),
        (said(), {"seconds_left": -1.0}, "I lead, term 1790000000", "bad"),
        (said(node_id="sync-node-a/another-boot"), {}, "I lead, term 1790000000", "bad"),
        (said(node_id="sync-node-a/000000000007"), {}, "I lead, term 1790000000", "good"),
        (said(is_leader=False), {}, "sync-node-a leads", "good"),
        (said(is_leader=False, leader_id=None), {}, "nobody leads", "bad"),
        (said(healthy=False, problem="no database"), {}, "unhealthy: no database", "bad"),
        (said(reachable=False, problem="refused"), {}, "no answer: refused", "bad"),
        (None, {}, "not asked", "quiet"),
    ],
)
def test_opinion_words_tell_a_right_opinion_from_a_wrong_one(
    opinion: NodeOpinion | None, of_lease: dict[str, object], words: str, style: str
) -> None:
    assert opinion_words(opinion, lease(**of_lease)) == (words, style)


def test_node_page_has_every_field() -> None:
    page = shown(node_page(state(), "sync-node-a", OPINIONS[0]))
    assert [line.split(maxsplit=1)[0] for line in page.splitlines()] == [
        "Cluster", "Leader", "Role", "Opinion", "Heartbeat", "Clock", "Version", "Started",
    ]  # fmt: skip
    assert "2026-10-04 23:00:00 UTC" in page


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            '{"ts": "2026-10-05T02:00:00.123+00:00", "level": "info", "event": "elected", "node": "a", "term": 7}',
            "2026-10-05 02:00:00  info    elected  term=7",
        ),
        ('{"event": "x", "level": "error", "why": "[x]\\u001b[31m"}', "  error   x  why=[x]"),
        ("Traceback \x1b[31m[most recent]", "Traceback [most recent]"),
        ('["no", "object"]', '["no", "object"]'),
        ("null", "null"),
    ],
)
def test_log_line_is_for_people_and_shows_what_is_no_object_as_it_is(line: str, words: str) -> None:
    assert log_line(line).plain == words


def test_node_page_of_a_node_that_never_reported_says_so() -> None:
    assert shown(node_page(state(nodes=()), "sync-node-a", None)) == (
        "sync-node-a has never reported to the cluster prod."
    )


def test_opinion_page_of_a_silent_node_says_only_why() -> None:
    page = shown(opinion_page(NodeOpinion(node_name="sync-node-b", reachable=False, problem="connection refused")))
    assert [line.split(maxsplit=1) for line in page.splitlines()] == [
        ["Node", "sync-node-b"],
        ["Health", "no answer"],
        ["Problem", "connection refused"],
    ]


# Clients and their runs.


@pytest.mark.parametrize(
    ("changes", "word", "style"),
    [
        ({}, "ok", "good"),
        ({"lag_s": 180.0}, "ok", "good"),
        ({"lag_s": 180.1}, "late", "attention"),
        ({"lag_s": None, "last_sync_at": None}, "no replica yet", "attention"),
        ({"last_sync_status": "failed"}, "failed", "bad"),
        ({"sync_enabled": False}, "off", "quiet"),
        ({"sync_enabled": False, "status": "paused"}, "paused", "quiet"),
        ({"status": "migrating"}, "migrating", "quiet"),
        ({"replica_status": "needs_confirmation"}, "needs confirmation", "bad"),
        ({"replica_status": "source_corrupt", "sync_enabled": False}, "source corrupt", "bad"),
        ({"replica_status": None}, "ok", "good"),
    ],
)
def test_sync_state_is_one_word_for_what_an_operator_must_know(changes: dict[str, Any], word: str, style: str) -> None:
    assert sync_state(client(**changes)) == (word, style)


def test_worst_first_puts_what_is_wrong_above_what_is_late_above_what_is_well() -> None:
    clients = [
        client("well"),
        client("late", lag_s=9999.0),
        client("off", sync_enabled=False),
        client("wrong", replica_status="failed"),
    ]
    assert [each.client_name for each in worst_first(clients)] == ["wrong", "late", "well", "off"]


def test_sync_table_cuts_nothing() -> None:
    reason = "reason " * 20
    text = shown(sync_table([client(LONG, replica_status="failed", replica_reason=reason)]))
    assert LONG in "".join(line[:40].split("  ")[0].strip() for line in text.splitlines()[1:])
    assert text.count("reason") == 20


def test_sync_page_has_the_reason_and_the_runs() -> None:
    page = shown(sync_page(client(replica_status="failed", replica_reason=HOSTILE), [failure("acme")], NOW))
    assert "[x] a b 2J :smile:" in page
    assert "abcdef12  acme: The database of globex is gone" in page


def test_sync_page_counts_what_is_in_quarantine_and_what_waits_for_a_decision() -> None:
    page = shown(sync_page(client(quarantined=3, open_conflicts=1), [], NOW))
    assert "3 values" in page
    assert "1 open one" in page
    assert "none" in shown(sync_page(client(), [], NOW))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tables_total": None}, "-"),
        ({"tables_total": 40, "tables_synced": None}, "[----------] 0/40"),
        ({"tables_total": 40, "tables_synced": 40}, "[##########] 40/40"),
        ({"tables_total": 40, "tables_synced": 20, "status": "success"}, "20/40"),
        ({"tables_total": 0, "tables_synced": 0}, "0/0"),
    ],
)
def test_tables_words_draw_a_bar_while_a_run_is_under_way(changes: dict[str, Any], words: str) -> None:
    assert tables_words(job(**changes)) == words


def progress(name: str, **changes: object) -> TableProgress:
    fields: dict[str, object] = {"rows_total": 100, "rows_processed": 50, "rows_failed": 0, "status": "running"}
    return TableProgress.model_validate({"table_name": name, **fields, **changes})


def test_progress_shows_tables_at_work_first_and_no_more_than_fit() -> None:
    tables = [progress(f"done_{number}", status="success", rows_processed=100) for number in range(30)]
    text = shown(progress_lines(job(tables_total=31), [*tables, progress("chat")], width=80, height=10)).splitlines()
    assert text[0] == "acme: full, running  [##########] 30 of 31 tables"
    assert text[2].split() == ["chat", "running", "50/100", "[#####-----]"]
    assert text[-1] == "and 24 more tables"
    assert len(text) <= 10


def test_progress_of_a_job_that_waits_says_for_whom() -> None:
    text = shown(progress_lines(job(status="queued", tables_total=None), [], width=80, height=10))
    assert text == "acme: full, queued  waiting for the leader"


# Clusters.


def test_cluster_table_names_the_leader_or_says_that_there_is_none() -> None:
    lines = shown(cluster_table([state(), state(name="other", lease=lease(seconds_left=-1.0))]), 120).splitlines()
    assert lines[1].split("  ")[0] == "prod"
    assert "sync-node-a leader, sync-node-b standby" in lines[1]
    assert "nobody leads" in lines[2]


def test_cluster_page_is_golden() -> None:
    require_golden("cluster-page.txt", shown(cluster_page(state(), OPINIONS, NOW)))


def test_cluster_page_says_which_hosts_are_the_predecessors_nodes() -> None:
    page = shown(cluster_page(state(hosts=(host(hostname="prod-node-a", metadata={}),)), (), NOW))
    assert "prod-node-a (the predecessor's node)" in " ".join(page.split())


FINDINGS = (
    HealthFinding(severity="ok", what="sync-node-a leads"),
    HealthFinding(severity="critical", what="[x] is | gone", hint="Start it."),
    HealthFinding(severity="warning", what="acme is late"),
)


def test_health_table_has_the_worst_first_and_its_way_out() -> None:
    assert shown(health_table(FINDINGS)).splitlines() == [
        "critical  [x] is | gone",
        "          Next: Start it.",
        "warning   acme is late",
        "ok        sync-node-a leads",
    ]


@pytest.mark.parametrize(
    ("findings", "begins"),
    [
        (FINDINGS, "CLUSTER CRITICAL - prod: [x] is / gone | "),
        (FINDINGS[2:], "CLUSTER WARNING - prod: acme is late | "),
        (FINDINGS[:1], "CLUSTER OK - prod: sync-node-a leads | "),
        ((), "CLUSTER CRITICAL - prod: nothing could be checked | "),
    ],
)
def test_check_line_says_the_worst_in_one_line(findings: tuple[HealthFinding, ...], begins: str) -> None:
    line = check_line("prod", findings, state())
    assert line.startswith(begins)
    assert line.count("|") == 1
    assert "\n" not in line


def test_check_line_has_its_figures_in_the_form_of_monitoring_plugins() -> None:
    figures = check_line("prod", FINDINGS[:1], state()).partition(" | ")[2].split()
    assert figures == [
        "lease=6.2s;;;0", "nodes=2;;;0", "clients=3;;;0", "replicated=2;;;0", "max_lag=400s;;;0", "failing=0;;;0",
        "jobs=2;;;0",
    ]  # fmt: skip


# Lines that are cut.


def test_cut_says_that_something_is_missing() -> None:
    assert cut("abcdefgh", 6) == "abcd.."
    assert cut("abcdef", 6) == "abcdef"


@given(text=st.text(), width=st.integers(1, 30))
def test_cut_is_never_wider_than_it_may_be(text: str, width: int) -> None:
    assert cell_len(cut(text, width)) <= width


def test_row_lines_narrow_the_widest_column_first() -> None:
    lines = row_lines(("A", "B"), [[("a" * 30, ""), ("b" * 50, "")]], 42, gives=(0, 1))
    assert lines[1].plain == f"{'a' * 18}..  {'b' * 18}.."
