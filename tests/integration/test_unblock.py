"""The ways out of a blocked deregistration: a sync is disabled once its job is over, a record moves with its rights."""

import os
import secrets
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from client_manager.app import App
from client_manager.client_sync import control
from client_manager.errors import Blocked, Cancelled, ClientManagerError, Conflict, Ended, NotFound, Unavailable
from client_manager.gateways.queries import load
from client_manager.gateways.sync_roles import SyncRoles
from client_manager.models.deregistration import Circumstances
from client_manager.models.operation import Progress
from client_manager.workflows import unblock_cluster
from client_manager.workflows.deregister_cluster import check
from client_manager.workflows.unblock_cluster import destinations, disable_sync, migrate_client
from tests.integration.registered import Registered, app_on, connected, here, silent


@pytest.fixture
def app(database_url: str, tmp_path: Path) -> App:
    return app_on(database_url, tmp_path)


@pytest.fixture
def mark() -> str:
    """Roles are the server's, not the database's: the names are this test's own."""
    return secrets.token_hex(4)


@pytest.fixture
def world(database_url: str, mark: str) -> Iterator[Registered]:
    """Two live clusters and one that nobody leads; a client of the first whose sync is on."""
    with connected(database_url) as connection:
        world = Registered(connection)
        world.cluster(f"prod-{mark}", leader="sync-node-a")
        world.cluster(f"dead-{mark}", "tomb")
        world.cluster(f"spare-{mark}", "elsewhere")
        world.lease(f"spare-{mark}", "sync-node-b", term=100)
        for cluster in ("prod", "spare"):
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(f"sync_node_{cluster}-{mark}")))
        world.client(f"acme-{mark}", f"prod-{mark}", enabled=True)
        world.history(f"acme-{mark}")
        yield world
        for role in (f"sync_owner_acme-{mark}", f"sync_node_prod-{mark}", f"sync_node_spare-{mark}"):
            if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).fetchone():
                connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(role)))
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def row(world: Registered) -> tuple[object, ...]:
    found = world.connection.execute(
        "SELECT h.cluster_name, d.sync_enabled, d.status"
        " FROM sync_metadata.client_deployments d JOIN sync_metadata.hosts h USING (host_id)"
    ).fetchone()
    assert found
    return tuple(found)


def test_disabling_waits_for_the_running_job_and_cancels_the_waiting_one(
    app: App, world: Registered, mark: str
) -> None:
    running, waiting = world.job(f"acme-{mark}", "running"), world.job(f"acme-{mark}", "queued")
    said: list[str] = []

    def report(progress: Progress) -> None:
        if not said:  # the sync is off before the job is waited for: nothing new begins
            assert row(world)[1:] == (False, "paused")
            world.connection.execute(
                "UPDATE sync_metadata.sync_jobs SET status = 'success' WHERE job_id = %s", [running]
            )
        said.append(progress.step)

    drained = disable_sync(app, f"acme-{mark}", report)

    assert said
    assert [job.job_id for job in drained.waited_for] == [running]
    assert [job.job_id for job in drained.cancelled] == [waiting]
    assert world.one("SELECT status FROM sync_metadata.sync_jobs WHERE job_id = %s", [waiting]) == "cancelled"
    assert check(app, f"prod-{mark}", here()).blockers == ()


def test_job_is_broken_off_where_that_is_asked_for(app: App, world: Registered, mark: str) -> None:
    job = world.job(f"acme-{mark}", "running")

    def report(progress: Progress) -> None:
        del progress
        assert world.one("SELECT cancel_requested_at IS NOT NULL FROM sync_metadata.sync_jobs WHERE job_id = %s", [job])
        world.connection.execute("UPDATE sync_metadata.sync_jobs SET status = 'cancelled' WHERE job_id = %s", [job])

    assert [each.job_id for each in disable_sync(app, f"acme-{mark}", report, cancel=True).cancelled] == [job]


def test_job_that_does_not_end_is_said_and_the_sync_stays_off(app: App, world: Registered, mark: str) -> None:
    world.job(f"acme-{mark}", "running")

    with pytest.raises(ClientManagerError, match="still runs"):
        disable_sync(app, f"acme-{mark}", silent, deadline_s=0.3)

    assert row(world)[1:] == (False, "paused")
    assert [blocker.kind for blocker in check(app, f"prod-{mark}", here()).blockers] == ["running"]


def test_job_of_a_lost_machine_is_not_waited_for_and_goes_with_it(app: App, world: Registered, mark: str) -> None:
    world.cluster(f"lost-{mark}", "sunk", age_s=400)
    world.client(f"beta-{mark}", f"lost-{mark}", enabled=True)
    running, waiting = world.job(f"beta-{mark}", "running"), world.job(f"beta-{mark}", "queued")

    paused = disable_sync(app, f"beta-{mark}", silent, deadline_s=5)

    assert [job.job_id for job in paused.left] == [running]
    assert [job.job_id for job in paused.cancelled] == [waiting]
    assert paused.waited_for == ()
    gone = check(app, f"lost-{mark}", Circumstances(lost_host=True))
    assert gone.blockers == ()
    assert gone.orphans == (running,)


@pytest.mark.parametrize("sign", ["hosts", "sync_nodes", "leader_election"])
def test_job_of_a_machine_that_gives_a_sign_of_life_is_waited_for(
    app: App, world: Registered, mark: str, sign: str
) -> None:
    world.cluster(f"lost-{mark}", "sunk", age_s=400)
    world.client(f"beta-{mark}", f"lost-{mark}", enabled=True)
    world.job(f"beta-{mark}", "running")
    if sign == "leader_election":
        world.lease(f"lost-{mark}", "sync-node-a")
    else:
        beat = sql.SQL("UPDATE sync_metadata.{} SET last_heartbeat = clock_timestamp() WHERE cluster_name = %s")
        world.connection.execute(beat.format(sql.Identifier(sign)), [f"lost-{mark}"])

    with pytest.raises(ClientManagerError, match="still runs"):
        disable_sync(app, f"beta-{mark}", silent, deadline_s=0.3)


def test_client_that_nobody_registered_has_no_sync_to_disable(app: App, world: Registered) -> None:
    del world
    with pytest.raises(NotFound):
        disable_sync(app, "nobody", silent)


def test_only_clusters_that_somebody_leads_are_offered(app: App, world: Registered, mark: str) -> None:
    found = destinations(app, f"prod-{mark}")

    assert [(each.cluster, each.hostname, each.leader) for each in found] == [
        (f"spare-{mark}", "elsewhere", "sync-node-b")
    ]
    del world


def members(world: Registered, mark: str) -> list[str]:
    return [
        name
        for (name,) in world.connection.execute(
            "SELECT m.rolname FROM pg_auth_members a JOIN pg_roles r ON r.oid = a.roleid JOIN pg_roles m"
            " ON m.oid = a.member WHERE r.rolname = %s AND m.rolname LIKE 'sync_node_%%' ORDER BY 1",
            [f"sync_owner_acme-{mark}"],
        )
    ]


def test_record_moves_with_the_rights_to_the_replica_and_the_sync_is_as_it_was(
    app: App, world: Registered, mark: str
) -> None:
    with connected(app.settings.database_url.get_secret_value()) as connection:  # type: ignore[union-attr]
        SyncRoles(connection).ensure_owner(f"acme-{mark}", f"prod-{mark}")
    assert members(world, mark) == [f"sync_node_prod-{mark}"]

    moved = migrate_client(app, f"acme-{mark}", f"spare-{mark}", silent)

    assert row(world) == (f"spare-{mark}", True, "active")
    assert members(world, mark) == [f"sync_node_spare-{mark}"]
    assert (moved.source, moved.target.cluster, moved.enabled) == (f"prod-{mark}", f"spare-{mark}", True)
    assert any("data stay" in note for note in moved.notes)
    assert check(app, f"prod-{mark}", here()).blockers == ()


def claims(world: Registered, mark: str, term: int) -> bool:
    """Whether a node may write to the replica under this term."""
    generation = world.one("SELECT generation FROM sync_metadata.replication_state")
    parameters = {"client": f"acme-{mark}", "term": term, "generation": generation}
    with world.connection.transaction(force_rollback=True):
        return world.connection.execute(load("replication")["claim"], parameters).fetchone() is not None


@pytest.mark.parametrize("fence", [0, 7, 100])
def test_former_leader_writes_no_more_once_the_record_has_moved(
    app: App, world: Registered, mark: str, monkeypatch: pytest.MonkeyPatch, fence: int
) -> None:
    monkeypatch.setattr(unblock_cluster, "_TERM_S", 0.1)
    world.connection.execute("UPDATE sync_metadata.replication_state SET fence = %s", [fence])
    term = max(7, fence)
    world.connection.execute(
        "UPDATE sync_metadata.leader_election SET term = %s WHERE cluster_name = %s", [term, f"prod-{mark}"]
    )
    assert claims(world, mark, term)

    migrate_client(app, f"acme-{mark}", f"spare-{mark}", silent)

    assert not claims(world, mark, term)
    assert claims(world, mark, max(100, term + 1))


def test_term_below_one_that_has_written_is_said_where_nobody_takes_another(
    app: App, world: Registered, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unblock_cluster, "_TERM_S", 0.1)
    world.connection.execute("UPDATE sync_metadata.replication_state SET fence = 101")

    moved = migrate_client(app, f"acme-{mark}", f"spare-{mark}", silent)

    assert any("no term yet" in note for note in moved.notes)
    assert row(world)[0] == f"spare-{mark}"


@pytest.mark.parametrize(("target", "error"), [("dead", NotFound), ("none", NotFound), ("prod", Blocked)])
def test_there_is_no_way_to_a_cluster_that_is_dead_unknown_or_its_own(
    app: App, world: Registered, mark: str, target: str, error: type[Exception]
) -> None:
    before = world.rows()

    with pytest.raises(error):
        migrate_client(app, f"acme-{mark}", f"{target}-{mark}", silent)

    assert world.rows() == before


def test_move_that_fails_leaves_record_rights_and_sync_as_they_were(
    app: App, world: Registered, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise Conflict("no rights")

    monkeypatch.setattr("client_manager.gateways.sync_roles.SyncRoles.ensure_owner", refuse)

    with pytest.raises(Conflict, match="no rights"):
        migrate_client(app, f"acme-{mark}", f"spare-{mark}", silent)

    assert row(world) == (f"prod-{mark}", True, "active")


@pytest.mark.parametrize("step", ["Replicating", "Moving the record"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, Unavailable])
def test_move_that_is_broken_off_leaves_record_and_sync_as_they_were(
    app: App, world: Registered, mark: str, step: str, error: type[BaseException]
) -> None:
    job = world.job(f"acme-{mark}", "running")

    def report(progress: Progress) -> None:
        if progress.step.startswith(step):
            raise error(step)
        world.connection.execute("UPDATE sync_metadata.sync_jobs SET status = 'success' WHERE job_id = %s", [job])

    with pytest.raises(Cancelled if error is KeyboardInterrupt else Unavailable):
        migrate_client(app, f"acme-{mark}", f"spare-{mark}", report)

    assert row(world) == (f"prod-{mark}", True, "active")


def test_interruption_that_comes_too_late_for_the_move_says_that_it_is_done(
    app: App, world: Registered, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure_owner = SyncRoles.ensure_owner

    def interrupted(*arguments: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        ensure_owner(*arguments)

    monkeypatch.setattr(SyncRoles, "ensure_owner", interrupted)

    with pytest.raises(Cancelled, match="has moved"):
        migrate_client(app, f"acme-{mark}", f"spare-{mark}", silent)

    assert row(world) == (f"spare-{mark}", True, "active")


@pytest.mark.parametrize("error", [KeyboardInterrupt, Ended])
def test_move_is_whole_where_only_the_wait_for_the_new_leader_is_broken_off(
    app: App, world: Registered, mark: str, error: type[BaseException]
) -> None:
    world.connection.execute("UPDATE sync_metadata.replication_state SET fence = 101")

    def report(progress: Progress) -> None:
        if progress.step.startswith("Waiting for a new term"):
            raise error("x")

    with pytest.raises(Ended if error is Ended else Cancelled, match="has moved"):
        migrate_client(app, f"acme-{mark}", f"spare-{mark}", report)

    assert row(world) == (f"spare-{mark}", True, "active")


def test_record_that_somebody_else_moves_meanwhile_is_not_moved_twice(
    app: App, world: Registered, database_url: str, mark: str
) -> None:
    with connected(database_url) as other, ThreadPoolExecutor(1) as pool:
        with other.transaction():
            other.execute("UPDATE sync_metadata.client_deployments SET host_id = %s", [world.hosts[f"dead-{mark}"]])
            before, target = control.status(app, f"acme-{mark}"), destinations(app, "x")[1]
            moving = pool.submit(unblock_cluster._move, app, before, f"prod-{mark}", target)
        with pytest.raises(Conflict, match="any more"):
            moving.result(20)
    assert row(world)[0] == f"dead-{mark}"
