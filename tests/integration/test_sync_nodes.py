"""The nodes of a deployed cluster: replaced, updated, handed over, stopped; on the real Engine and a real server."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from client_manager.app import App
from client_manager.cluster import health
from client_manager.cluster.switch_over import switch_over
from client_manager.errors import Blocked, Cancelled, ClientManagerError, Conflict, NotFound, Undone
from client_manager.models.cluster import ClusterSpec, NodeName
from client_manager.models.operation import Progress
from client_manager.sync_node import power
from client_manager.sync_node.nodes import NODES, cluster_here, list_nodes
from client_manager.sync_node.replace import replace
from client_manager.workflows.update_cluster import plan_update, update
from tests.integration.cluster import Cluster, cluster_of
from tests.postgres import fresh_database
from tests.waiting import until

_LEASE = """SELECT coalesce(bool_or(expires_at > clock_timestamp()), false), max(leader_name), max(term)
              FROM sync_metadata.leader_election WHERE cluster_name = %s"""


@pytest.fixture(scope="module")
def deployed(
    docker_api: Any, node_image: str, postgres: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """One cluster for all tests here; each leaves it with two nodes that run."""
    with (
        fresh_database(postgres) as url,
        cluster_of(docker_api, tmp_path_factory.mktemp("nodes"), url, node_image) as cluster,
    ):
        cluster.deploy()
        yield cluster


@pytest.fixture
def cluster(deployed: Cluster) -> Cluster:
    deployed.deploy()
    return deployed


@pytest.fixture
def newer(docker_api: Any, node_image: str) -> Iterator[str]:
    """The same image by another name, as another version would be."""
    name, tag = node_image.rsplit(":", 1)
    docker_api.tag(node_image, name, f"{tag}-newer")
    yield f"{name}:{tag}-newer"
    docker_api.remove_image(f"{name}:{tag}-newer", force=True)


def spec_of(cluster: Cluster) -> ClusterSpec:
    spec = cluster.app.cluster_files.read(cluster.name)
    assert spec
    return spec


def leader(cluster: Cluster) -> NodeName:
    (valid, name, _), *_ = cluster.rows(_LEASE, cluster.name)
    assert valid
    return next(node for node in NODES if node == name)


def other(node: NodeName) -> NodeName:
    return next(each for each in NODES if each != node)


def ids(cluster: Cluster) -> dict[str, str]:
    return {node: cluster.app.engine.get(cluster.container(node)).id for node in NODES}


@contextmanager
def leaderless(cluster: Cluster) -> Iterator[list[float]]:
    """Watch the lease; afterwards the list holds how long each time without a valid one was, in seconds."""
    gaps: list[float] = []
    end = threading.Event()

    def watch() -> None:
        since: float | None = None
        with psycopg.connect(cluster.url, autocommit=True) as connection:
            while not end.is_set():
                row = connection.execute(_LEASE, [cluster.name]).fetchone()
                now = time.monotonic()
                if row and row[0]:
                    if since is not None:
                        gaps.append(now - since)
                    since = None
                elif since is None:
                    since = now
                end.wait(0.005)
        if since is not None:
            gaps.append(time.monotonic() - since)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield gaps
    finally:
        end.set()
        thread.join()


def test_an_update_renews_the_follower_first_and_nobody_is_without_a_leader_for_a_second(
    cluster: Cluster, newer: str
) -> None:
    first, before = leader(cluster), ids(cluster)
    app = App(cluster.app.settings.model_copy(update={"node_image": newer}))
    assert {step.subject: step.action for step in plan_update(app, cluster.name)} == {
        f"image {newer}": "unchanged", "sync-node-a": "replace", "sync-node-b": "replace",
    }  # fmt: skip
    told: list[str] = []
    running: list[int] = []

    def report(progress: Progress) -> None:
        told.append(progress.step)
        running.append(sum(row.running for row in map(app.engine.find, map(cluster.container, NODES)) if row))

    with leaderless(cluster) as gaps:
        state = update(app, cluster.name, report)

    created = [step for step in told if step.startswith("Creating")]
    assert created == [f"Creating {other(first)}", f"Creating {first}"]
    assert min(running) >= 1
    assert sum(gaps) < 1, gaps
    assert not set(before.values()) & set(ids(cluster).values())
    assert state.lease
    assert state.lease.leader == other(first)
    assert all(node.image == newer and node.current for node in list_nodes(app, cluster.name))
    after = ids(cluster)
    update(app, cluster.name, report)
    assert ids(cluster) == after, "nothing was left to do"


def test_a_leader_is_not_renewed_while_nobody_could_take_over(cluster: Cluster, newer: str) -> None:
    first = leader(cluster)
    power.stop(cluster.app, other(first), cluster.report, cluster=cluster.name)
    app = App(cluster.app.settings.model_copy(update={"node_image": newer}))
    before = cluster.app.engine.get(cluster.container(first)).id

    with pytest.raises(Blocked, match="does not live to take over"):
        update(app, cluster.name, cluster.report, nodes=(first,))

    assert cluster.app.engine.get(cluster.container(first)).id == before
    assert leader(cluster) == first


def test_a_switch_over_ends_with_the_wanted_leader_in_a_moment(cluster: Cluster) -> None:
    first = leader(cluster)

    with leaderless(cluster) as gaps:
        lease = switch_over(cluster.app, cluster.name, cluster.report)

    assert lease.leader == other(first)
    assert lease.is_valid
    assert sum(gaps) < 1, gaps
    assert switch_over(cluster.app, cluster.name, cluster.report, to=other(first)).term == lease.term


def test_nobody_hands_over_to_a_node_that_does_not_live(cluster: Cluster) -> None:
    first = leader(cluster)
    power.stop(cluster.app, other(first), cluster.report, cluster=cluster.name)

    with pytest.raises(Blocked, match=f"{other(first)} cannot lead"):
        switch_over(cluster.app, cluster.name, cluster.report)

    assert leader(cluster) == first
    with pytest.raises(NotFound, match="no node sync-node-c"):
        switch_over(cluster.app, cluster.name, cluster.report, to="sync-node-c")


def test_a_switch_over_that_does_not_come_about_is_withdrawn(cluster: Cluster, docker_api: Any) -> None:
    """Both nodes are frozen: the leader does not see the request, and its lease lasts for now."""
    first = leader(cluster)
    for node in NODES:
        docker_api.pause(cluster.container(node))
    try:
        with pytest.raises(ClientManagerError, match="the request is withdrawn"):
            switch_over(cluster.app, cluster.name, cluster.report, to=other(first), deadline_s=0.5)
        wanted = "SELECT wanted_name FROM sync_metadata.leader_election WHERE cluster_name = %s"
        assert cluster.rows(wanted, cluster.name) == [(None,)]
    finally:
        for node in NODES:
            docker_api.unpause(cluster.container(node))
    until(lambda: cluster.rows(_LEASE, cluster.name)[0][0])


def test_without_a_leader_nobody_can_hand_over(cluster: Cluster) -> None:
    with pytest.raises(Conflict, match="Nobody leads unheard-of"):
        switch_over(cluster.app, "unheard-of", cluster.report)


def test_a_stopped_leader_has_handed_over(cluster: Cluster) -> None:
    first = leader(cluster)

    with leaderless(cluster) as gaps:
        power.stop(cluster.app, first, cluster.report, cluster=cluster.name)

    assert leader(cluster) == other(first)
    assert sum(gaps) < 1, gaps
    assert cluster.app.engine.get(cluster.container(first)).exit_code == 0
    said = power.start(cluster.app, first, cluster.report, cluster=cluster.name)
    assert said.healthy
    assert said.leader_id
    assert said.leader_id.startswith(f"{other(first)}/")


def test_a_restart_is_another_boot(cluster: Cluster) -> None:
    node = other(leader(cluster))
    before = next(status for status in list_nodes(cluster.app, cluster.name) if status.node == node).opinion.node_id

    said = power.restart(cluster.app, node, cluster.report, cluster=cluster.name)

    assert said.node_id != before
    assert any('"event": "started"' in line for line in power.last_log(cluster.app, node, 200, cluster=cluster.name))


def test_a_replacement_that_does_not_start_brings_the_old_node_back(cluster: Cluster) -> None:
    node = other(leader(cluster))
    before = ids(cluster)
    broken = spec_of(cluster).model_copy(update={"image": "python:3.11-slim"})

    with pytest.raises(Undone, match=f"the old {node} is back"):
        replace(cluster.app, broken, node, cluster.report)

    assert ids(cluster) == before
    until(lambda: all(status.opinion.healthy for status in list_nodes(cluster.app, cluster.name)))
    assert cluster.app.engine.find(f"{cluster.container(node)}.next") is None


def test_an_interrupted_replacement_brings_the_old_node_back(cluster: Cluster) -> None:
    node = other(leader(cluster))
    before = ids(cluster)

    def interrupt(progress: Progress) -> None:
        if progress.step.startswith("Starting"):
            raise KeyboardInterrupt

    with pytest.raises(Cancelled, match=f"the old {node} is back"):
        replace(cluster.app, spec_of(cluster), node, interrupt)

    assert ids(cluster) == before
    until(lambda: all(status.opinion.healthy for status in list_nodes(cluster.app, cluster.name)))


def test_a_replacement_that_was_cut_off_is_undone_by_the_next(cluster: Cluster, docker_api: Any) -> None:
    """As SIGKILL of the console leaves it: the old container set aside, a new one in its place that never started."""
    node = other(leader(cluster))
    name = cluster.container(node)
    old = cluster.app.engine.get(name)
    docker_api.stop(name)
    docker_api.rename(name, f"{name}.previous")
    labels = {"client-manager.role": "sync-node", "client-manager.cluster": cluster.name}
    for ending in ("", ".next"):
        docker_api.create_container("python:3.11-slim", ["true"], name=f"{name}{ending}", labels=labels)

    replace(cluster.app, spec_of(cluster), node, cluster.report)

    assert cluster.app.engine.get(name).id != old.id
    left = [row.name for row in cluster.app.engine.containers() if re.fullmatch(rf"{name}\.\w+", row.name)]
    assert left == []


def test_a_container_of_somebody_else_is_not_replaced(cluster: Cluster, docker_api: Any) -> None:
    node = other(leader(cluster))
    name = cluster.container(node)
    power.remove(cluster.app, node, cluster.report, cluster=cluster.name)
    foreign = docker_api.create_container("python:3.11-slim", ["true"], name=name)["Id"]
    try:
        with pytest.raises(Conflict, match="is no sync node"):
            replace(cluster.app, spec_of(cluster), node, cluster.report)
        assert cluster.app.engine.get(name).id == foreign
    finally:
        docker_api.remove_container(foreign)


def test_two_operators_do_not_work_on_a_cluster_at_once(cluster: Cluster) -> None:
    node = other(leader(cluster))
    with (
        power.cluster_lock(cluster.app, cluster.name, "deploy"),
        pytest.raises(Conflict, match="at work"),
    ):
        power.stop(cluster.app, node, cluster.report, cluster=cluster.name)


def test_the_only_cluster_of_a_machine_need_not_be_named(cluster: Cluster, tmp_path: Path) -> None:
    assert cluster_here(cluster.app).name == cluster.name
    with pytest.raises(NotFound, match="other is not deployed on this machine"):
        cluster_here(cluster.app, "other")
    with pytest.raises(NotFound, match="No sync cluster"):
        cluster_here(App(cluster.app.settings.model_copy(update={"data_root": tmp_path})))


def test_health_is_good_and_then_names_what_is_not(cluster: Cluster) -> None:
    until(lambda: all(status.opinion.healthy for status in list_nodes(cluster.app, cluster.name)))
    assert {finding.severity for finding in health.examine(cluster.app, cluster.name)} == {"ok"}
    first = leader(cluster)

    power.stop(cluster.app, other(first), cluster.report, cluster=cluster.name)
    found = health.examine(cluster.app, cluster.name)
    assert [finding.what for finding in found if finding.severity != "ok"] == [
        f"{other(first)} is stopped: nobody stands by."
    ]

    power.stop(cluster.app, first, cluster.report, cluster=cluster.name)
    worst, *_ = health.examine(cluster.app, cluster.name)
    assert worst.severity == "critical"
    assert worst.what.startswith("Nobody leads")
    with pytest.raises(NotFound, match="no cluster unheard-of"):
        health.examine(cluster.app, "unheard-of")
