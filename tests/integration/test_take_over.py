"""A machine takes the clients of a lost one: with them goes its record, or nothing changes."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg import sql

from client_manager.app import App
from client_manager.cluster.machine_checks import others, predecessors
from client_manager.errors import Conflict
from client_manager.models.cluster import ClusterSpec
from client_manager.workflows import deploy_cluster
from tests.integration.registered import Registered, app_on, connected


@pytest.fixture
def app(database_url: str, tmp_path: Path) -> App:
    return app_on(database_url, tmp_path)


@pytest.fixture
def cluster(database_url: str) -> Iterator[str]:
    """A cluster's name, and its nodes' role; both are the server's, not the database's."""
    mark = secrets.token_hex(4)
    with connected(database_url) as connection:
        connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(f"sync_node_prod-{mark}")))
        yield f"prod-{mark}"
        for role in (f"sync_owner_acme-{mark}", f"sync_node_prod-{mark}"):
            if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).fetchone():
                connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(role)))
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


@pytest.fixture
def world(database_url: str, cluster: str) -> Iterator[Registered]:
    """The lost machine, its client, and the new machine, whose nodes have the names."""
    with connected(database_url) as connection:
        world = Registered(connection)
        world.cluster(cluster, "lost", age_s=600)
        world.client(f"acme-{cluster.partition('-')[2]}", cluster, enabled=True)
        yield world


@pytest.fixture
def spec(world: Registered, cluster: str, tmp_path: Path) -> ClusterSpec:
    new = world.one(
        "INSERT INTO sync_metadata.hosts (hostname, cluster_name, metadata)"
        " VALUES ('new', %s, '{\"kind\": \"machine\"}') RETURNING host_id",
        [cluster],
    )
    world.connection.execute("UPDATE sync_metadata.sync_nodes SET host_id = %s", [new])
    return ClusterSpec(
        name=cluster, hostname="new", host_id=new, data_root=tmp_path, image="node:1", network="host", uid=0, gid=0,
        ports={"sync-node-a": 9443, "sync-node-b": 9444},
    )  # fmt: skip


def machines(world: Registered) -> dict[str, int]:
    return dict(
        world.connection.execute(
            "SELECT h.hostname, count(d.deployment_id) FROM sync_metadata.hosts h"
            " LEFT JOIN sync_metadata.client_deployments d USING (host_id) GROUP BY 1"
        ).fetchall()
    )


def take_over(app: App, spec: ClusterSpec, *, here: bool = False) -> None:
    with app.sync_store() as store:
        hosts = store.hosts(spec.name)
    deploy_cluster._take_over(app, spec, (*others(spec, hosts), *predecessors(hosts)), here=here)


def test_the_lost_machines_record_goes_and_the_new_nodes_stay(app: App, world: Registered, spec: ClusterSpec) -> None:
    take_over(app, spec)

    assert machines(world) == {"new": 1}
    assert world.count("sync_nodes") == 2


def test_a_lost_machine_without_clients_goes_too(app: App, world: Registered, spec: ClusterSpec) -> None:
    world.connection.execute("DELETE FROM sync_metadata.client_deployments")

    take_over(app, spec)

    assert machines(world) == {"new": 0}


def test_a_machine_that_has_come_back_keeps_its_clients(app: App, world: Registered, spec: ClusterSpec) -> None:
    world.connection.execute("UPDATE sync_metadata.hosts SET last_heartbeat = now() WHERE hostname = 'lost'")
    before = world.rows()

    with pytest.raises(Conflict, match="not lost"):
        take_over(app, spec)

    assert world.rows() == before


def add_predecessor(world: Registered, cluster: str) -> None:
    """One of its nodes, which beats."""
    world.connection.execute(
        "INSERT INTO sync_metadata.hosts (hostname, cluster_name, last_heartbeat) VALUES ('old-node-a', %s, now())",
        [cluster],
    )


def test_a_predecessor_elsewhere_that_has_come_back_stays(
    app: App, world: Registered, spec: ClusterSpec, cluster: str
) -> None:
    add_predecessor(world, cluster)
    before = world.rows()

    with pytest.raises(Conflict, match="not lost"):
        take_over(app, spec)

    assert world.rows() == before


def test_a_predecessor_here_goes_with_its_containers(
    app: App, world: Registered, spec: ClusterSpec, cluster: str
) -> None:
    add_predecessor(world, cluster)

    take_over(app, spec, here=True)

    assert machines(world) == {"new": 1}
