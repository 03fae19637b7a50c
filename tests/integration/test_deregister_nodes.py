"""A whole cluster on the real Engine goes and comes back, beside clients that have nothing to do with it."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from client_manager.app import App
from client_manager.client_sync import control
from client_manager.client_sync.register import register
from client_manager.cluster.restore import restore
from client_manager.deployment import create
from client_manager.errors import Blocked, NotFound
from client_manager.gateways import sync_roles
from client_manager.models.client_request import CreateRequest
from client_manager.models.deregistration import Confirmation
from client_manager.sync_node.nodes import NODES
from client_manager.workflows.cluster_nodes import nodes_of
from client_manager.workflows.decommission import decommission
from client_manager.workflows.deregister_cluster import check, deregister
from client_manager.workflows.unblock_cluster import disable_sync
from tests.conftest import APP_IMAGE
from tests.integration.cluster import Cluster, cluster_of
from tests.integration.registered import confirm, silent
from tests.steps import Steps
from tests.waiting import until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def cluster(docker_api: Any, app_image: str, node_image: str, tmp_path: Path, database_url: str) -> Iterator[Cluster]:
    del app_image
    with cluster_of(docker_api, tmp_path, database_url, node_image) as cluster:
        client = {"image": f"{APP_IMAGE}:v1", "memory_bytes": 256 * 1024**2}
        cluster.app = App(cluster.app.settings.model_copy(update=client))
        yield cluster


def create_client(app: App, name: str) -> None:
    create.create(app, create.plan_create(app, CreateRequest(name=name, domain=f"{name}.example.test")), Steps())


def write_chat(app: App, name: str, key: str) -> None:
    """What the application would do."""
    with closing(sqlite3.connect(app.files.data(name) / "webui.db")) as connection, connection:
        connection.execute("INSERT INTO chat VALUES (?)", [key])


def chats(cluster: Cluster, name: str) -> set[str]:
    if not cluster.rows("SELECT to_regclass(%s)::text", f'"{name}".chat')[0][0]:
        return set()
    return {key for (key,) in cluster.rows(f'SELECT id FROM "{name}".chat')}


def confirmed(app: App, cluster: Cluster) -> Confirmation:
    return confirm(check(app, cluster.name, nodes_of(app, cluster.name, silent).circumstances))


def test_cluster_is_blocked_repaired_deregistered_and_restored_while_others_run_on(  # noqa: PLR0915  one story
    cluster: Cluster, new_name: Callable[[], str], tmp_path: Path
) -> None:
    app, (kept, gone, stranger) = cluster.app, (new_name(), new_name(), new_name())
    cluster.deploy()
    for name in (kept, gone, stranger):
        create_client(app, name)
    for name in (kept, gone):
        register(app, name, 10, cluster.name)
        write_chat(app, name, "first")
    until(lambda: chats(cluster, kept) == chats(cluster, gone) == {"first"}, 60)
    nodes = nodes_of(app, cluster.name, silent)

    decision = check(app, cluster.name, nodes.circumstances)
    assert {client.client_name for client in decision.enabled} == {kept, gone}
    with pytest.raises(Blocked):
        deregister(app, confirmed(app, cluster), nodes, silent)
    assert all(app.engine.get(cluster.container(node)).running for node in NODES)

    disable_sync(app, kept, silent)
    decommission(app, gone, tmp_path / "backups", silent)
    decision = check(app, cluster.name, nodes.circumstances)
    assert decision.blockers == ()
    assert decision.leader in NODES
    assert decision.disabled == (kept,)

    report = deregister(app, confirm(decision), nodes, silent)

    assert report.notes == ()
    assert set(report.stopped) == set(NODES)
    assert not any(app.engine.find(cluster.container(node)) for node in NODES)
    assert app.cluster_files.read(cluster.name) is None
    with sync_roles.of(app.database) as roles:
        assert not roles.exists(f"sync_node_{cluster.name}")
    with pytest.raises(NotFound):
        check(app, cluster.name, nodes.circumstances)
    for name in (kept, stranger):
        assert app.engine.get(f"openwebui-{name}").running
    assert chats(cluster, kept) == chats(cluster, gone) == {"first"}

    back = restore(app, Path(report.bundle), dry_run=False)
    cluster.deploy()
    write_chat(app, kept, "second")
    assert not control.status(app, kept).sync_enabled
    control.start(app, kept)

    assert back.restored["client_deployments"] == 1
    until(lambda: chats(cluster, kept) == {"first", "second"}, 60)
    assert app.engine.get(f"openwebui-{stranger}").running


def test_nodes_run_again_where_nothing_came_of_it(cluster: Cluster, new_name: Callable[[], str]) -> None:
    app, name = cluster.app, new_name()
    cluster.deploy()
    create_client(app, name)
    register(app, name, 10, cluster.name, enable=False)
    nodes = nodes_of(app, cluster.name, silent)
    wanted = confirmed(app, cluster)

    def enable(progress: Any) -> None:
        if progress.step == "Deleting":
            assert not any(app.engine.get(cluster.container(node)).running for node in NODES)
            cluster.rows("UPDATE sync_metadata.client_deployments SET sync_enabled = true")

    with pytest.raises(Blocked, match="nothing was deleted"):
        deregister(app, wanted, nodes, enable)

    assert all(app.engine.get(cluster.container(node)).running for node in NODES)
    until(lambda: control.status(app, name).last_sync_at, 60)


def test_another_machine_of_the_same_name_has_nothing_in_hand(cluster: Cluster) -> None:
    """Only files and containers say that nodes are here; a host name does not."""
    cluster.deploy()
    there = App(cluster.app.settings.model_copy(update={"data_root": cluster.app.settings.data_root / "other"}))
    stranger = nodes_of(there, f"{cluster.name}-2", silent)

    assert stranger.circumstances.stops == ()
    kinds = {blocker.kind for blocker in check(there, cluster.name, stranger.circumstances).blockers}
    assert kinds == {"leader", "alive"}


def test_nodes_of_the_predecessor_are_stopped_and_left_to_it(cluster: Cluster, docker_api: Any) -> None:
    app, name = cluster.app, cluster.name
    for node in ("a", "b"):
        environment = {"ROLE": f"node-{node}", "CLUSTER_NAME": name, "DATABASE_URL": "postgresql://x"}
        made = docker_api.create_container(
            app.settings.image, name=cluster.container(f"sync-node-{node}"), environment=environment
        )
        docker_api.start(made)
        cluster.rows(
            "INSERT INTO sync_metadata.hosts (hostname, cluster_name) VALUES (%s, %s)", f"{name}-node-{node}", name
        )
    cluster.rows(
        "INSERT INTO sync_metadata.leader_election (cluster_name, leader_id, leader_host_id, acquired_at, expires_at)"
        " SELECT cluster_name, hostname, host_id, now(), now() + interval '1 minute' FROM sync_metadata.hosts LIMIT 1"
    )
    nodes = nodes_of(app, name, silent)

    report = deregister(app, confirm(check(app, name, nodes.circumstances)), nodes, silent)

    assert set(report.stopped) == {f"{name}-node-a", f"{name}-node-b"}
    for node in NODES:
        container = app.engine.find(cluster.container(node))
        assert container
        assert not container.running
