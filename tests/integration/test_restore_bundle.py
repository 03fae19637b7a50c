"""A bundle brings a cluster back as it was, also beside what has come since, or says what is in the way."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from client_manager.app import App
from client_manager.cluster.export import export
from client_manager.cluster.restore import restore
from client_manager.errors import ClientManagerError, ConfigurationError, Conflict, NotFound
from client_manager.gateways import bundles
from client_manager.models.cluster import ClusterSpec
from client_manager.workflows.deregister_cluster import check, deregister
from tests.integration.registered import FakeNodes, Registered, app_on, confirm, connected, silent


@pytest.fixture
def app(database_url: str, tmp_path: Path) -> App:
    return app_on(database_url, tmp_path)


@pytest.fixture
def world(database_url: str) -> Iterator[Registered]:
    with connected(database_url) as connection:
        world = Registered(connection)
        world.cluster("prod", leader="sync-node-a")
        for name in ("acme", "beta"):
            world.client(name, "prod", sync_interval=77, fqdn=f"{name}.example.com")
            world.history(name)
        world.cluster("other", "elsewhere")
        yield world


def take_down(app: App) -> Path:
    fake = FakeNodes()
    return Path(deregister(app, confirm(check(app, "prod", fake.circumstances)), fake.nodes(), silent).bundle)


def comparable(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Without what may differ: the lease, the numbers of events and those written since, and the copies of names."""
    rows = {table: [dict(row) for row in found] for table, found in rows.items() if table != "leader_election"}
    for row in (row for found in rows.values() for row in found):
        row.pop("event_number", None)
    for row in rows["sync_nodes"]:
        row.pop("stopped_at")
    for row in (*rows["sync_jobs"], *rows["conflict_log"]):
        row["hostname"] = row["cluster_name"] = None
    return {table: sorted(found, key=json.dumps) for table, found in rows.items()}


def test_cluster_comes_back_exactly_as_it_was_but_for_the_lease(app: App, world: Registered) -> None:
    before = world.rows()
    path = take_down(app)

    report = restore(app, path, dry_run=False)

    after = world.rows()
    events = {row["event_id"] for row in before["cache_events"]}
    after["cache_events"] = [row for row in after["cache_events"] if row["event_id"] in events]
    assert comparable(after) == comparable(before)
    assert after["leader_election"] == []
    assert report.restored == {
        "hosts": 1,
        **dict.fromkeys(("sync_nodes", "client_deployments", "cache_events"), 2),
    }
    assert report.linked == {"sync_jobs": 2, "conflict_log": 2}
    assert report.present == dict.fromkeys(("replication_state", "sync_jobs", "sync_progress", "conflict_log"), 2)
    assert report.clashes == ()


def test_history_that_is_gone_comes_back_too(app: App, world: Registered) -> None:
    before = world.rows()
    path = take_down(app)
    world.connection.execute("TRUNCATE sync_metadata.sync_jobs, sync_metadata.conflict_log CASCADE")
    world.connection.execute("DELETE FROM sync_metadata.replication_state WHERE client_name = 'acme'")

    report = restore(app, path, dry_run=False)

    after = world.rows()
    for table in ("sync_jobs", "sync_progress", "conflict_log", "replication_state"):
        assert comparable(after)[table] == comparable(before)[table]
    assert report.restored["sync_jobs"] == 2
    assert report.restored["replication_state"] == 1


def test_dry_run_says_the_same_and_changes_nothing(app: App, world: Registered) -> None:
    path = take_down(app)
    before = world.rows()

    said = restore(app, path, dry_run=True)

    assert world.rows() == before
    done = restore(app, path, dry_run=False)
    assert said.model_copy(update={"dry_run": False}) == done


def test_twice_is_once(app: App, world: Registered) -> None:
    path = take_down(app)
    restore(app, path, dry_run=False)
    before = world.rows()

    again = restore(app, path, dry_run=False)

    assert world.rows() == before
    assert (again.restored, again.linked, again.clashes) == ({}, {}, ())
    assert again.present["client_deployments"] == 2


def test_fence_and_generation_never_go_back(app: App, world: Registered) -> None:
    path = take_down(app)
    world.connection.execute("UPDATE sync_metadata.replication_state SET fence = 900, generation = 90")

    restore(app, path, dry_run=False)

    assert world.connection.execute(
        "SELECT DISTINCT fence, generation FROM sync_metadata.replication_state"
    ).fetchall() == [(900, 90)]


def test_clients_come_back_to_the_machine_that_was_deployed_again(app: App, world: Registered) -> None:
    path = take_down(app)
    host = world.cluster("prod", leader="sync-node-b")
    nodes = [row for row in world.rows()["sync_nodes"] if row["cluster_name"] == "prod"]
    lease = world.rows()["leader_election"]
    world.client("newer", "prod", enabled=True)

    report = restore(app, path, dry_run=False)

    after = world.rows()
    assert {(row["client_name"], row["host_id"]) for row in after["client_deployments"]} == {
        (name, str(host)) for name in ("acme", "beta", "newer")
    }
    assert [row for row in after["sync_nodes"] if row["cluster_name"] == "prod"] == nodes
    assert after["leader_election"] == lease
    assert any("deployed again" in note for note in report.notes)


def test_client_that_is_registered_elsewhere_since_clashes_and_nothing_is_restored(app: App, world: Registered) -> None:
    path = take_down(app)
    world.client("acme", "other", enabled=True)
    before = world.rows()

    assert restore(app, path, dry_run=True).clashes == ("acme is registered in the cluster other now.",)
    with pytest.raises(Conflict) as error:
        restore(app, path, dry_run=False)

    assert "acme is registered in the cluster other now." in error.value.why
    assert world.rows() == before


def test_the_rest_is_restored_where_that_is_asked_for(app: App, world: Registered) -> None:
    path = take_down(app)
    theirs = world.client("acme", "other", enabled=True)
    world.connection.execute("DELETE FROM sync_metadata.replication_state")

    report = restore(app, path, dry_run=False, skip_clashes=True)

    clients = {row["client_name"]: row for row in world.rows()["client_deployments"]}
    assert (clients["acme"]["deployment_id"], clients["acme"]["sync_enabled"]) == (str(theirs), True)
    assert clients["beta"]["sync_interval"] == 77
    assert report.restored["client_deployments"] == 1
    assert [row["client_name"] for row in world.rows()["replication_state"]] == ["beta"]


def test_container_and_host_that_are_taken_clash(app: App, world: Registered) -> None:
    path = take_down(app)
    (row,) = [json.loads(bundles.row_text(row)) for row in bundles.read(path).tables["hosts"]]
    world.client("stranger", "other", enabled=False)
    world.connection.execute("UPDATE sync_metadata.client_deployments SET container_name = 'openwebui-beta'")
    world.connection.execute(
        "INSERT INTO sync_metadata.hosts (host_id, hostname, cluster_name) VALUES (%s, 'thief', 'third')",
        [row["host_id"]],
    )

    clashes = restore(app, path, dry_run=True).clashes

    assert clashes == (
        "The id of the host machine is thief's now, in the cluster third.",
        "acme has no host to come back to.",
        "The container openwebui-beta of beta belongs to stranger now, in the cluster other.",
    )


def test_enabled_client_of_an_export_comes_back_enabled(app: App, world: Registered) -> None:
    world.enable("acme")
    world.job("acme", "running")
    path, _ = export(app, "prod")
    world.connection.execute("TRUNCATE sync_metadata.hosts, sync_metadata.sync_jobs CASCADE")

    restore(app, path, dry_run=False)

    clients = {row["client_name"]: row["sync_enabled"] for row in world.rows()["client_deployments"]}
    assert clients == {"acme": True, "beta": False}
    assert {row["status"] for row in world.rows()["sync_jobs"]} == {"success", "cancelled"}


def test_numbers_that_no_float_is_survive(app: App, world: Registered) -> None:
    exact = (
        '{"n": 0.1234567890123456789012345, "big": 123456789012345678901234567890, "m": 1.10, "t": "Zoë \\u2028 ' + '"}'
    )
    world.connection.execute("UPDATE sync_metadata.client_deployments SET config = %s", [exact])
    text = world.one("SELECT config::text FROM sync_metadata.client_deployments LIMIT 1")
    path = take_down(app)

    restore(app, path, dry_run=False)

    assert world.one("SELECT config::text FROM sync_metadata.client_deployments LIMIT 1") == text
    assert isinstance(bundles.read(path).tables["client_deployments"][0], str)


@pytest.mark.parametrize("damage", ["cut", "altered", "empty", "version", "unknown field", "no text"])
def test_damaged_bundle_is_refused(app: App, world: Registered, damage: str) -> None:
    path = take_down(app)
    text = path.read_text(encoding="utf-8")
    before = world.rows()
    damages: dict[str, bytes] = {
        "cut": text[: len(text) // 2].encode(),
        "altered": text.replace('"sync_enabled": false', '"sync_enabled": true', 1).encode(),
        "empty": b"",
        "version": text.replace('"version": 1', '"version": 2').encode(),
        "unknown field": text.replace('"cluster": "prod"', '"cluster": "prod", "x": 1', 1).encode(),
        "no text": b"\xff\xfe",
    }
    assert damages[damage] != text.encode()
    path.write_bytes(damages[damage])

    with pytest.raises(ConfigurationError, match="not a bundle"):
        restore(app, path, dry_run=False)

    assert world.rows() == before


def test_bundle_of_a_later_schema_is_refused(app: App, world: Registered) -> None:
    path = take_down(app)
    world.connection.execute(
        "DELETE FROM sync_metadata.schema_migrations"
        " WHERE version = (SELECT max(version) FROM sync_metadata.schema_migrations)"
    )

    with pytest.raises(ConfigurationError, match="later schema"):
        restore(app, path, dry_run=False)

    assert world.count("client_deployments") == 0


def test_there_is_no_such_file(app: App, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        restore(app, tmp_path / "none.json", dry_run=True)


def test_bundle_that_cannot_be_written_stops_the_deregistration(app: App, world: Registered, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    fake, before = FakeNodes(), world.rows()

    with pytest.raises(ClientManagerError, match="cannot be used"):
        deregister(
            app, confirm(check(app, "prod", fake.circumstances)), fake.nodes(), silent, folder=tmp_path / "file" / "b"
        )

    assert world.rows() == before
    assert fake.done == []


def test_bundle_that_reads_back_differently_stops_the_deregistration(
    app: App, world: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = bundles.read
    monkeypatch.setattr(bundles, "read", lambda path: read(path).model_copy(update={"schema_version": 0}))
    fake, before = FakeNodes(), world.rows()

    with pytest.raises(ClientManagerError, match="does not hold what was written"):
        deregister(app, confirm(check(app, "prod", fake.circumstances)), fake.nodes(), silent)

    assert world.rows() == before
    assert fake.done == []


def test_settings_are_in_it_and_no_secret_is(app: App, world: Registered, tmp_path: Path) -> None:
    spec = ClusterSpec(
        name="prod",
        hostname="machine",
        host_id=world.hosts["prod"],
        data_root=tmp_path / "root",
        image="client-manager/sync-node:1",
        network="host",
        uid=os.getuid(),
        gid=os.getgid(),
    )
    app.cluster_files.prepare(spec)
    app.cluster_files.write(spec)
    app.cluster_files.write_url(spec, SecretStr("postgresql://sync_node_prod:s3cr3t-password@db/x"))
    app.cluster_files.ensure_token(spec)
    token = app.cluster_files.token("prod")

    path, _ = export(app, "prod", folder=tmp_path / "b")

    text = path.read_text(encoding="utf-8")
    assert bundles.read(path).settings == spec.model_dump(mode="json")
    assert path.name.startswith("prod-")
    assert token
    assert token.get_secret_value() not in text
    assert "s3cr3t" not in text
