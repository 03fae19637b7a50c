"""A cluster is taken down by keys in a terminal: blocked, unblocked in the flow, gone, and brought back."""

import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from client_manager.app import App
from client_manager.client_sync.register import register
from client_manager.deployment import create
from client_manager.models.client_request import CreateRequest
from client_manager.sync_node.nodes import NODES
from tests.conftest import APP_IMAGE
from tests.e2e.terminal import ENTER, ERASE, Terminal
from tests.integration.cluster import Cluster, cluster_of
from tests.steps import Steps
from tests.waiting import until

pytestmark = pytest.mark.timeout(420)
WORK_S = 90


@pytest.fixture
def cluster(docker_api: Any, app_image: str, node_image: str, tmp_path: Path, database_url: str) -> Iterator[Cluster]:
    del app_image
    with cluster_of(docker_api, tmp_path, database_url, node_image) as cluster:
        client = {"image": f"{APP_IMAGE}:v1", "memory_bytes": 256 * 1024**2}
        cluster.app = App(cluster.app.settings.model_copy(update=client))
        cluster.deploy()
        yield cluster


@pytest.fixture
def menu(cluster: Cluster) -> Iterator[Terminal]:
    settings = cluster.app.settings
    environment = {
        "CLIENT_MANAGER_DATA_ROOT": str(settings.data_root),
        "CLIENT_MANAGER_STATE_DIR": str(settings.state_dir),
        "CLIENT_MANAGER_DATABASE_URL": cluster.url,
        "CLIENT_MANAGER_NODE_IMAGE": settings.node_image,
        "CLIENT_MANAGER_NODE_CONTAINER_PREFIX": settings.node_container_prefix,
    }
    with Terminal([sys.executable, "-m", "client_manager"], environment) as terminal:
        yield terminal


def add_client(cluster: Cluster, name: str, *, registered: bool) -> None:
    app = cluster.app
    create.create(app, create.plan_create(app, CreateRequest(name=name, domain=f"{name}.example.test")), Steps())
    with closing(sqlite3.connect(app.files.data(name) / "webui.db")) as connection, connection:
        connection.execute("INSERT INTO chat VALUES ('first')")
    if registered:
        register(app, name, 10, cluster.name)


def is_replicated(cluster: Cluster, name: str) -> bool:
    there = cluster.rows("SELECT to_regclass(%s)::text", f'"{name}".chat')[0][0]
    return bool(there) and cluster.rows(f'SELECT id FROM "{name}".chat') == [("first",)]


def started_at(api: Any, name: str) -> str:
    state = api.inspect_container(f"openwebui-{name}")["State"]
    assert state["Running"]
    return str(state["StartedAt"])


def test_cluster_is_unblocked_taken_down_and_restored_by_keys(  # noqa: PLR0915  one story
    cluster: Cluster, menu: Terminal, docker_api: Any, new_name: Callable[[], str], tmp_path: Path
) -> None:
    kept, gone, stranger = sorted([new_name(), new_name(), new_name()])
    for name in (kept, gone, stranger):
        add_client(cluster, name, registered=name != stranger)
    until(lambda: is_replicated(cluster, kept) and is_replicated(cluster, gone), 60)
    untouched = started_at(docker_api, stranger)

    menu.answer("Main menu (Ctrl-C", "4", ENTER)
    menu.answer(f"Sync cluster {cluster.name}", "5", ENTER)
    menu.wait_for("What now?", within_s=WORK_S)
    assert "Blocked:" in menu.screen
    assert kept in menu.screen
    assert gone in menu.screen
    assert stranger not in menu.screen

    menu.answer("What now?", "1", ENTER)
    menu.answer("Which clients?", "1", ENTER)
    menu.answer(f"Which others, besides {kept}?", "a", ENTER)
    menu.answer(f"Disable the sync of {kept}?", "y", ENTER)
    menu.wait_for("1 client of it is still being replicated", within_s=WORK_S)
    assert f"The sync of {kept} is disabled" in menu.screen

    menu.answer("(Esc: back)", "3", ENTER)
    menu.answer("Folder for the backups:", str(tmp_path / "backups"), ENTER)
    menu.answer(f"Type the client's name, {gone}", gone, ENTER)
    menu.wait_for("Allowed:", within_s=WORK_S)
    assert not any(f"openwebui-{gone}" in text for row in docker_api.containers(all=True) for text in row["Names"])

    menu.answer(f"Type the cluster's name, {cluster.name}", cluster.name, ENTER)
    menu.wait_for("leads it now. Type its name too:")
    leader = next(node for node in NODES if f"{node} leads it now. Type" in menu.screen)
    menu.press(leader, ENTER)
    menu.wait_for("is deregistered.", within_s=WORK_S)
    assert cluster.rows("SELECT count(*) FROM sync_metadata.hosts") == [(0,)]
    assert not any(cluster.app.engine.find(cluster.container(node)) for node in NODES)

    menu.answer("none is deployed on this machine", "r", ENTER)
    menu.answer("Bundle:", ENTER)
    menu.answer(f"Bring {cluster.name} back?", "y", ENTER)
    menu.wait_for(f"{cluster.name} is back in the records.")
    assert cluster.rows("SELECT client_name, sync_enabled FROM sync_metadata.client_deployments") == [(kept, False)]
    assert started_at(docker_api, stranger) == untouched
    assert is_replicated(cluster, kept)
    assert list((tmp_path / "backups").glob(f"{gone}-*/**/webui.db"))


def test_name_that_is_not_the_clusters_changes_nothing(cluster: Cluster, menu: Terminal) -> None:
    menu.answer("Main menu (Ctrl-C", "4", ENTER)
    menu.answer(f"Sync cluster {cluster.name}", "5", ENTER)
    menu.wait_for("Allowed:", within_s=WORK_S)
    menu.answer("Type the cluster's name", ERASE, "another", ENTER)
    menu.wait_for("That is not the name; nothing was done.")
    assert cluster.rows("SELECT count(*) FROM sync_metadata.hosts") == [(1,)]
    assert all(cluster.app.engine.get(cluster.container(node)).running for node in NODES)
