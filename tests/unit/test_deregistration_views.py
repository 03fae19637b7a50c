"""The screens of a deregistration and of conflicts: golden pictures at 80 columns, and never a line too many."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import pytest
from rich.cells import cell_len

from client_manager import guard
from client_manager.errors import NotFound, Unavailable
from client_manager.models.conflicts import ConflictColumn, ConflictRows
from client_manager.models.deregistration import (
    Circumstances,
    ClientSeen,
    ClusterSnapshot,
    DeregistrationReport,
    HostSeen,
    JobSeen,
    LeaseSeen,
    NodeSeen,
    RestoreReport,
)
from client_manager.models.sync import Conflict
from client_manager.views.conflicts import conflict_page
from client_manager.views.deregistration import decision_page, report_page, restore_page
from client_manager.views.errors import error_text
from tests.unit.test_cluster_views import HOSTILE, LONG, require_golden, shown

SYNCED = datetime(2026, 10, 5, 1, 58, 30, tzinfo=UTC)
HOST, BUNDLE = UUID(int=1), "/opt/openwebui/bundles/prod-20261005T020000.000000Z.json"


def client(name: str, *, enabled: bool = True, status: str = "active", synced: datetime | None = SYNCED) -> ClientSeen:
    return ClientSeen(
        deployment_id=UUID(int=len(name)),
        client_name=name,
        container_name=f"openwebui-{name}",
        host_id=HOST,
        sync_enabled=enabled,
        last_sync_at=synced,
        status=status,
        content="c",
    )


def snapshot(clients: Sequence[ClientSeen] = (), **changes: object) -> ClusterSnapshot:
    nodes = [
        NodeSeen(
            cluster_name="prod", node_name=name, host_id=HOST, hostname="vps-1", stopped=False, heartbeat_age_s=1.0
        )
        for name in ("sync-node-a", "sync-node-b")
    ]
    fields: dict[str, object] = {
        "cluster": "prod",
        "circumstances": Circumstances(here=("vps-1",), stops=("sync-node-a", "sync-node-b")),
        "hosts": (HostSeen(host_id=HOST, hostname="vps-1", heartbeat_age_s=3, is_node=False, content="h"),),
        "nodes": nodes,
        "leases": (LeaseSeen(cluster_name="prod", leader="sync-node-a", hostname="vps-1", valid=True),),
        "clients": clients,
        "goes": {"hosts": 1, "sync_nodes": 2, "leader_election": 1, "client_deployments": len(clients)},
        "stays": {"sync_jobs": 412, "conflict_log": 3, "cache_events": 9},
    }
    return ClusterSnapshot.model_validate({**fields, **changes})


FLOW = (client("acme"), client("globex", status="paused", synced=None), client("initech", enabled=False))
RUNNING = JobSeen(job_id=UUID(int=9), client_name="acme", status="running")
SCREENS = {
    "deregister-blocked": decision_page(guard.decide(snapshot(FLOW, jobs=(RUNNING,))), 80),
    "deregister-one-left": decision_page(guard.decide(snapshot((FLOW[0], client("globex", enabled=False)))), 80),
    "deregister-allowed": decision_page(guard.decide(snapshot((client("acme", enabled=False),))), 80),
    "deregister-elsewhere": decision_page(guard.decide(snapshot(circumstances=Circumstances())), 80),
    "deregister-crowded": decision_page(guard.decide(snapshot([client(f"tenant-{n:03}") for n in range(40)])), 80),
    "deregister-hostile": decision_page(guard.decide(snapshot((client(HOSTILE), client(LONG)))), 80),
    "deregister-done": report_page(
        DeregistrationReport(
            cluster="prod",
            bundle=BUNDLE,
            deleted={"hosts": 1, "sync_nodes": 2, "leader_election": 1, "client_deployments": 1},
            kept={"sync_jobs": 412, "conflict_log": 3},
            stopped=("sync-node-a", "sync-node-b"),
        )
    ),
    "deregister-unknown": error_text(
        NotFound("There is no cluster prdo.", why="Did you mean prod?", hint="client-manager cluster list")
    ),
    "deregister-unreachable": error_text(
        Unavailable("PostgreSQL at 127.0.0.1:5432/postgres cannot be reached.", hint="Start the server.")
    ),
    "restore-clash": restore_page(
        RestoreReport(
            cluster="prod",
            bundle=BUNDLE,
            dry_run=True,
            restored={"hosts": 1},
            present={"sync_jobs": 412},
            linked={},
            clashes=("acme is registered with edge on vps-2 since.",),
            notes=(),
        )
    ),
    "conflict": conflict_page(
        ConflictRows(
            conflict=Conflict(
                log_id=UUID(int=3),
                client_name="acme",
                table_name="chat",
                record_id='["c-17"]',
                conflict_type="update_conflict",
                resolution_strategy="manual",
                detected_at=SYNCED,
                resolved_at=None,
                resolved_by=None,
                resolution_notes=None,
                source_data={},
                target_data={},
            ),
            columns=(
                ConflictColumn(name="id", source="c-17", target="c-17", changed=False),
                ConflictColumn(name="title", source="Plans for spring", target=f"{HOSTILE} {'x' * 90}", changed=True),
                ConflictColumn(name="archived", source=None, target="true", changed=True),
            ),
            in_source=True,
            in_target=True,
            ordered=False,
        ),
        80,
    ),
}


@pytest.mark.parametrize("colour", [False, True], ids=["plain", "colour"])
@pytest.mark.parametrize("name", SCREENS)
def test_screen_is_the_golden_one(name: str, colour: bool) -> None:  # noqa: FBT001  a parameter of the test
    require_golden(f"{name}{'-colour' if colour else ''}.txt", shown(SCREENS[name], colour=colour))


@pytest.mark.parametrize("name", SCREENS)
def test_screen_leaves_room_for_the_question(name: str) -> None:
    """80 columns, and of 24 lines five for the menu under it."""
    lines = shown(SCREENS[name]).splitlines()
    assert len(lines) <= 19
    assert all(cell_len(line) <= 80 for line in lines)


def test_every_client_in_the_way_is_named_or_counted() -> None:
    text = shown(SCREENS["deregister-crowded"])
    named = sum(f"tenant-{number:03}" in text for number in range(40))
    assert 0 < named < 40
    assert f"and {40 - named} more" in text
    assert "40 clients of it are still being replicated" in text
