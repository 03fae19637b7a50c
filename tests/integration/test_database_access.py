"""Who may see which row of sync_metadata is decided by who logged in."""

import secrets
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql


class Roles(NamedTuple):
    client: str
    other: str
    member: str  # logs in; a member of the client's owner, and of the node role of the cluster
    stranger: str  # logs in; a member of nothing
    cluster: str


@pytest.fixture
def roles(database_url: str) -> Iterator[Roles]:
    mark = secrets.token_hex(4)
    roles = Roles(f"c-{mark}", f"d-{mark}", f"member_{mark}", f"stranger_{mark}", f"k-{mark}")
    owners = [f"sync_owner_{roles.client}", f"sync_owner_{roles.other}", f"sync_node_{roles.cluster}"]
    with psycopg.connect(database_url, autocommit=True) as admin:
        for name in owners:
            admin.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(name)))
        for name in (roles.member, roles.stranger):
            admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(sql.Identifier(name)))
            admin.execute(sql.SQL("GRANT USAGE ON SCHEMA sync_metadata TO {}").format(sql.Identifier(name)))
            admin.execute(
                sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA sync_metadata TO {}").format(
                    sql.Identifier(name)
                )
            )
        for owner in (owners[0], owners[2]):
            admin.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(owner), sql.Identifier(roles.member)))
        for client in (roles.client, roles.other):
            admin.execute("INSERT INTO sync_metadata.replication_state (client_name) VALUES (%s)", [client])
            admin.execute("INSERT INTO sync_metadata.sync_jobs (client_name) VALUES (%s)", [client])
        admin.execute(
            "INSERT INTO sync_metadata.sync_progress (job_id, table_name)"
            " SELECT job_id, client_name FROM sync_metadata.sync_jobs"
        )
        for cluster in (roles.cluster, "another"):
            admin.execute("INSERT INTO sync_metadata.hosts (hostname, cluster_name) VALUES ('h', %s)", [cluster])
        yield roles
        admin.execute("DELETE FROM sync_metadata.sync_jobs")
        for name in (*owners, roles.member, roles.stranger):
            admin.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def select(column: str, table: str) -> sql.Composed:
    what = sql.SQL("*") if column == "*" else sql.Identifier(column)
    return sql.SQL("SELECT {} FROM {}").format(what, sql.Identifier("sync_metadata", table))


def as_user(url: str, name: str) -> Any:
    parts = urlsplit(url)
    return psycopg.connect(
        urlunsplit(parts._replace(netloc=f"{name}:x@{parts.hostname}:{parts.port}")), autocommit=True
    )


@pytest.mark.parametrize("table", ["replication_state", "sync_jobs", "v_active_sync_jobs"])
def test_a_member_of_the_owner_sees_its_client_only(database_url: str, roles: Roles, table: str) -> None:
    with as_user(database_url, roles.member) as connection:
        found = connection.execute(select("client_name", table)).fetchall()

    assert found == [(roles.client,)]


def test_the_progress_of_a_job_is_seen_with_its_job(database_url: str, roles: Roles) -> None:
    with as_user(database_url, roles.member) as connection:
        found = connection.execute("SELECT table_name FROM sync_metadata.sync_progress").fetchall()

    assert found == [(roles.client,)]


def test_a_node_sees_the_hosts_of_its_cluster_only(database_url: str, roles: Roles) -> None:
    with as_user(database_url, roles.member) as connection:
        found = connection.execute("SELECT cluster_name FROM sync_metadata.hosts").fetchall()

    assert found == [(roles.cluster,)]


def test_no_variable_opens_a_row(database_url: str, roles: Roles) -> None:
    with as_user(database_url, roles.stranger) as connection:
        for name in ("app.current_client_name", "app.current_cluster_name"):
            connection.execute("SELECT set_config(%s, %s, false)", [name, roles.client])
        found = [
            connection.execute(select("*", table)).fetchall()
            for table in ("replication_state", "sync_jobs", "sync_progress", "hosts", "v_active_sync_jobs")
        ]

    assert found == [[]] * 5


def test_a_row_cannot_be_given_to_another_client(database_url: str, roles: Roles) -> None:
    with as_user(database_url, roles.member) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("UPDATE sync_metadata.replication_state SET client_name = %s", [f"{roles.other}-2"])


def test_the_public_reads_nothing(database_url: str, roles: Roles) -> None:
    with psycopg.connect(database_url, autocommit=True) as admin:
        for what in ("ALL TABLES IN SCHEMA sync_metadata", "SCHEMA sync_metadata"):
            admin.execute(sql.SQL("REVOKE ALL ON {} FROM {}").format(sql.SQL(what), sql.Identifier(roles.stranger)))
    with as_user(database_url, roles.stranger) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("SELECT FROM sync_metadata.hosts")


def test_access_is_granted_to_the_owner_of_a_client_and_refused_where_there_is_none(
    database_url: str, roles: Roles
) -> None:
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(roles.client)))
        granted = admin.execute("SELECT sync_metadata.grant_client_access(%s)", [roles.client]).fetchone()
        with pytest.raises(psycopg.errors.UndefinedObject):
            admin.execute("SELECT sync_metadata.grant_client_access('nobody')")

    assert granted == (f"sync_owner_{roles.client}",)
