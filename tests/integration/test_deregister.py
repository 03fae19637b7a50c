"""A cluster is deregistered, with all that is its own and nothing else, or it stands as it stood."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from psycopg import sql

from client_manager.app import App
from client_manager.errors import Blocked, InvalidInput, NotFound
from client_manager.gateways import bundles
from client_manager.models.deregistration import Circumstances
from client_manager.workflows.deregister_cluster import check, deregister
from tests.integration.registered import FakeNodes, Registered, app_on, confirm, connected, here, silent


@pytest.fixture
def app(database_url: str, tmp_path: Path) -> App:
    return app_on(database_url, tmp_path)


@pytest.fixture
def world(database_url: str) -> Iterator[Registered]:
    """A cluster with two clients whose sync is off, led from here; another with one; a client without a host."""
    with connected(database_url) as connection:
        world = Registered(connection)
        world.cluster("prod", leader="sync-node-a")
        world.cluster("other", "elsewhere", leader="sync-node-b")
        for name in ("acme", "beta"):
            world.client(name, "prod")
            world.history(name)
        world.client("theirs", "other", enabled=True)
        world.history("theirs")
        world.client("homeless", None, enabled=True)
        yield world


def test_cluster_goes_with_its_rows_and_its_history_stays(app: App, world: Registered) -> None:
    fake = FakeNodes()
    before = world.rows()

    report = deregister(app, confirm(check(app, "prod", fake.circumstances)), fake.nodes(), silent)

    after = world.rows()
    assert {row["cluster_name"] for row in after["hosts"]} == {"other"}
    assert {row["cluster_name"] for row in after["sync_nodes"]} == {"other"}
    assert {row["cluster_name"] for row in after["leader_election"]} == {"other"}
    assert {row["client_name"] for row in after["client_deployments"]} == {"homeless", "theirs"}
    for table in ("sync_progress", "replication_state", "quarantine"):
        assert after[table] == before[table]
    for table in ("sync_jobs", "conflict_log"):
        kept = {row["client_name"]: row for row in after[table]}
        assert (kept["acme"]["deployment_id"], kept["acme"]["cluster_name"], kept["acme"]["hostname"]) == (
            *(None, "prod", "machine"),
        )
        assert kept["theirs"] in before[table]
    assert not [row for row in after["cache_events"] if row["cluster_name"] == "prod"]
    assert report.deleted["client_deployments"] == 2
    assert (report.deleted["hosts"], report.deleted["sync_nodes"], report.kept["sync_jobs"]) == (1, 2, 2)
    assert report.notes == ()
    assert fake.done == ["stopped", "removed"]


def test_bundle_is_there_before_the_nodes_are_stopped(app: App, world: Registered, tmp_path: Path) -> None:
    there: list[Path] = []
    fake = FakeNodes(meanwhile=lambda: there.extend((tmp_path / "b").glob("prod-*.json")))

    report = deregister(
        app, confirm(check(app, "prod", fake.circumstances)), fake.nodes(), silent, folder=tmp_path / "b"
    )

    assert [str(path) for path in there] == [report.bundle]
    bundle = bundles.read(there[0])
    assert {table: len(rows) for table, rows in bundle.tables.items()} == {
        "hosts": 1,
        "leader_election": 1,
        **dict.fromkeys(("sync_nodes", "client_deployments", "replication_state"), 2),
        **dict.fromkeys(("sync_jobs", "sync_progress", "conflict_log", "cache_events"), 2),
    }
    assert there[0].stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o700
    del world


def test_enabled_client_blocks_and_nothing_is_touched(app: App, world: Registered) -> None:
    fake = FakeNodes()
    confirmed = confirm(check(app, "prod", fake.circumstances))
    world.enable("acme")
    before = world.rows()

    decision = check(app, "prod", fake.circumstances)
    with pytest.raises(Blocked, match="may not be deregistered"):
        deregister(app, confirmed, fake.nodes(), silent)

    assert [client.client_name for client in decision.enabled] == ["acme"]
    assert decision.enabled[0].container_name == "openwebui-acme"
    assert world.rows() == before
    assert fake.done == []


@pytest.mark.parametrize("change", ["enable", "register", "configure", "run", "lead"])
def test_change_while_the_nodes_stop_is_seen_and_they_run_again(app: App, world: Registered, change: str) -> None:
    changes: dict[str, Callable[[], object]] = {
        "enable": lambda: world.enable("acme"),
        "register": lambda: world.client("new", "prod"),
        "configure": lambda: world.connection.execute(
            "UPDATE sync_metadata.client_deployments SET sync_interval = 77 WHERE client_name = 'beta'"
        ),
        "run": lambda: world.job("beta", "running"),
        "lead": lambda: world.connection.execute(
            "UPDATE sync_metadata.leader_election SET leader_name = 'sync-node-c' WHERE cluster_name = 'prod'"
        ),
    }
    state: list[object] = []

    def meanwhile() -> None:
        changes[change]()
        state.append(world.rows())

    fake = FakeNodes(meanwhile=meanwhile)

    with pytest.raises(Blocked, match="nothing was deleted"):
        deregister(app, confirm(check(app, "prod", fake.circumstances)), fake.nodes(), silent)

    assert world.rows() == state[0]
    assert fake.done == ["stopped", "started again"]


def test_what_was_confirmed_is_no_longer_there(app: App, world: Registered) -> None:
    fake = FakeNodes()
    confirmed = confirm(check(app, "prod", fake.circumstances))
    world.client("new", "prod")

    with pytest.raises(Blocked, match="has changed since you looked"):
        deregister(app, confirmed, fake.nodes(), silent)

    assert fake.done == []


def test_leader_is_to_be_confirmed_too(app: App, world: Registered) -> None:
    fake = FakeNodes()
    confirmed = confirm(check(app, "prod", fake.circumstances))
    before = world.rows()

    for typed in (None, "sync-node-b"):
        with pytest.raises(InvalidInput, match="sync-node-a leads prod"):
            deregister(app, confirmed.model_copy(update={"leader": typed}), fake.nodes(), silent)

    assert world.rows() == before


def test_unknown_name_is_not_found_and_the_nearest_is_named(app: App, world: Registered) -> None:
    del world

    with pytest.raises(NotFound) as error:
        check(app, "prdo", Circumstances())

    assert "Did you mean prod?" in error.value.hint


def test_live_leader_elsewhere_blocks(app: App, world: Registered) -> None:
    del world

    decision = check(app, "other", here("machine"))

    kinds = [blocker.kind for blocker in decision.blockers]
    assert kinds.count("leader") == 1
    assert kinds.count("alive") == 2
    assert kinds.count("enabled") == 1


@pytest.mark.parametrize(("age_s", "lease_s", "allowed"), [(301, -1, True), (299, -1, False), (301, 5, False)])
def test_lost_host_demands_five_minutes_of_silence_and_no_lease(
    app: App, world: Registered, *, age_s: float, lease_s: float, allowed: bool
) -> None:
    world.cluster("gone", "ashes", age_s=age_s)
    world.lease("gone", "sync-node-a", left_s=lease_s)
    world.client("acme-2", "gone")
    job = world.job("acme-2", "running")
    lost = Circumstances(lost_host=True)
    fake = FakeNodes(circumstances=lost)

    assert "elsewhere" in {blocker.kind for blocker in check(app, "gone", Circumstances()).blockers} or age_s < 300
    decision = check(app, "gone", lost)
    assert (not decision.blockers) == allowed
    if allowed:
        deregister(app, confirm(decision), fake.nodes(), silent)
        status = world.one("SELECT status FROM sync_metadata.sync_jobs WHERE job_id = %s", [job])
        assert status == "failed"
        assert "stopped" not in fake.done


def test_cleanly_stopped_cluster_goes_from_any_machine(app: App, world: Registered) -> None:
    world.cluster("calm", "far")
    world.connection.execute("UPDATE sync_metadata.sync_nodes SET stopped_at = now() WHERE cluster_name = 'calm'")

    assert check(app, "calm", Circumstances()).blockers == ()


def test_waiting_job_is_cancelled(app: App, world: Registered) -> None:
    fake = FakeNodes()
    job = world.job("acme", "queued")
    decision = check(app, "prod", fake.circumstances)

    deregister(app, confirm(decision), fake.nodes(), silent)

    assert any("Waiting jobs" in warning for warning in decision.warnings)
    assert world.one("SELECT status FROM sync_metadata.sync_jobs WHERE job_id = %s", [job]) == "cancelled"


def test_lease_and_nodes_of_another_cluster_on_its_machine_block(app: App, world: Registered) -> None:
    world.cluster("third", "ours")
    world.lease("third", "sync-node-a", host=world.hosts["prod"])
    world.connection.execute(
        "UPDATE sync_metadata.sync_nodes SET host_id = %s WHERE cluster_name = 'other'", [world.hosts["prod"]]
    )

    whats = [blocker.what for blocker in check(app, "prod", here()).blockers if blocker.kind == "entangled"]

    assert [what.split("cluster, ")[1].split(",")[0] for what in whats] == ["other", "third"]


def test_table_that_would_lose_rows_uncounted_blocks(app: App, world: Registered) -> None:
    world.connection.execute(
        "CREATE TABLE public.billing (deployment_id uuid REFERENCES sync_metadata.client_deployments ON DELETE CASCADE)"
    )

    (blocker,) = check(app, "prod", here()).blockers

    assert blocker.kind == "entangled"
    assert "public.billing" in blocker.what


def test_predecessor_nodes_are_stopped_or_block(app: App, world: Registered) -> None:
    for node in ("a", "b"):
        world.connection.execute(
            "INSERT INTO sync_metadata.hosts (hostname, cluster_name) VALUES (%s, 'old')", [f"old-node-{node}"]
        )
    names = ("old-node-a", "old-node-b")
    world.hosts["old"] = world.one("SELECT host_id FROM sync_metadata.hosts WHERE hostname = 'old-node-a'")
    world.connection.execute(
        "INSERT INTO sync_metadata.leader_election (cluster_name, leader_id, leader_host_id, acquired_at, expires_at)"
        " VALUES ('old', 'old-node-a', %s, now(), now() + interval '1 minute')",
        [world.hosts["old"]],
    )

    assert {blocker.kind for blocker in check(app, "old", here()).blockers} == {"leader", "alive"}
    decision = check(app, "old", Circumstances(here=names, stops=names))
    assert (decision.blockers, decision.leader) == ((), "old-node-a")


def test_nothing_of_it_in_any_table_is_still_a_name(app: App, world: Registered) -> None:
    """A lease alone, as a torn deregistration of the predecessor leaves it, is a cluster that can go."""
    world.connection.execute(
        "INSERT INTO sync_metadata.leader_election (cluster_name, leader_id, acquired_at, expires_at)"
        " VALUES ('torn', 'x', now() - interval '2 hours', now() - interval '1 hour')"
    )
    fake = FakeNodes(circumstances=Circumstances())

    deregister(app, confirm(check(app, "torn", Circumstances())), fake.nodes(), silent)

    with pytest.raises(NotFound):
        check(app, "torn", Circumstances())


def test_the_documents_stopped_is_a_status_and_no_sync_status(app: App, world: Registered) -> None:
    world.connection.execute(
        "UPDATE sync_metadata.client_deployments SET status = 'stopped' WHERE client_name = 'acme'"
    )
    with pytest.raises(Exception, match="client_deployments_last_sync_status_check"):
        world.connection.execute("UPDATE sync_metadata.client_deployments SET last_sync_status = 'stopped'")

    assert check(app, "prod", here()).blockers == ()


def test_replicas_go_where_that_was_confirmed_and_no_others(app: App, world: Registered) -> None:
    for schema in ("acme", "theirs"):
        world.connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
        world.connection.execute(sql.SQL("CREATE TABLE {} (id text)").format(sql.Identifier(schema, "chat")))
    fake = FakeNodes()
    confirmed = confirm(check(app, "prod", fake.circumstances)).model_copy(update={"drop_replicas": True})

    report = deregister(app, confirmed, fake.nodes(), silent)

    assert report.notes == ()
    assert world.one("SELECT to_regnamespace('acme') IS NULL AND to_regnamespace('theirs') IS NOT NULL")
    assert [row["client_name"] for row in world.rows()["replication_state"]] == ["theirs"]
