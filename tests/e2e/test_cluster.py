"""The main job of the sync cluster by keys: deployed from the menu, it replicates a real Open WebUI that is in use."""

import json
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from client_manager.app import App
from client_manager.deployment import create
from client_manager.models.client_request import CreateRequest
from client_manager.sync_node import nodes
from tests.conftest import OPEN_WEBUI, clear_away
from tests.e2e.terminal import ENTER, ERASE, Terminal
from tests.e2e.test_open_webui import ADMIN, Tenant
from tests.integration.cluster import Cluster, cluster_of
from tests.replication.oracle import differences
from tests.steps import Steps
from tests.waiting import until

pytestmark = pytest.mark.timeout(600)
WORK_S = 120


@pytest.fixture
def cluster(docker_api: Any, node_image: str, tmp_path: Path, database_url: str) -> Iterator[Cluster]:
    with cluster_of(docker_api, tmp_path, database_url, node_image, health_timeout_s=240) as cluster:
        client = {"image": OPEN_WEBUI, "memory_bytes": 2 * 1024**3}
        cluster.app = App(cluster.app.settings.model_copy(update=client))
        yield cluster


@pytest.fixture
def client(cluster: Cluster, docker_api: Any) -> Iterator[tuple[str, Tenant]]:
    """A real Open WebUI."""
    name = f"chat-{secrets.token_hex(4)}"
    try:
        wanted = create.plan_create(cluster.app, CreateRequest(name=name, domain=f"{name}.example.test"))
        spec = create.create(cluster.app, wanted, Steps())
        yield name, Tenant(int(spec.port or 0))
    finally:
        clear_away(docker_api, [name])


@pytest.fixture
def menu(cluster: Cluster, client: tuple[str, Tenant]) -> Iterator[Terminal]:
    del client
    settings = cluster.app.settings
    environment = {
        "CLIENT_MANAGER_DATA_ROOT": str(settings.data_root),
        "CLIENT_MANAGER_STATE_DIR": str(settings.state_dir),
        "CLIENT_MANAGER_DATABASE_URL": cluster.url,
        "CLIENT_MANAGER_CLUSTER": cluster.name,
        "CLIENT_MANAGER_NODE_IMAGE": settings.node_image,
        "CLIENT_MANAGER_NODE_CONTAINER_PREFIX": settings.node_container_prefix,
        "CLIENT_MANAGER_NODE_PORTS": json.dumps(settings.node_ports),
    }
    with Terminal([sys.executable, "-m", "client_manager"], environment) as terminal:
        yield terminal


def deploy(menu: Terminal, cluster: Cluster) -> None:
    menu.answer("Main menu (Ctrl-C", "4", ENTER)
    menu.answer("none is deployed on this machine", "1", ENTER)
    menu.answer("Cluster name:", ENTER)
    menu.answer(f"Deploy {cluster.name} on this machine?", "y", ENTER, within_s=30)
    menu.wait_for(f"{cluster.name} is deployed;", within_s=WORK_S)
    menu.answer(f"Sync cluster {cluster.name}", "0", ENTER)


def register(menu: Terminal, name: str) -> None:
    menu.answer("Main menu (Ctrl-C", "3", ENTER)
    menu.choose("Which deployment?", f" {name} ")
    menu.answer("8) Sync Management", "8", ENTER)
    menu.answer(f"Sync of {name}  not registered", "1", ENTER)
    menu.answer("How often?", "s", ENTER)
    menu.answer("Seconds from one run to the next:", ERASE, "10", ENTER)
    menu.answer(f"Register {name} with", "y", ENTER)
    menu.wait_for(f"{name} is registered with", within_s=30)


def chats(cluster: Cluster, name: str) -> set[str]:
    if not cluster.rows("SELECT to_regclass(%s)::text", f'"{name}".chat')[0][0]:
        return set()
    return {title for (title,) in cluster.rows(f'SELECT title FROM "{name}".chat')}


def write_chat(tenant: Tenant, title: str) -> None:
    tenant.call("/api/v1/chats/new", {"chat": {"title": title, "messages": [], "models": ["none"]}})


def leader(cluster: Cluster) -> str:
    found = cluster.rows("SELECT leader_name FROM sync_metadata.leader_election WHERE expires_at > clock_timestamp()")
    return str(found[0][0]) if found else ""


def test_cluster_from_the_menu_replicates_a_real_open_webui_and_outlives_its_leader(
    cluster: Cluster, client: tuple[str, Tenant], menu: Terminal, docker_api: Any
) -> None:
    name, tenant = client
    deploy(menu, cluster)
    assert {each.node for each in nodes.list_nodes(cluster.app) if each.opinion.healthy} == set(nodes.NODES)
    register(menu, name)

    tenant.sign_up()
    write_chat(tenant, "before")
    until(lambda: "before" in chats(cluster, name), WORK_S)
    assert (ADMIN["email"],) in cluster.rows(f'SELECT email FROM "{name}".user')

    first = leader(cluster)
    docker_api.kill(cluster.container(first), "SIGKILL")
    until(lambda: leader(cluster) not in {"", first}, WORK_S)
    write_chat(tenant, "after")
    until(lambda: "after" in chats(cluster, name), WORK_S)

    source = cluster.app.files.data(name) / "webui.db"
    until(lambda: not differences(source, cluster.url, name), WORK_S)
