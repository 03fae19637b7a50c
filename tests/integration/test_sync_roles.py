"""The roles of the sync system, made by a superuser, a maker of roles and a grantee, on an old and a new server."""

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from client_manager.database.migrations import migrate
from client_manager.errors import Conflict, Unavailable
from client_manager.gateways import database_url as urls
from client_manager.gateways import embedded_postgres, sync_roles
from client_manager.gateways.database import Database
from client_manager.gateways.sync_roles import lets_in, new_password, node_role, owner_role
from tests.integration.test_database_embedded import _stop


class Place(NamedTuple):
    """A database, as the console reaches it, and as its superuser does."""

    database: Database
    superuser: str
    mark: str


@pytest.fixture(scope="module")
def servers(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Server of a version -> its superuser's URL; the new one is the embedded."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        folder = Path(name) / "pg"

        def of(version: str) -> str:
            if version == "15":
                return str(request.getfixturevalue("postgres"))
            return embedded_postgres.start(folder).get_secret_value()

        yield of
        _stop(folder)


@pytest.fixture(params=["15 superuser", "15 role maker", "18 superuser", "18 role maker", "18 grantee"])
def place(request: pytest.FixtureRequest, servers: Any) -> Iterator[Place]:
    version, kind = request.param.split(" ", 1)
    url, mark = servers(version), secrets.token_hex(4)
    with _database(url, kind, mark) as (console, superuser):
        database = Database(SecretStr(console))
        migrate(database)
        yield Place(database, superuser, mark)


@contextmanager
def _database(url: str, kind: str, mark: str) -> Iterator[tuple[str, str]]:
    """A database of its own, and all roles that carry the mark gone at the end."""
    name, user = sql.Identifier(f"t_{mark}"), sql.Identifier(f"console_{mark}")
    with psycopg.connect(url, autocommit=True) as admin:
        # What Supabase's own 'postgres' is: everything but a superuser.
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEROLE CREATEDB PASSWORD 'console'").format(user))
        admin.execute(sql.SQL("CREATE DATABASE {}").format(name))
        if kind == "grantee":
            admin.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO {} WITH GRANT OPTION").format(name, user))
        else:
            admin.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(name, user))
    superuser = _to_database(url, f"t_{mark}")
    console = urls.for_user(SecretStr(superuser), f"console_{mark}", SecretStr("console")).get_secret_value()
    try:
        yield (superuser if kind == "superuser" else console), superuser
    finally:
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
            for (role,) in admin.execute(
                "SELECT rolname FROM pg_roles WHERE rolname LIKE %s", [f"%{mark}%"]
            ).fetchall():
                admin.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
                admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def _to_database(url: str, name: str) -> str:
    start, mark, options = url.partition("?")
    return f"{start.rpartition('/')[0]}/{name}{mark}{options}"


def _node(place: Place, cluster: str, password: SecretStr) -> Database:
    return Database(place.database.for_user(node_role(cluster), password))


def _deployed(place: Place, cluster: str) -> tuple[SecretStr, Database]:
    password = new_password()
    with sync_roles.of(place.database) as roles:
        roles.ensure_node(cluster, connections=30)
        roles.set_password(cluster, password)
    return password, _node(place, cluster, password)


def test_a_cluster_logs_in_with_the_least_rights(place: Place) -> None:
    _, node = _deployed(place, f"k-{place.mark}")

    with node.connect() as connection:
        attributes = connection.execute(
            "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolinherit, rolconnlimit"
            " FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        assert attributes == (False, False, False, False, False, True, 30)
        assert connection.execute("SELECT count(*) FROM sync_metadata.hosts").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM sync_metadata.hosts")


def test_another_password_is_not_let_in_and_the_server_tells_it_from_other_troubles(place: Place) -> None:
    cluster = f"k-{place.mark}"
    _, node = _deployed(place, cluster)

    assert lets_in(node)
    assert not lets_in(_node(place, cluster, new_password()))
    with psycopg.connect(place.superuser, autocommit=True) as admin:
        admin.execute(sql.SQL("ALTER ROLE {} CONNECTION LIMIT 0").format(sql.Identifier(node_role(cluster))))
    with pytest.raises(Unavailable, match="no connection left"):
        lets_in(node)


def test_one_cluster_again_leaves_the_password_of_another_and_its_own(place: Place) -> None:
    first, second = f"k-{place.mark}-1", f"k-{place.mark}-2"
    _, node = _deployed(place, first)
    _deployed(place, second)

    with sync_roles.of(place.database) as roles:
        assert not roles.ensure_node(first, connections=30)

    assert lets_in(node)


def test_no_password_is_in_a_statement(place: Place) -> None:
    cluster, password = f"k-{place.mark}", new_password()
    with place.database.connect() as connection, tempfile.TemporaryFile() as trace:
        connection.pgconn.trace(trace.fileno())
        roles = sync_roles.SyncRoles(connection)
        roles.ensure_node(cluster, connections=30)
        roles.set_password(cluster, password)
        connection.pgconn.untrace()
        trace.seek(0)
        sent = trace.read()

    assert b"SCRAM-SHA-256$" in sent
    assert password.get_secret_value().encode() not in sent
    assert lets_in(_node(place, cluster, password))


def test_a_client_is_its_clusters_alone_and_moves_with_its_replica(place: Place) -> None:
    first, second, client = f"k-{place.mark}-1", f"k-{place.mark}-2", f"c-{place.mark}"
    _, old = _deployed(place, first)
    _, new = _deployed(place, second)
    with place.database.connect() as connection:
        names = sql.Identifier(client), sql.Identifier(client, "chat"), sql.Identifier(client, "v")
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(names[0]))
        connection.execute(sql.SQL("CREATE TABLE {} (id serial PRIMARY KEY)").format(names[1]))
        connection.execute(sql.SQL("CREATE VIEW {} AS SELECT 1 AS x").format(names[2]))
    for cluster in (first, second, second):
        with sync_roles.of(place.database) as roles:
            roles.ensure_owner(client, cluster)

    with new.connect() as connection:
        with connection.transaction():
            connection.execute("SELECT set_config('role', %s, true)", [owner_role(client)])
            connection.execute(sql.SQL("ALTER TABLE {} ADD COLUMN y text").format(names[1]))
            connection.execute(sql.SQL("INSERT INTO {} (y) VALUES ('mine')").format(names[1]))
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(f"{client}__load")))
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(names[0]))
    with old.connect() as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(owner_role(client))))


def test_a_node_sees_its_own_clients_only(place: Place) -> None:
    cluster, mine, other = f"k-{place.mark}", f"c-{place.mark}-1", f"c-{place.mark}-2"
    _, node = _deployed(place, cluster)
    with sync_roles.of(place.database) as roles:
        roles.ensure_owner(mine, cluster)
    with place.database.connect() as connection:
        for client in (mine, other):
            connection.execute(
                "INSERT INTO sync_metadata.client_deployments (client_name, container_name) VALUES (%s, %s)",
                [client, client],
            )

    with node.connect() as connection:
        found = connection.execute("SELECT client_name FROM sync_metadata.client_deployments").fetchall()

    assert found == [(mine,)]


@pytest.mark.parametrize("place", ["15 superuser"], indirect=True)
@pytest.mark.parametrize("right", ["SUPERUSER", "BYPASSRLS", "CREATEROLE"])
def test_a_role_with_more_rights_is_not_taken(place: Place, right: str) -> None:
    cluster = f"k-{place.mark}"
    with psycopg.connect(place.superuser, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN " + right).format(sql.Identifier(node_role(cluster))))

    with sync_roles.of(place.database) as roles, pytest.raises(Conflict, match="rights that it must not have"):
        roles.ensure_node(cluster, connections=30)


def test_a_dropped_cluster_leaves_no_role(place: Place) -> None:
    cluster = f"k-{place.mark}"
    _, node = _deployed(place, cluster)

    with sync_roles.of(place.database) as roles:
        roles.drop_node(cluster)
        roles.drop_node(cluster)
        assert not roles.exists(node_role(cluster))

    assert not lets_in(node)
