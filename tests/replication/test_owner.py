"""A node logs in as its cluster's role: what it makes is the client's owner's, and other clients are out of its reach."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from client_manager.errors import Blocked, Unavailable
from client_manager.gateways.database import Database
from client_manager.gateways.sync_roles import SyncRoles, new_password
from client_manager.models.replication import RunResult
from client_manager.replication import steps
from client_manager.replication.engine import Engine, Options
from tests.replication.application import Application
from tests.replication.oracle import assert_equal
from tests.replication.proof.pair import TABLES


class House(NamedTuple):
    """A cluster, its client, another cluster's client; ``admin`` is the superuser's URL, ``node`` the cluster's."""

    cluster: str
    client: str
    other: str
    admin: str
    node: str
    source: Path
    state: Path

    @property
    def owner(self) -> str:
        return f"sync_owner_{self.client}"

    def engine(self, url: str | None = None, client: str | None = None) -> Engine:
        database = Database(SecretStr(url or self.node))
        options = Options(node_name="sync-node-a")
        return Engine(self.source, client or self.client, database=database, state_dir=self.state, options=options)

    def run(self, url: str | None = None, **arguments: Any) -> RunResult:
        with self.engine(url) as engine:
            return engine.run(**arguments)

    def synced(self, **arguments: Any) -> RunResult:
        result = self.run(**arguments)
        assert_equal(self.source, self.admin, self.client)
        return result

    def sql(self, statement: str, *parameters: object, url: str | None = None) -> list[tuple[object, ...]]:
        with psycopg.connect(url or self.admin, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    def owners(self) -> set[object]:
        """Who owns the schema and everything in it."""
        found = self.sql(
            "SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname LIKE %s UNION"
            " SELECT pg_get_userbyid(relowner) FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE nspname LIKE %s",
            f"{self.client}%",
            f"{self.client}%",
        )
        return {name for (name,) in found}


@pytest.fixture
def house(database_url: str, tmp_path: Path) -> Iterator[House]:
    mark = secrets.token_hex(4)
    cluster, client, other = f"k-{mark}", f"c-{mark}", f"d-{mark}"
    password = new_password()
    with psycopg.connect(database_url, autocommit=True) as connection:
        roles = SyncRoles(connection)
        for name in (cluster, f"x-{mark}"):
            roles.ensure_node(name, 10)
            connection.execute(
                "INSERT INTO sync_metadata.hosts (hostname, cluster_name) VALUES (%s, %s)", [f"host of {name}", name]
            )
        for name, of in ((client, cluster), (other, f"x-{mark}")):
            roles.ensure_owner(name, of)
            connection.execute(
                "INSERT INTO sync_metadata.client_deployments (client_name, container_name, host_id)"
                " SELECT %s, %s, host_id FROM sync_metadata.hosts WHERE cluster_name = %s",
                [name, f"openwebui-{name}", of],
            )
        roles.set_password(cluster, password)
        parts = urlsplit(database_url)
        node = urlunsplit(
            parts._replace(netloc=f"sync_node_{cluster}:{password.get_secret_value()}@{parts.hostname}:{parts.port}")
        )
        yield House(cluster, client, other, database_url, node, tmp_path / "webui.db", tmp_path / "state")
        for name in (client, other, f"{client}__load"):
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(name)))
        for role in (f"sync_owner_{client}", f"sync_owner_{other}", f"sync_node_{cluster}", f"sync_node_x-{mark}"):
            connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


@pytest.fixture
def app(house: House) -> Iterator[Application]:
    with Application(house.source, "journal_mode = wal") as app:
        app.script(TABLES)
        app.many("INSERT INTO chat (id, title) VALUES (?, ?)", [(f"c{n}", f"title {n}") for n in range(300)])
        app.run("INSERT INTO chat (id, chat) VALUES ('odd', 'this is no JSON')")
        yield app


def test_everything_that_a_node_makes_is_the_owners(house: House, app: Application) -> None:
    assert house.synced(term=1).level == "full"
    assert house.owners() == {house.owner}
    app.run("UPDATE chat SET title = 'new', chat = 'no JSON either' WHERE id = 'c7'")
    assert house.synced(term=1).level == "pages"
    app.script("CREATE TABLE note (id TEXT PRIMARY KEY, body TEXT); INSERT INTO note VALUES ('n', 'b');")
    app.script("ALTER TABLE chat ADD COLUMN pinned BOOLEAN; UPDATE chat SET pinned = 1 WHERE id = 'c9';")
    house.synced(term=1)
    app.script("DROP TABLE config")
    house.synced(term=1)
    assert house.owners() == {house.owner}
    (house.state / "shadow.db").unlink()
    app.run("DELETE FROM chat WHERE id = 'c8'")
    assert house.synced(term=1).level == "reconcile"
    assert house.synced(term=1, full=True).level == "full"
    assert house.owners() == {house.owner}
    assert house.sql("SELECT DISTINCT status FROM sync_metadata.sync_jobs WHERE client_name = %s", house.client) == [
        ("success",)
    ]


@pytest.mark.usefixtures("app")
def test_a_node_heals_what_others_did_to_its_replica(house: House) -> None:
    house.synced(term=1)
    house.sql(f"DELETE FROM \"{house.client}\".chat WHERE id = 'c1'")
    house.sql(f'DROP TABLE "{house.client}".tag')
    house.sql(f'CREATE TABLE "{house.client}".stranger (id int)')
    house.sql(f'ALTER TABLE "{house.client}".stranger OWNER TO "{house.owner}"')
    with house.engine() as engine:
        found = engine.verify(term=1)
    assert (found.equal, found.healed) == (False, 3)
    assert_equal(house.source, house.admin, house.client)
    assert house.owners() == {house.owner}
    assert house.sql("SELECT count(*) FROM sync_metadata.conflict_log WHERE client_name = %s", house.client) == [(3,)]


@pytest.mark.usefixtures("app")
def test_a_load_that_was_cut_off_goes_on_as_the_owner(house: House) -> None:
    reached: list[str] = []

    def cut_off(label: str) -> None:
        reached.append(label)
        if label == "load verified":
            raise KeyboardInterrupt

    steps.on_reach = cut_off
    try:
        with pytest.raises(KeyboardInterrupt):
            house.run(term=1)
    finally:
        steps.on_reach = None
    assert house.owners() == {house.owner}
    reached.clear()
    house.synced(term=1)
    assert house.owners() == {house.owner}


@pytest.mark.usefixtures("app")
def test_another_clusters_client_is_out_of_reach(house: House) -> None:
    house.synced(term=1)
    house.sql(f'CREATE SCHEMA "{house.other}" AUTHORIZATION "sync_owner_{house.other}"')
    house.sql(f'CREATE TABLE "{house.other}".chat (id text)')
    house.sql("INSERT INTO sync_metadata.replication_state (client_name) VALUES (%s)", house.other)
    house.sql("INSERT INTO sync_metadata.sync_jobs (client_name, status) VALUES (%s, 'queued')", house.other)
    for table in ("client_deployments", "replication_state", "sync_jobs", "quarantine", "conflict_log"):
        seen = house.sql(f"SELECT DISTINCT client_name FROM sync_metadata.{table}", url=house.node)
        assert (house.other,) not in seen, table
    assert house.sql("SELECT cluster_name FROM sync_metadata.hosts", url=house.node) == [(house.cluster,)]
    house.sql("UPDATE sync_metadata.sync_jobs SET status = 'cancelled'", url=house.node)
    house.sql("DELETE FROM sync_metadata.sync_jobs", url=house.node)
    assert house.sql("SELECT client_name, status FROM sync_metadata.sync_jobs") == [(house.other, "queued")]
    for statement in (
        f'SELECT FROM "{house.other}".chat',
        f'DROP SCHEMA "{house.other}" CASCADE',
        f'SET ROLE "sync_owner_{house.other}"',
        "CREATE TABLE public.mine (id int)",
        "DELETE FROM sync_metadata.hosts",
        "DELETE FROM sync_metadata.leader_election",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            house.sql(statement, url=house.node)
    with house.engine(client=house.other) as engine, pytest.raises(Unavailable):
        engine.run(term=1, full=True)
    assert house.sql(f'SELECT count(*) FROM "{house.other}".chat') == [(0,)]


def test_the_superusers_run_makes_the_owners_replica_too(house: House, app: Application) -> None:
    house.run(house.admin)
    assert house.owners() == {house.owner}
    app.run("UPDATE chat SET title = 'new' WHERE id = 'c7'")
    house.synced(term=1)


def test_a_replica_from_before_its_owner_is_refused_until_it_is_given_to_it(house: House, app: Application) -> None:
    house.run(house.admin)
    for schema in (house.client, f"{house.client}__load"):
        house.sql(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
        house.sql(f'ALTER SCHEMA "{schema}" OWNER TO postgres')
    house.sql(f'ALTER TABLE "{house.client}".chat OWNER TO postgres')
    app.run("UPDATE chat SET title = 'new' WHERE id = 'c7'")
    for url in (house.node, house.admin):
        with pytest.raises(Blocked, match="belongs to postgres") as refused:
            house.run(url)
        assert house.owner in refused.value.why
    with psycopg.connect(house.admin, autocommit=True) as connection:
        SyncRoles(connection).ensure_owner(house.client, house.cluster)
    house.synced(term=1)
    assert house.owners() == {house.owner}


@pytest.mark.usefixtures("app")
def test_a_role_of_another_database_of_the_server_owns_nothing_here(house: House) -> None:
    """Roles are the server's, what they are allowed is a database's."""
    house.sql(f'REVOKE ALL ON ALL TABLES IN SCHEMA sync_metadata FROM "{house.owner}"')
    house.run(house.admin)
    assert house.owners() == {"postgres"}
