"""Clusters, nodes and runs on the screen: golden pictures, hostile names, and never a line too many."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from uuid import UUID

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from client_manager.models.cluster import ClusterState, NodeOpinion
from client_manager.models.sync import Deployment, Host, Job, Lease, SyncNode, TableProgress
from client_manager.views.console import THEME
from client_manager.views.lines import cut, row_lines
from client_manager.views.nodes import node_page, node_state, opinion_page, opinion_words
from client_manager.views.sync import progress_lines, sync_page, sync_state, sync_table, tables_words, worst_first
from client_manager.views.watch import Screen, Trouble, watch_screen

GOLDEN = Path(__file__).parent / "golden"
# "make golden" for this file: run with the variable set, then read the difference before it is committed.
REWRITE = os.environ.get("REWRITE_GOLDEN") == "1"
NOW = datetime(2026, 10, 5, 2, 0, 0, tzinfo=UTC)
HOSTILE = "[x]\x1b[31m\x1b]0;owned\x07 a\nb \x9b2J :smile:"
LONG = "client-with-a-name-as-long-as-fifty-two-characters-x"
PASSWORD = "hunter2"


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
    console = Console(
        file=file,
        theme=THEME,
        markup=False,
        emoji=False,
        highlight=False,
        width=width,
        color_system="standard" if colour else None,
        force_terminal=colour,
        _environ={},
    )
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
@pytest.mark.parametrize("colour", [False, True], ids=["plain", "colour"])
def test_watch_is_the_golden_screen(name: str, colour: bool) -> None:
    text = shown(SCREENS[name](), colour=colour)
    require_golden(f"watch-{name}{'-colour' if colour else ''}.txt", text)


@pytest.mark.parametrize("name", SCREENS)
def test_watch_fits_a_terminal_of_80_by_24(name: str) -> None:
    lines = shown(SCREENS[name]()).splitlines()
    assert len(lines) <= 24
    assert max(map(cell_len, lines)) <= 80
