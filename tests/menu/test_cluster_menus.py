"""The menus and commands of clusters and sync nodes, driven by real keys, on nodes that really run."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from client_manager.app import App
from client_manager.menu import cluster_check
from client_manager.models.cluster_plan import ClusterRequest
from client_manager.settings import Settings
from client_manager.sync_node import nodes
from tests.integration.cluster import Cluster, cluster_of
from tests.menu.conftest import CLEAR, CTRL_C, ENTER, ESC, Pick, Terminal
from tests.menu.desk import BACK, EXIT, YES, Desk, as_json, ctrl_c_when
from tests.ports import free_pair
from tests.postgres import fresh_database
from tests.waiting import until

CLUSTER: Final = Pick("Manage Sync Cluster")
NODE_A: Final = Pick("Manage Sync Node A")
NODE_B: Final = Pick("Manage Sync Node B")
both_ways_out = pytest.mark.parametrize("way_out", [ESC, CTRL_C, ENTER], ids=["esc", "ctrl_c", "no"])


@pytest.fixture(scope="module")
def cluster(
    docker_api: Any, node_image: str, postgres: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """One that the tests here share."""
    folder = tmp_path_factory.mktemp("cluster")
    with (
        fresh_database(postgres) as url,
        cluster_of(docker_api, folder, url, node_image) as cluster,
    ):
        cluster.deploy()
        yield cluster


@pytest.fixture
def desk(cluster: Cluster, terminal: Terminal) -> Iterator[Desk]:
    """At the machine of the shared cluster, both of whose nodes run and are healthy before and after."""
    yield Desk(App(cluster.app.settings), terminal)
    for node in nodes.NODES:
        container = cluster.app.engine.get(cluster.container(node))
        if not container.running:
            cluster.app.engine.start(container.id)
    until(lambda: all(said.healthy for said in nodes.opinions(nodes.cluster_here(cluster.app))))


@pytest.fixture
def empty_desk(tmp_path: Path, database_url: str, terminal: Terminal, docker_api: Any) -> Desk:
    """At a machine without a cluster."""
    del docker_api
    return Desk(
        App(
            Settings(
                data_root=tmp_path / "root",
                state_dir=tmp_path / "state",
                database_url=database_url,
                cluster="machine-1",
                node_container_prefix=f"openwebui-t{secrets.token_hex(4)}-",
                node_ports=free_pair(),
            )
        ),
        terminal,
    )


def leader(cluster: Cluster) -> str:
    with cluster.app.sync_store() as store:
        lease = store.lease(cluster.name)
    return lease.leader if lease and lease.is_valid else ""


def boots(cluster: Cluster) -> list[tuple[str, str]]:
    """What runs now: a container's id and since when."""
    found = [cluster.app.engine.get(cluster.container(node)) for node in nodes.NODES]
    return [(each.id, str(each.state)) for each in found] + [
        (said.node_name, str(said.node_id)) for said in nodes.opinions(nodes.cluster_here(cluster.app))
    ]


def follower(cluster: Cluster) -> str:
    return next(node for node in nodes.NODES if node != leader(cluster))


# A machine without a cluster.


def test_without_a_cluster_the_menu_offers_to_make_one_and_nothing_of_what_is_not_there(empty_desk: Desk) -> None:
    operator = empty_desk.sit_down(CLUSTER, BACK, EXIT)
    assert operator.choices[1] == ["Deploy Sync Cluster", "Deregister Cluster", "Restore a Cluster", "Back"]
    assert operator.asked[1] == "Sync cluster: none is deployed on this machine"


@pytest.mark.parametrize("way_out", [ESC, CTRL_C], ids=["esc", "ctrl_c"])
def test_deploy_can_be_left_at_its_name(empty_desk: Desk, way_out: str) -> None:
    operator = empty_desk.sit_down(CLUSTER, Pick("Deploy"), way_out, BACK, EXIT)
    assert operator.asked[2] == "Cluster name:"
    assert not empty_desk.app.cluster_files.names()


def test_deploy_asks_again_for_a_name_that_cannot_be(empty_desk: Desk) -> None:
    empty_desk.sit_down(CLUSTER, Pick("Deploy"), f"{CLEAR}Not A Name{ENTER}{ESC}", BACK, EXIT)
    assert not empty_desk.app.cluster_files.names()


def test_deploy_that_a_check_stands_in_the_way_of_says_which_and_asks_nothing(empty_desk: Desk) -> None:
    with psycopg.connect(empty_desk.app.settings.database_url.get_secret_value(), autocommit=True) as connection:  # type: ignore[union-attr]
        name = connection.info.dbname
        connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    operator = empty_desk.sit_down(CLUSTER, Pick("Deploy"), ENTER, BACK, EXIT)
    assert operator.asked[2:] == ["Cluster name:", operator.asked[1], "Main menu"]
    assert "critical server The server only lets us read" in empty_desk.shown
    assert "Error: machine-1 cannot be deployed: server" in empty_desk.shown


def test_list_of_no_clusters_says_how_to_make_one(empty_desk: Desk) -> None:
    from client_manager.menu import cluster_actions

    cluster_actions.list_clusters(empty_desk.session())
    assert "cluster deploy NAME" in empty_desk.shown


def test_check_of_no_cluster_is_unknown(empty_desk: Desk) -> None:
    assert cluster_check.check(empty_desk.session(), None) == 3
    assert empty_desk.shown.startswith("CLUSTER UNKNOWN - No sync cluster is deployed on this machine.")


def test_check_without_a_database_is_critical(empty_desk: Desk) -> None:
    empty_desk.without_database()
    assert cluster_check.check(empty_desk.session(), "prod") == 2
    assert empty_desk.shown.startswith("CLUSTER CRITICAL - ")
    assert "hunter2" not in empty_desk.shown


# The menu of the cluster.


def test_cluster_menu_offers_the_numbers_of_the_predecessor(desk: Desk, cluster: Cluster) -> None:
    operator = desk.sit_down(CLUSTER, ESC, EXIT)
    assert operator.choices[1] == [
        "Deploy Sync Cluster",
        "View Cluster Health",
        "Manage Sync Node A",
        "Manage Sync Node B",
        "Update Sync Nodes",
        "Switch over",
        "View Cluster Status",
        "Watch (live, until q)",
        "Deregister Cluster",
        "Restore a Cluster",
        "Back",
    ]
    assert operator.asked[1] == f"Sync cluster {cluster.name}  sync-node-a running, sync-node-b running"


def test_health_shows_the_findings(desk: Desk, cluster: Cluster) -> None:
    desk.sit_down(CLUSTER, Pick("View Cluster Health"), BACK, EXIT)
    assert f"ok {leader(cluster)} leads, term " in desk.shown
    assert f"The same as a command: client-manager cluster health {cluster.name}" in desk.shown


def test_status_shows_both_nodes_and_what_they_say(desk: Desk, cluster: Cluster) -> None:
    desk.sit_down(CLUSTER, Pick("View Cluster Status"), BACK, EXIT)
    assert "I lead, term" in desk.shown
    assert f"{leader(cluster)} leads" in desk.shown
    assert f"client-manager cluster show {cluster.name}" in desk.shown


def test_watch_from_the_menu_ends_with_ctrl_c_and_the_menu_comes_again(desk: Desk, cluster: Cluster) -> None:
    with ctrl_c_when(lambda: f"Cluster {cluster.name}:" in desk.screen.getvalue()):
        operator = desk.sit_down(CLUSTER, Pick("Watch"), BACK, EXIT)
    assert operator.asked[-1] == "Main menu"
    assert f"client-manager cluster watch {cluster.name}" in desk.shown


def test_deploy_of_a_cluster_that_is_as_it_should_be_does_nothing(desk: Desk, cluster: Cluster) -> None:
    before = boots(cluster)
    operator = desk.sit_down(CLUSTER, Pick("Deploy"), ENTER, BACK, EXIT)
    assert operator.asked[2:4] == ["Cluster name:", operator.asked[1]]
    assert "is as it should be; there is nothing to do." in desk.shown
    assert boots(cluster) == before


@both_ways_out
def test_deploy_can_be_left_before_it_begins(desk: Desk, cluster: Cluster, way_out: str) -> None:
    cluster.app.engine.stop(cluster.container(follower(cluster)), 45)
    before = boots(cluster)
    operator = desk.sit_down(CLUSTER, Pick("Deploy"), ENTER, way_out, BACK, EXIT)
    assert operator.asked[3] == f"Deploy {cluster.name} on this machine?"
    assert boots(cluster) == before


def test_deploy_starts_what_is_stopped(desk: Desk, cluster: Cluster) -> None:
    node = follower(cluster)
    cluster.app.engine.stop(cluster.container(node), 45)
    desk.sit_down(CLUSTER, Pick("Deploy"), ENTER, YES, BACK, EXIT)
    assert cluster.app.engine.get(cluster.container(node)).running
    assert f"start {node}" in desk.shown
    assert f"{cluster.name} is deployed; {leader(cluster)} leads." in desk.shown


def test_switch_over_lets_the_other_node_lead(desk: Desk, cluster: Cluster) -> None:
    before, other = leader(cluster), follower(cluster)
    desk.sit_down(CLUSTER, Pick("Switch over"), YES, BACK, EXIT)
    assert leader(cluster) == other
    assert f"{before} leads now" in desk.shown
    assert f"{other} leads, term " in desk.shown
    assert f"client-manager cluster switch-over {cluster.name}" in desk.shown


@both_ways_out
def test_switch_over_can_be_left(desk: Desk, cluster: Cluster, way_out: str) -> None:
    before = leader(cluster)
    operator = desk.sit_down(CLUSTER, Pick("Switch over"), way_out, BACK, EXIT)
    assert operator.asked[2] == "Let the other node lead?"
    with cluster.app.sync_store() as store:
        lease = store.lease(cluster.name)
    assert lease
    assert (lease.leader, lease.wanted_name) == (before, None)


def test_switch_over_to_a_node_that_does_not_live_is_refused(desk: Desk, cluster: Cluster) -> None:
    before = leader(cluster)
    cluster.app.engine.stop(cluster.container(follower(cluster)), 45)
    desk.sit_down(CLUSTER, Pick("Switch over"), YES, BACK, EXIT)
    assert "cannot lead: it does not live." in desk.shown
    assert leader(cluster) == before


def test_update_of_what_is_up_to_date_does_nothing(desk: Desk, cluster: Cluster) -> None:
    before = boots(cluster)
    operator = desk.sit_down(CLUSTER, Pick("Update"), BACK, EXIT)
    assert operator.asked[2] == operator.asked[1]
    assert "Everything is up to date" in desk.shown
    assert boots(cluster) == before


@both_ways_out
def test_update_can_be_left(desk: Desk, cluster: Cluster, way_out: str) -> None:
    with outdated(cluster, "sync-node-a"):
        before = boots(cluster)
        operator = desk.sit_down(CLUSTER, Pick("Update"), way_out, BACK, EXIT)
        assert operator.asked[2].startswith(f"Update sync-node-a, sync-node-b of {cluster.name}?")
        assert boots(cluster) == before


@contextmanager
def outdated(cluster: Cluster, node: str) -> Iterator[None]:
    """Write into the spec what the node was not started with."""
    spec = nodes.cluster_here(cluster.app)
    cluster.app.cluster_files.write(spec.model_copy(update={"workers": 3}))
    try:
        assert not nodes.status(cluster.app, node).current  # type: ignore[arg-type]
        yield
    finally:
        if any(not each.current for each in nodes.statuses(cluster.app, nodes.cluster_here(cluster.app))):
            cluster.app.cluster_files.write(spec)


# The menu of a node.


def test_node_menu_offers_what_works_and_says_how_the_node_is(desk: Desk, cluster: Cluster) -> None:
    operator = desk.sit_down(CLUSTER, NODE_A, ESC, BACK, EXIT)
    assert operator.choices[2] == [
        "View Cluster Status",
        "View Health Check",
        "View Logs",
        "Live Logs",
        "Restart",
        "Stop",
        "Update",
        "Back",
    ]
    assert operator.asked[2].startswith(f"sync-node-a of {cluster.name}  running, says: ")


@pytest.mark.parametrize("node", nodes.NODES)
def test_nodes_stand_among_the_deployments_and_open_their_menu(desk: Desk, cluster: Cluster, node: str) -> None:
    operator = desk.sit_down(Pick("Manage Existing"), Pick(f"{node} "), BACK, ESC, EXIT)
    assert f"{node}  {cluster.name}  running  sync node" in operator.choices[1]
    assert operator.asked[2].startswith(f"{node} of {cluster.name}")


def test_node_status_shows_its_place_in_the_cluster(desk: Desk, cluster: Cluster) -> None:
    desk.sit_down(CLUSTER, NODE_B, Pick("View Cluster Status"), BACK, BACK, EXIT)
    assert f"Node sync-node-b of {cluster.name}" in desk.shown
    assert f"Leader {leader(cluster)}, term " in desk.shown
    assert "client-manager node status sync-node-b" in desk.shown


def test_node_health_shows_what_it_answers(desk: Desk) -> None:
    desk.sit_down(CLUSTER, NODE_A, Pick("View Health"), BACK, BACK, EXIT)
    assert "Health healthy" in desk.shown


def test_node_logs_are_shown(desk: Desk) -> None:
    desk.sit_down(CLUSTER, NODE_A, Pick("View Logs"), BACK, BACK, EXIT)
    assert '"event": "started"' in desk.screen.getvalue()


def test_live_logs_go_on_until_ctrl_c_and_the_node_with_them(desk: Desk, cluster: Cluster) -> None:
    before = boots(cluster)
    with ctrl_c_when(lambda: '"event": "started"' in desk.screen.getvalue()):
        operator = desk.sit_down(CLUSTER, NODE_A, Pick("Live Logs"), BACK, BACK, EXIT)
    assert operator.asked[-1] == "Main menu"
    assert boots(cluster) == before


@pytest.mark.parametrize("action", ["Restart", "Stop"])
@both_ways_out
def test_restart_and_stop_can_be_left(desk: Desk, cluster: Cluster, action: str, way_out: str) -> None:
    before = boots(cluster)
    operator = desk.sit_down(CLUSTER, NODE_A, Pick(action), way_out, BACK, BACK, EXIT)
    assert operator.asked[3] == f"{action} sync-node-a?"
    assert boots(cluster) == before


def test_restart_of_the_leader_says_who_takes_over_and_returns_when_the_node_is_healthy(
    desk: Desk, cluster: Cluster
) -> None:
    node, other = leader(cluster), follower(cluster)
    before = next(said.node_id for said in nodes.opinions(nodes.cluster_here(cluster.app)) if said.node_name == node)
    desk.sit_down(CLUSTER, NODE_A if node == "sync-node-a" else NODE_B, Pick("Restart"), YES, BACK, BACK, EXIT)
    assert f"{node} leads: it ends its jobs and hands over to {other}." in desk.shown
    assert f"{node} is running and healthy." in desk.shown
    after = nodes.status(cluster.app, node).opinion  # type: ignore[arg-type]
    assert after.healthy
    assert after.node_id != before
    assert leader(cluster) == other


def test_a_stopped_node_is_offered_to_be_started(desk: Desk, cluster: Cluster) -> None:
    node = follower(cluster)
    entry = NODE_A if node == "sync-node-a" else NODE_B
    operator = desk.sit_down(CLUSTER, entry, Pick("Stop"), YES, Pick("Start"), BACK, BACK, EXIT)
    assert f"{node} is stopped." in desk.shown
    assert f"{node} is running and healthy." in desk.shown
    assert operator.asked[4] == f"{node} of {cluster.name}  exited, says: nothing, it does not run"


def test_stop_of_the_last_node_says_that_nothing_is_replicated_then(desk: Desk, cluster: Cluster) -> None:
    cluster.app.engine.stop(cluster.container(follower(cluster)), 45)
    entry = NODE_A if leader(cluster) == "sync-node-a" else NODE_B
    desk.sit_down(CLUSTER, entry, Pick("Stop"), ESC, BACK, BACK, EXIT)
    assert "nothing is replicated until" in desk.shown


def test_update_of_one_node_makes_it_anew_and_leaves_the_other(desk: Desk, cluster: Cluster) -> None:
    node = follower(cluster)
    before = dict(boots(cluster))
    with outdated(cluster, node):
        entry = NODE_A if node == "sync-node-a" else NODE_B
        desk.sit_down(CLUSTER, entry, Pick("Update"), YES, BACK, BACK, EXIT)
        assert f"{node} is up to date; {leader(cluster)} leads." in desk.shown
        other = leader(cluster)
        after = dict(boots(cluster))
        assert after[other] == before[other]
        assert after[node] != before[node]
    cluster.deploy()


# When things are down.


def test_a_database_that_is_gone_is_an_error_and_the_menus_stay(desk: Desk) -> None:
    desk.without_database()
    operator = desk.sit_down(
        CLUSTER, Pick("View Cluster Health"), Pick("Switch over"), NODE_A, Pick("View Cluster Status"),
        Pick("View Health"), BACK, BACK, EXIT,
    )  # fmt: skip
    assert desk.shown.count("Error: ") == 3
    assert "Opinion " in desk.shown
    assert "Health healthy" in desk.shown
    assert "hunter2" not in desk.shown
    assert operator.asked[-1] == "Main menu"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_engine_that_is_gone_leaves_the_way_to_the_clusters_menu(desk: Desk) -> None:
    desk.app = App(desk.app.settings.model_copy(update={"docker_host": "unix:///nonexistent/docker.sock"}))
    operator = desk.sit_down(CLUSTER, Pick("View Cluster Health"), NODE_A, BACK, EXIT)
    assert "Docker at unix:///nonexistent/docker.sock cannot be reached." in operator.asked[1]
    assert "leads, term" in desk.shown


# The commands.


def test_reads_as_json_hold_the_models(desk: Desk, cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    from client_manager.menu import cluster_actions, node_actions

    found = as_json(desk, capsys, node_actions.list_nodes)
    assert [each["node"] for each in found["nodes"]] == ["sync-node-a", "sync-node-b"]
    found = as_json(desk, capsys, lambda session: node_actions.show_status(session, "sync-node-a"))
    assert found["cluster"]["lease"]["leader_name"] == leader(cluster)
    assert as_json(desk, capsys, lambda session: node_actions.show_health(session, "sync-node-a"))["health"]["healthy"]
    found = as_json(desk, capsys, cluster_actions.list_clusters)
    assert [each["name"] for each in found["clusters"]] == [cluster.name]
    found = as_json(desk, capsys, lambda session: cluster_actions.show_cluster(session, None))
    assert {said["node_name"] for said in found["opinions"]} == set(nodes.NODES)
    found = as_json(desk, capsys, lambda session: cluster_actions.show_health(session, None))
    assert found["verdict"] == "ok"
    found = as_json(desk, capsys, lambda session: cluster_check.check(session, None))
    assert (found["verdict"], found["exit_code"]) == ("ok", 0)


def test_check_is_ok_warning_and_critical_as_the_cluster_is(desk: Desk, cluster: Cluster) -> None:
    assert cluster_check.check(desk.session(), None) == 0
    assert desk.shown.startswith(f"CLUSTER OK - {cluster.name}: ")
    cluster.app.engine.stop(cluster.container(follower(cluster)), 45)
    assert cluster_check.check(desk.session(), None) == 1
    cluster.app.engine.stop(cluster.container(leader(cluster)), 45)
    assert cluster_check.check(desk.session(), None) == 2
    assert "CLUSTER CRITICAL - " in desk.shown


def test_check_of_a_cluster_that_nobody_knows_is_unknown(desk: Desk) -> None:
    assert cluster_check.check(desk.session(), "no-such-cluster") == 3


def test_dry_runs_do_nothing(desk: Desk, cluster: Cluster) -> None:
    from client_manager.menu import cluster_actions, node_actions

    before, leads = boots(cluster), leader(cluster)
    session = desk.session(dry_run=True)
    node_actions.switch(session, "stop", "sync-node-a")
    cluster_actions.switch_over(session, None)
    cluster_actions.deploy_cluster(session, ClusterRequest(name=cluster.name))
    with outdated(cluster, "sync-node-a"):
        cluster_actions.update_cluster(session, None)
    assert desk.shown.count("Dry run: nothing was done.") == 4
    assert (boots(cluster), leader(cluster)) == (before, leads)
