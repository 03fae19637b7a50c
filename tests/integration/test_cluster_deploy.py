"""A cluster is deployed on the real Engine and a real server, again, and back."""

import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from client_manager.app import App
from client_manager.cluster.health import examine
from client_manager.errors import Blocked, Cancelled, Conflict, Undone
from client_manager.gateways import database_url as database_urls
from client_manager.gateways import sync_roles
from client_manager.gateways.database import Database
from client_manager.models.operation import Progress
from client_manager.models.sync_node import whose
from client_manager.sync_node.nodes import NODES, list_nodes
from client_manager.workflows.deploy_cluster import deploy
from tests.integration.cluster import Cluster, cluster_of
from tests.integration.test_database_embedded import _stop
from tests.ports import free_pair


@pytest.fixture
def cluster(docker_api: Any, node_image: str, tmp_path: Path, database_url: str) -> Iterator[Cluster]:
    with cluster_of(docker_api, tmp_path, database_url, node_image) as cluster:
        yield cluster


def changes(plan: Any) -> dict[str, str]:
    return {step.subject: step.action for step in plan.changes}


def test_a_first_deployment_ends_with_a_leader_and_again_there_is_nothing_to_do(cluster: Cluster) -> None:
    plan = cluster.plan()
    assert not plan.blockers
    assert set(changes(plan).values()) == {"create"}

    state = deploy(cluster.app, plan, cluster.report)

    assert state.lease
    assert state.lease.leader in NODES
    assert {node.node_name for node in state.nodes} == set(NODES)
    statuses = list_nodes(cluster.app, cluster.name)
    assert all(node.current and node.running and node.opinion.healthy for node in statuses)
    assert [node.opinion.is_leader for node in statuses].count(True) == 1
    assert cluster.plan().changes == ()
    before = [cluster.app.engine.get(cluster.container(node)).id for node in NODES]
    cluster.deploy()
    assert [cluster.app.engine.get(cluster.container(node)).id for node in NODES] == before


def test_the_files_are_the_nodes_alone_and_no_secret_is_in_their_containers(cluster: Cluster) -> None:
    cluster.deploy()

    folder, spec = cluster.app.cluster_files.folder(cluster.name), cluster.app.cluster_files.read(cluster.name)
    assert spec
    for path in (folder.spec, folder.database_url, folder.token):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert (path.stat().st_uid, path.stat().st_gid) == (spec.uid, spec.gid)
    assert stat.S_IMODE(folder.state.stat().st_mode) == 0o700
    secrets = [Database(folder.database_url).parameters["password"], folder.token.read_text().strip()]
    for node in NODES:
        found = cluster.app.engine.get(cluster.container(node))
        assert not any(str(secret) in found.model_dump_json() for secret in secrets)
        assert found.host_config["ReadonlyRootfs"] is True
        assert found.host_config["CapDrop"] == ["ALL"]
    if os.geteuid() == 0:
        assert spec.uid != 0
    journal = cluster.app.journal.path.read_text()
    assert not any(str(secret) in journal for secret in secrets)


def test_only_what_differs_changes_and_the_password_stays(cluster: Cluster) -> None:
    cluster.deploy()
    url = cluster.app.cluster_files.url(cluster.name)
    leader = cluster.rows("SELECT leader_name FROM sync_metadata.leader_election WHERE cluster_name = %s", cluster.name)

    plan = cluster.plan(workers=3)
    assert changes(plan) == {"cluster.json": "change", "sync-node-a": "replace", "sync-node-b": "replace"}
    deploy(cluster.app, plan, cluster.report)

    assert cluster.app.cluster_files.url(cluster.name) == url
    after = cluster.rows("SELECT leader_name FROM sync_metadata.leader_election WHERE cluster_name = %s", cluster.name)
    assert after != leader, "the former leader has handed over, and followed"
    assert cluster.plan(workers=3).changes == ()


def test_a_password_that_no_longer_serves_is_renewed_without_touching_a_node(cluster: Cluster) -> None:
    cluster.deploy()
    role = sync_roles.node_role(cluster.name)
    cluster.rows(f"ALTER ROLE \"{role}\" PASSWORD 'another'")
    ids = [cluster.app.engine.get(cluster.container(node)).id for node in NODES]

    plan = cluster.plan()
    assert changes(plan) == {"database.url": "change"}
    deploy(cluster.app, plan, cluster.report)

    assert sync_roles.lets_in(Database(cluster.app.cluster_files.folder(cluster.name).database_url))
    assert [cluster.app.engine.get(cluster.container(node)).id for node in NODES] == ids


def test_a_stopped_node_is_started(cluster: Cluster) -> None:
    cluster.deploy()
    cluster.app.engine.stop(cluster.container("sync-node-b"), 45)

    plan = cluster.plan()
    assert changes(plan) == {"sync-node-b": "start"}
    deploy(cluster.app, plan, cluster.report)

    assert all(node.opinion.healthy for node in list_nodes(cluster.app, cluster.name))


def test_a_plan_that_is_out_of_date_is_not_carried_out(cluster: Cluster) -> None:
    plan = cluster.plan()
    cluster.deploy()

    with pytest.raises(Conflict, match="not what it was when this was planned"):
        deploy(cluster.app, plan, cluster.report)


def _nothing_is_left(cluster: Cluster) -> None:
    assert not cluster.app.cluster_files.folder(cluster.name).path.exists()
    assert cluster.rows("SELECT 1 FROM sync_metadata.hosts WHERE cluster_name = %s", cluster.name) == []
    assert cluster.rows("SELECT 1 FROM pg_roles WHERE rolname = %s", sync_roles.node_role(cluster.name)) == []
    for node in NODES:
        assert cluster.app.engine.find(cluster.container(node)) is None
        assert cluster.app.engine.find(f"{cluster.container(node)}.next") is None


def test_a_first_deployment_that_fails_leaves_nothing(
    docker_api: Any, node_image: str, tmp_path: Path, database_url: str
) -> None:
    """The nodes are let in for the console's own check, and then no more: they never come to know a leader."""
    with cluster_of(docker_api, tmp_path, database_url, node_image, node_health_timeout_s=4) as cluster:
        plan = cluster.plan()

        def shut_out(progress: Progress) -> None:
            if progress.step.startswith("Creating"):
                cluster.rows(f'ALTER ROLE "{sync_roles.node_role(cluster.name)}" NOLOGIN')

        with pytest.raises(Undone, match="gone again") as caught:
            deploy(cluster.app, plan, shut_out)

        assert "does not turn healthy" in caught.value.why
        _nothing_is_left(cluster)
        assert '"undone"' in cluster.app.journal.path.read_text()


def test_an_interruption_leaves_nothing(cluster: Cluster) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.step == "Starting sync-node-b":
            raise KeyboardInterrupt

    with pytest.raises(Cancelled, match="gone again"):
        deploy(cluster.app, cluster.plan(), interrupt)

    _nothing_is_left(cluster)


def test_the_predecessors_containers_and_rows_are_taken_over(cluster: Cluster, docker_api: Any) -> None:
    _predecessor(cluster, docker_api)

    plan = cluster.plan()
    assert not plan.blockers
    assert changes(plan)["sync-node-a"] == "replace"
    assert changes(plan)[f"clients of {cluster.name}-node-a"] == "move"
    deploy(cluster.app, plan, cluster.report)

    moved = cluster.rows(
        "SELECT h.hostname, pg_has_role(%s, 'sync_owner_' || d.client_name, 'MEMBER')"
        " FROM sync_metadata.client_deployments d JOIN sync_metadata.hosts h USING (host_id)",
        sync_roles.node_role(cluster.name),
    )
    spec = cluster.app.cluster_files.read(cluster.name)
    assert spec
    assert moved == [(spec.hostname, True)]
    assert cluster.rows("SELECT hostname FROM sync_metadata.hosts") == [(spec.hostname,)]
    assert cluster.plan().changes == ()


def _predecessor(cluster: Cluster, docker_api: Any) -> None:
    for node in NODES:
        environment = {
            "ROLE": node.removeprefix("sync-"),
            "CLUSTER_NAME": cluster.name,
            "DATABASE_URL": "postgresql://x",
        }
        container = docker_api.create_container(
            "python:3.11-slim",
            ["sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait"],
            name=cluster.container(node),
            environment=environment,
        )
        docker_api.start(container["Id"])
    (host_id,) = cluster.rows(
        "INSERT INTO sync_metadata.hosts (hostname, cluster_name) VALUES (%s, %s) RETURNING host_id",
        f"{cluster.name}-node-a",
        cluster.name,
    )[0]
    cluster.rows(
        "INSERT INTO sync_metadata.client_deployments (host_id, client_name, container_name) VALUES (%s, %s, %s)",
        host_id,
        f"c-{cluster.name}",
        f"openwebui-c-{cluster.name}",
    )


def test_a_failure_brings_the_predecessors_node_back(
    docker_api: Any, node_image: str, tmp_path: Path, database_url: str
) -> None:
    with cluster_of(docker_api, tmp_path, database_url, node_image, node_health_timeout_s=4) as cluster:
        _predecessor(cluster, docker_api)

        def shut_out(progress: Progress) -> None:
            if progress.step.startswith("Creating"):
                cluster.rows(f'ALTER ROLE "{sync_roles.node_role(cluster.name)}" NOLOGIN')

        with pytest.raises(Undone):
            deploy(cluster.app, cluster.plan(), shut_out)

        for node in NODES:
            found = cluster.app.engine.get(cluster.container(node))
            assert whose(found) == "predecessor"
            assert found.running
        assert not cluster.app.cluster_files.folder(cluster.name).path.exists()


def test_a_cluster_that_lives_on_another_machine_is_left_alone(cluster: Cluster) -> None:
    cluster.rows(
        "INSERT INTO sync_metadata.hosts (hostname, cluster_name, metadata) VALUES ('elsewhere', %s, '{\"kind\": 1}')",
        cluster.name,
    )

    plan = cluster.plan(take_over=True)

    assert [check.name for check in plan.blockers] == ["machines"]
    with pytest.raises(Blocked, match="cannot be deployed"):
        deploy(cluster.app, plan, cluster.report)
    _no_container(cluster)


def test_a_lost_machines_clients_are_taken_over_when_that_is_said(cluster: Cluster) -> None:
    (host_id,) = cluster.rows(
        "INSERT INTO sync_metadata.hosts (hostname, cluster_name, metadata, last_heartbeat)"
        " VALUES ('elsewhere', %s, '{\"kind\": 1}', now() - interval '6 minutes') RETURNING host_id",
        cluster.name,
    )[0]
    cluster.rows(
        "INSERT INTO sync_metadata.client_deployments (host_id, client_name, container_name) VALUES (%s, %s, 'x')",
        host_id,
        f"c-{cluster.name}",
    )
    assert [check.name for check in cluster.plan().blockers] == ["machines"]

    state = cluster.deploy(take_over=True)

    assert [row.client_name for row in state.deployments if row.hostname != "elsewhere"] == [f"c-{cluster.name}"]
    assert "elsewhere" not in {row.hostname for row in state.hosts}
    assert not [found.what for found in examine(cluster.app, cluster.name) if "elsewhere" in found.what]
    assert cluster.plan().changes == ()


def _no_container(cluster: Cluster) -> None:
    assert all(cluster.app.engine.find(cluster.container(node)) is None for node in NODES)


def test_another_clusters_containers_are_not_touched(cluster: Cluster) -> None:
    cluster.deploy()
    ports = {"node_ports": free_pair()}
    other = Cluster(App(cluster.app.settings.model_copy(update=ports)), f"{cluster.name}-2", cluster.url)

    plan = other.plan()

    assert {check.name for check in plan.blockers} == {"containers"}


def test_a_foreign_program_on_a_port_is_named(cluster: Cluster) -> None:
    port = cluster.app.settings.node_ports[0]
    with socket.create_server(("127.0.0.1", port)):
        plan = cluster.plan()

    assert [check.name for check in plan.blockers] == ["ports"]
    assert str(port) in plan.blockers[0].what


def test_a_user_without_rights_is_told_before_anything_is_done(
    docker_api: Any, node_image: str, tmp_path: Path, database_url: str
) -> None:
    user = f"mere_{tmp_path.name[-20:]}"
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(sql.Identifier(user)))
        for what in ("SCHEMA sync_metadata", "ALL TABLES IN SCHEMA sync_metadata"):
            admin.execute(sql.SQL("GRANT ALL ON {} TO {}").format(sql.SQL(what), sql.Identifier(user)))
    url = database_urls.for_user(SecretStr(database_url), user, SecretStr("x"))
    try:
        with cluster_of(docker_api, tmp_path, url.get_secret_value(), node_image) as cluster:
            plan = cluster.plan()
            cluster.url = ""
    finally:
        with psycopg.connect(database_url, autocommit=True) as admin:
            admin.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(user)))
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(user)))

    assert [check.name for check in plan.blockers] == ["rights"]
    assert plan.steps == ()


def test_a_database_that_does_not_answer_is_a_finding(docker_api: Any, node_image: str, tmp_path: Path) -> None:
    with cluster_of(docker_api, tmp_path, "postgresql://x:y@127.0.0.1:1/x", node_image) as cluster:
        plan = cluster.plan()
        cluster.url = ""

    assert [check.name for check in plan.blockers] == ["database"]
    assert plan.steps == ()


def test_an_authority_of_the_consoles_own_goes_to_the_nodes_too(
    docker_api: Any, node_image: str, tmp_path: Path, database_url: str
) -> None:
    """The server speaks no TLS, so that nothing is checked here; that the nodes have the file and its path is."""
    authority = tmp_path / "private" / "ca.crt"
    authority.parent.mkdir(mode=0o700)
    authority.write_text("-----BEGIN CERTIFICATE-----\n")
    url = f"{database_url}?sslmode=prefer&sslrootcert={authority}"
    with cluster_of(docker_api, tmp_path, url, node_image) as cluster:
        cluster.deploy()

        folder = cluster.app.cluster_files.folder(cluster.name)
        assert folder.root_certificate.read_text() == authority.read_text()
        assert Database(folder.database_url).parameters["sslrootcert"] == str(folder.root_certificate)
        assert cluster.plan().changes == ()


def test_the_embedded_database_is_reached_through_its_socket(docker_api: Any, node_image: str) -> None:
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    try:
        with cluster_of(docker_api, folder, None, node_image, postgres_dir=folder / "pg") as cluster:
            state = cluster.deploy()

            assert state.lease
            assert state.lease.leader in NODES
            spec = cluster.app.cluster_files.read(cluster.name)
            assert spec
            assert (spec.network, spec.socket_folder) == ("bridge", folder / "pg" / "socket")
            assert cluster.plan().changes == ()
    finally:
        _stop(folder / "pg")
        shutil.rmtree(folder)
