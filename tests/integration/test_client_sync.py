"""Clients are registered, paused, run and looked at; at the end by a real cluster."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from client_manager.client_sync import control
from client_manager.client_sync.register import plan_register, register
from client_manager.errors import Blocked, ClientManagerError, Conflict, InvalidInput, NotFound
from client_manager.gateways import host, sync_roles
from client_manager.models.client import ClientSpec
from client_manager.models.cluster import ClusterSpec
from client_manager.models.operation import Progress
from client_manager.sync_node.nodes import NODES
from tests.integration.cluster import Cluster, cluster_of
from tests.waiting import until

ROWS = 50


@pytest.fixture
def cluster(docker_api: Any, tmp_path: Path, database_url: str) -> Iterator[Cluster]:
    """A cluster as its deployment leaves it, with a lease, and without nodes that could be quicker than a test."""
    with cluster_of(docker_api, tmp_path, database_url, "none:none") as cluster:
        spec = _spec(cluster, _host(cluster, host.name(), cluster.name))
        cluster.app.cluster_files.prepare(spec)
        cluster.app.cluster_files.write(spec)
        with sync_roles.of(cluster.app.database) as roles:
            roles.ensure_node(cluster.name, connections=10)
        cluster.rows(
            "INSERT INTO sync_metadata.leader_election"
            " (cluster_name, leader_id, leader_name, acquired_at, expires_at, term)"
            " VALUES (%s, 'sync-node-a/1', 'sync-node-a', now(), now() + interval '1 hour', 1)",
            cluster.name,
        )
        yield cluster


def _spec(cluster: Cluster, host_id: UUID) -> ClusterSpec:
    return ClusterSpec(
        name=cluster.name,
        hostname=host.name(),
        host_id=host_id,
        data_root=cluster.app.settings.data_root,
        image="none:none",
        network="host",
        uid=65532 if os.geteuid() == 0 else os.geteuid(),
        gid=os.getegid(),
    )


def _host(
    cluster: Cluster, hostname: str, name: str, *, age: str = "0 s", metadata: str = '{"kind": "machine"}'
) -> UUID:
    rows = cluster.rows(
        "INSERT INTO sync_metadata.hosts (hostname, cluster_name, metadata, last_heartbeat)"
        " VALUES (%s, %s, %s::jsonb, now() - %s::interval) RETURNING host_id",
        hostname,
        name,
        metadata,
        age,
    )
    return UUID(str(rows[0][0]))


def _client(cluster: Cluster, name: str, **env: str) -> Path:
    """A client that the console manages, with a database that its application has closed; no container."""
    files = cluster.app.files
    files.write(
        ClientSpec(
            name=name,
            container=f"openwebui-{name}",
            domain=f"{name}.example.com",
            image="ghcr.io/open-webui/open-webui:v0.12.4",
            port=8081,
            env=env,
            secrets={"WEBUI_SECRET_KEY": "s"},
            memory_bytes=None,
        )
    )
    files.make_data(name)
    path = files.data(name) / "webui.db"
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA journal_mode = wal")
        database.execute("CREATE TABLE chat (id INTEGER PRIMARY KEY, title TEXT)")
        database.executemany("INSERT INTO chat (title) VALUES (?)", [(f"chat {n}",) for n in range(ROWS)])
    database.close()
    return path


@pytest.fixture
def client(cluster: Cluster) -> str:
    _client(cluster, f"c-{cluster.name}")
    return f"c-{cluster.name}"


def test_a_client_gets_an_owner_a_row_and_the_go_ahead(cluster: Cluster, client: str) -> None:
    row = register(cluster.app, client, 60)

    assert (row.sync_enabled, row.sync_interval, row.status, row.database_type) == (True, 60, "active", "sqlite")
    assert (row.hostname, row.cluster_name) == (host.name(), cluster.name)
    assert row.config
    assert row.config["sqlite_path"] == str(cluster.app.files.data(client) / "webui.db")
    member = cluster.rows(
        "SELECT pg_has_role(%s, %s, 'MEMBER')", sync_roles.node_role(cluster.name), sync_roles.owner_role(client)
    )
    assert member == [(True,)]


def test_a_registration_that_fails_leaves_neither_row_nor_owner(cluster: Cluster, client: str) -> None:
    cluster.rows("ALTER TABLE sync_metadata.client_deployments ADD CHECK (sync_interval <> 77)")

    with pytest.raises(ClientManagerError, match="refused a row"):
        register(cluster.app, client, 77)

    assert cluster.rows("SELECT 1 FROM sync_metadata.client_deployments WHERE client_name = %s", client) == []
    assert cluster.rows("SELECT 1 FROM pg_roles WHERE rolname = %s", sync_roles.owner_role(client)) == []


def test_until_it_is_complete_a_registration_is_disabled(cluster: Cluster, client: str) -> None:
    assert register(cluster.app, client, enable=False).sync_enabled is False


def test_again_it_keeps_its_row_and_takes_the_new_interval(cluster: Cluster, client: str) -> None:
    first = register(cluster.app, client, 60)

    assert plan_register(cluster.app, client, 90).kind == "again"
    second = register(cluster.app, client, 90)

    assert second.deployment_id == first.deployment_id
    assert second.sync_interval == 90


def _row(cluster: Cluster, client: str, host_id: UUID | None, container: str | None = None) -> None:
    cluster.rows(
        "INSERT INTO sync_metadata.client_deployments (host_id, client_name, container_name, sync_enabled, config)"
        " VALUES (%s, %s, %s, true, '{\"kept\": 1}')",
        host_id,
        client,
        container or f"openwebui-{client}",
    )


def test_a_client_of_a_machine_that_lives_is_refused_with_what_differs(cluster: Cluster, client: str) -> None:
    _row(cluster, client, _host(cluster, "elsewhere", "other"))

    with pytest.raises(Conflict, match="on elsewhere, cluster other") as caught:
        register(cluster.app, client)

    assert host.name() in caught.value.why
    assert cluster.rows("SELECT sync_enabled FROM sync_metadata.client_deployments") == [(True,)]


@pytest.mark.parametrize("of", ["lost machine", "nobody", "predecessor"])
def test_a_row_that_no_living_machine_has_is_adopted_with_its_history(cluster: Cluster, client: str, of: str) -> None:
    hosts: dict[str, tuple[str, str, str, str]] = {
        "lost machine": ("elsewhere", "other", "6 minutes", '{"kind": "machine"}'),
        "predecessor": (f"{cluster.name}-node-a", cluster.name, "0 s", "{}"),
    }
    before = None
    if of in hosts:
        hostname, name, age, metadata = hosts[of]
        before = _host(cluster, hostname, name, age=age, metadata=metadata)
    _row(cluster, client, before, container="openwebui-old-name")
    job = _job(cluster, client, "success")

    assert plan_register(cluster.app, client).kind == "adopted"
    row = register(cluster.app, client)

    assert (row.hostname, row.container_name) == (host.name(), f"openwebui-{client}")
    assert row.config
    assert row.config["kept"] == 1
    assert [each.job_id for each in control.jobs(cluster.app, client)] == [job]


def test_a_container_that_is_another_clients_is_refused(cluster: Cluster, client: str) -> None:
    _row(cluster, "another", None, container=f"openwebui-{client}")

    with pytest.raises(Conflict, match="is registered as another"):
        register(cluster.app, client)


def test_nobody_replicates_without_a_leader(cluster: Cluster, client: str) -> None:
    cluster.rows("UPDATE sync_metadata.leader_election SET acquired_at = now() - interval '1 day', expires_at = now()")

    with pytest.raises(Conflict, match="Nobody leads"):
        register(cluster.app, client)


def test_a_client_on_postgresql_is_refused(cluster: Cluster) -> None:
    _client(cluster, "pg-client", DATABASE_URL="postgresql://x:y@z/w")

    with pytest.raises(Conflict, match="PostgreSQL already"):
        register(cluster.app, "pg-client")


def test_a_client_that_is_not_managed_is_refused(cluster: Cluster) -> None:
    with pytest.raises(NotFound, match="no managed client stranger"):
        register(cluster.app, "stranger")


def test_a_cluster_that_is_not_here_is_refused(cluster: Cluster, client: str) -> None:
    with pytest.raises(NotFound, match="other is not on this machine"):
        register(cluster.app, client, cluster="other")


@pytest.mark.parametrize("fault", ["absent", "closed", "closed log", "closed folder", "elsewhere"])
def test_a_database_that_the_nodes_cannot_read_is_refused(
    cluster: Cluster, client: str, fault: str, tmp_path: Path
) -> None:
    path = cluster.app.files.data(client) / "webui.db"
    if fault == "absent":
        path.unlink()
    elif fault == "closed":
        path.chmod(0o600)
    elif fault == "closed log":
        path.with_name("webui.db-wal").touch(mode=0o600)
    elif fault == "closed folder":
        path.parent.chmod(0o700)
    else:
        path.rename(tmp_path / "webui.db")
        path.symlink_to(tmp_path / "webui.db")
    if os.geteuid() != 0 and fault.startswith("closed"):
        pytest.skip("the nodes are the console's own account")

    with pytest.raises(Blocked, match="cannot read the database"):
        register(cluster.app, client)

    assert cluster.rows("SELECT 1 FROM sync_metadata.client_deployments") == []


def _job(cluster: Cluster, client: str, status: str) -> UUID:
    rows = cluster.rows(
        "INSERT INTO sync_metadata.sync_jobs (deployment_id, client_name, status, sync_type, queued_at)"
        " SELECT deployment_id, client_name, %s, 'incremental', now() FROM sync_metadata.client_deployments"
        " WHERE client_name = %s RETURNING job_id",
        status,
        client,
    )
    return UUID(str(rows[0][0]))


def test_pausing_waits_for_what_runs_and_cancels_what_waits(cluster: Cluster, client: str) -> None:
    register(cluster.app, client)
    running, queued = _job(cluster, client, "running"), _job(cluster, client, "queued")
    seen: list[Progress] = []

    def end_when_waited_for(progress: Progress) -> None:
        if not seen:
            cluster.rows("UPDATE sync_metadata.sync_jobs SET status = 'success' WHERE job_id = %s", running)
        seen.append(progress)

    found = control.pause(cluster.app, client, end_when_waited_for)

    assert [job.job_id for job in found.waited_for] == [running]
    assert [job.job_id for job in found.cancelled] == [queued]
    row = control.status(cluster.app, client)
    assert (row.sync_enabled, row.status) == (False, "paused")


def test_pausing_ends_what_runs_when_that_is_wanted(cluster: Cluster, client: str) -> None:
    register(cluster.app, client)
    running = _job(cluster, client, "running")
    ended = threading.Event()

    def leader() -> None:
        """What a leader does when it is asked to end a job."""
        asked = "SELECT 1 FROM sync_metadata.sync_jobs WHERE job_id = %s AND cancel_requested_at IS NOT NULL"
        until(lambda: cluster.rows(asked, running))
        cluster.rows("UPDATE sync_metadata.sync_jobs SET status = 'cancelled' WHERE job_id = %s", running)
        ended.set()

    thread = threading.Thread(target=leader)
    thread.start()
    found = control.pause(cluster.app, client, lambda _: None, cancel=True)
    thread.join()

    assert ended.is_set()
    assert [job.job_id for job in found.cancelled] == [running]


def test_a_job_that_does_not_end_is_said_and_the_client_is_paused_all_the_same(cluster: Cluster, client: str) -> None:
    register(cluster.app, client)
    _job(cluster, client, "running")

    with pytest.raises(ClientManagerError, match="is paused, but a job of it still runs"):
        control.pause(cluster.app, client, lambda _: None, deadline_s=0.2)

    assert control.status(cluster.app, client).sync_enabled is False


def test_a_run_is_queued_once_waited_for_and_cancelled(cluster: Cluster, client: str) -> None:
    register(cluster.app, client)

    job = control.run(cluster.app, client, full=True)
    assert control.run(cluster.app, client, full=True) == job
    with pytest.raises(ClientManagerError, match="is not over"):
        control.wait(cluster.app, job, lambda _: None, deadline_s=0.2)
    assert control.cancel(cluster.app, client=client) == {job: "cancelled"}
    assert control.wait(cluster.app, job, lambda _: None).status == "cancelled"


def test_starting_again_takes_an_interval(cluster: Cluster, client: str) -> None:
    register(cluster.app, client, enable=False)

    row = control.start(cluster.app, client, 45)

    assert (row.sync_enabled, row.sync_interval, row.status) == (True, 45, "active")
    with pytest.raises(InvalidInput):
        control.start(cluster.app, client, 0)


def test_what_is_not_registered_is_said_to_be_not(cluster: Cluster) -> None:
    for act in (
        lambda: control.start(cluster.app, "nobody"),
        lambda: control.pause(cluster.app, "nobody", lambda _: None),
        lambda: control.run(cluster.app, "nobody"),
        lambda: control.status(cluster.app, "nobody"),
    ):
        with pytest.raises(NotFound, match="not registered"):
            act()
    with pytest.raises(InvalidInput):
        control.cancel(cluster.app)


def _replica(cluster: Cluster, client: str) -> list[Any]:
    with psycopg.connect(cluster.url, autocommit=True) as connection:
        try:
            query = sql.SQL("SELECT id, title FROM {} ORDER BY id").format(sql.Identifier(client, "chat"))
            return connection.execute(query).fetchall()
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            return []


def test_a_deployed_cluster_replicates_what_is_registered(
    docker_api: Any, node_image: str, tmp_path: Path, database_url: str
) -> None:
    with cluster_of(docker_api, tmp_path, database_url, node_image) as cluster:
        name = f"c-{cluster.name}"
        path = _client(cluster, name)
        cluster.deploy()
        register(cluster.app, name, 1)
        rows = [(n + 1, f"chat {n}") for n in range(ROWS)]
        until(lambda: _replica(cluster, name) == rows, 60)

        with sqlite3.connect(path) as database:  # the application, which keeps its database open
            database.execute("DELETE FROM chat WHERE id <= 10")
            database.execute("INSERT INTO chat VALUES (1000, 'new')")
            database.commit()
            until(lambda: _replica(cluster, name) == [*rows[10:], (1000, "new")], 60)
        database.close()

        job = control.wait(cluster.app, control.run(cluster.app, name, full=True), cluster.report, deadline_s=60)
        assert (job.status, job.sync_type) == ("success", "full")
        assert job.node_name in NODES
        assert control.pause(cluster.app, name, cluster.report).cancelled == ()
        owner = cluster.rows("SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = %s", name)
        assert owner == [(sync_roles.owner_role(name),)]
