"""The migrations of sync_metadata on real PostgreSQL: new, taken over, twice, and by several at once."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from client_manager.app import App
from client_manager.database.migrations import migrate, shipped, status
from client_manager.errors import ConfigurationError
from client_manager.gateways.database import Database
from client_manager.settings import Settings
from tests.integration.catalog import schema_text
from tests.postgres import fresh_database

DATA = Path(__file__).resolve().parents[1] / "data"
SNAPSHOT = DATA / "sync_metadata.snapshot.txt"
TABLES = (
    "hosts",
    "client_deployments",
    "leader_election",
    "conflict_log",
    "cache_events",
    "sync_jobs",
    "sync_progress",
)
ADDED = {
    *("hostname", "cluster_name", "term", "leader_name", "backend_pid", "wanted_name", "wanted_at"),
    *("queued_at", "node_name", "cancel_requested_at", "event_number"),
}
HOST = "00000000-0000-0000-0000-0000000000a1"
CLIENT = "00000000-0000-0000-0000-0000000000c1"


@pytest.fixture
def url(postgres: str) -> Iterator[str]:
    """The URL of a database with nothing in it."""
    with fresh_database(postgres, template="template1") as url:
        yield url


@pytest.fixture
def connection(url: str) -> Iterator[Any]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def predecessor(connection: Any) -> Any:
    """A connection to the predecessor's database, with rows in every table."""
    connection.execute((DATA / "predecessor.sql").read_text(encoding="utf-8"))
    return connection


def run(url: str) -> list[int]:
    return [migration.version for migration in migrate(Database(SecretStr(url)))]


def rows(connection: Any) -> dict[str, list[dict[str, Any]]]:
    """Every row by its table, as PostgreSQL's own JSON of values in their session-independent form."""
    connection.execute("SET timezone = 'UTC'")
    try:
        return {
            table: [
                row
                for (row,) in connection.execute(
                    sql.SQL("SELECT to_jsonb(t) FROM {} t ORDER BY 1").format(sql.Identifier("sync_metadata", table))
                ).fetchall()
            ]
            for table in TABLES
        }
    finally:
        connection.execute("RESET timezone")


def test_a_second_run_has_nothing_to_do(url: str) -> None:
    assert run(url) == list(shipped())
    assert run(url) == []


def test_the_migrations_add_up_to_the_snapshot(url: str, connection: Any) -> None:
    run(url)

    text = schema_text(connection)

    if os.environ.get("UPDATE_SNAPSHOT"):
        SNAPSHOT.write_text(text, encoding="utf-8")
    assert text.splitlines() == SNAPSHOT.read_text(encoding="utf-8").splitlines()


def test_a_predecessors_schema_becomes_the_same_as_a_new_one(url: str, predecessor: Any) -> None:
    run(url)

    assert schema_text(predecessor).splitlines() == SNAPSHOT.read_text(encoding="utf-8").splitlines()


def test_every_row_of_the_predecessor_is_kept_with_its_times_read_as_utc(url: str, predecessor: Any) -> None:
    before = rows(predecessor)
    assert all(before.values())

    run(url)

    after = rows(predecessor)
    for table in TABLES:
        assert len(after[table]) == len(before[table])
        for old, new in zip(before[table], after[table], strict=True):
            assert {name: _utc(value) for name, value in new.items() if name in old} == {
                name: _utc(value) for name, value in old.items()
            }
            assert {name for name in new if name not in old} <= ADDED


def _utc(value: Any) -> Any:
    """A time as a point in time; one without a zone is the predecessor's, in UTC."""
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return value
    return time.replace(tzinfo=time.tzinfo or UTC).astimezone(UTC)


def test_of_several_running_jobs_of_a_client_the_newest_stays(url: str, predecessor: Any) -> None:
    predecessor.execute(
        "INSERT INTO sync_metadata.sync_jobs (client_name, started_at) VALUES"
        " ('x', '2025-01-01'), ('x', '2025-01-02'), ('x', NULL), ('y', '2025-01-01')"
    )

    run(url)

    found = predecessor.execute(
        "SELECT client_name, started_at AT TIME ZONE 'UTC', status FROM sync_metadata.sync_jobs"
        " WHERE client_name IN ('x', 'y') ORDER BY client_name, started_at"
    ).fetchall()
    assert [(name, at and at.day, how) for name, at, how in found] == [
        ("x", 1, "failed"),
        ("x", 2, "running"),
        ("x", None, "failed"),
        ("y", 1, "running"),
    ]


def test_views_and_columns_that_an_operator_added_stay(url: str, predecessor: Any) -> None:
    predecessor.execute(
        "CREATE VIEW sync_metadata.v_sync_status AS SELECT client_name, last_sync_at, 'é' AS mark"
        " FROM sync_metadata.client_deployments"
    )
    predecessor.execute("CREATE VIEW sync_metadata.v_on_it AS SELECT client_name FROM sync_metadata.v_sync_status")
    predecessor.execute("ALTER TABLE sync_metadata.hosts ADD rack text")
    predecessor.execute("UPDATE sync_metadata.hosts SET rack = 'r1'")

    run(url)

    found = predecessor.execute(
        "SELECT last_sync_at, mark FROM sync_metadata.v_sync_status WHERE mark = 'é' AND client_name = 'acme-co'"
    ).fetchone()
    assert found == (datetime(2025, 10, 26, 1, 30, tzinfo=UTC), "é")
    assert predecessor.execute("SELECT count(*) FROM sync_metadata.v_on_it").fetchone() == (2,)
    assert predecessor.execute("SELECT DISTINCT rack FROM sync_metadata.hosts").fetchall() == [("r1",)]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("ALTER TABLE sync_metadata.hosts DROP COLUMN ip_address", "hosts.ip_address is missing, not inet"),
        (
            "ALTER TABLE sync_metadata.sync_jobs ALTER rows_synced DROP DEFAULT, ALTER rows_synced TYPE text",
            "sync_jobs.rows_synced is text, not integer",
        ),
        (
            "ALTER TABLE sync_metadata.hosts ALTER metadata DROP DEFAULT, ALTER metadata TYPE text",
            "hosts.metadata is text",
        ),
    ],
)
def test_another_schema_of_that_name_is_refused_as_a_whole(url: str, predecessor: Any, change: str, told: str) -> None:
    predecessor.execute(change)
    before = schema_text(predecessor)

    with pytest.raises(ConfigurationError) as caught:
        run(url)

    assert told in caught.value.why
    assert schema_text(predecessor) == before


def test_a_row_that_breaks_a_rule_ends_the_migration_and_changes_nothing(url: str, predecessor: Any) -> None:
    predecessor.execute("ALTER TABLE sync_metadata.hosts DROP CONSTRAINT hosts_status_check")
    predecessor.execute("UPDATE sync_metadata.hosts SET status = 'asleep'")
    before = schema_text(predecessor), rows(predecessor)

    with pytest.raises(Exception, match="refused a row") as caught:
        run(url)

    assert "hosts_status_check" in caught.value.why  # type: ignore[attr-defined]
    assert (schema_text(predecessor), rows(predecessor)) == before


def test_a_view_elsewhere_that_depends_on_a_time_is_named(url: str, predecessor: Any) -> None:
    predecessor.execute("CREATE VIEW public.mine AS SELECT last_heartbeat FROM sync_metadata.hosts")

    with pytest.raises(Exception, match="PostgreSQL at") as caught:
        run(url)

    assert "view" in caught.value.why  # type: ignore[attr-defined]
    assert predecessor.execute("SELECT pg_typeof(last_heartbeat)::text FROM sync_metadata.hosts").fetchone() == (
        "timestamp without time zone",
    )


def test_a_changed_migration_is_refused(url: str, connection: Any) -> None:
    run(url)
    connection.execute("UPDATE sync_metadata.schema_migrations SET checksum = 'x' WHERE version = 2")

    with pytest.raises(ConfigurationError, match="0002 make_times_aware is not the one that was applied"):
        run(url)
    with pytest.raises(ConfigurationError, match="0002"):
        status(App(Settings(database_url=SecretStr(url))))


def test_a_database_ahead_of_the_program_is_refused(url: str, connection: Any) -> None:
    run(url)
    connection.execute("INSERT INTO sync_metadata.schema_migrations VALUES (9000, 'from_the_future', 'x')")

    with pytest.raises(ConfigurationError, match="ahead of this program") as caught:
        run(url)

    assert "Update client-manager" in caught.value.hint


def test_status_says_what_is_applied(url: str) -> None:
    app = App(Settings(database_url=SecretStr(url)))

    assert [migration.version for migration in status(app).pending] == list(shipped())
    migrate(app.database)
    assert status(app).pending == ()


_MIGRATE = """
import sys
from pydantic import SecretStr
from client_manager.database.migrations import migrate
from client_manager.gateways.database import Database
print(flush=True)
sys.stdin.readline()
print(len(migrate(Database(SecretStr(sys.argv[1])))))
"""


def test_two_processes_at_once_apply_each_migration_once(url: str, connection: Any) -> None:
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", _MIGRATE, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for program in programs:  # imported and ready, so that they begin together
        assert program.stdout
        program.stdout.readline()
    for program in programs:
        assert program.stdin
        program.stdin.write("\n")
        program.stdin.flush()

    counts = [int(program.communicate(timeout=60)[0]) for program in programs]

    assert [program.returncode for program in programs] == [0] * 4
    assert sum(counts) == len(shipped())
    assert connection.execute("SELECT count(*) FROM sync_metadata.schema_migrations").fetchone() == (len(shipped()),)


def test_history_outlives_its_host_and_client_with_their_names(url: str, predecessor: Any) -> None:
    run(url)
    predecessor.execute("UPDATE sync_metadata.client_deployments SET host_id = %s", [HOST])

    predecessor.execute("DELETE FROM sync_metadata.hosts WHERE host_id = %s", [HOST])

    assert predecessor.execute("SELECT count(*) FROM sync_metadata.client_deployments").fetchone() == (0,)
    for table, key in (("sync_jobs", "deployment_id"), ("conflict_log", "deployment_id"), ("cache_events", "host_id")):
        found = predecessor.execute(
            sql.SQL("SELECT DISTINCT {}, hostname, cluster_name FROM {} WHERE hostname IS NOT NULL").format(
                sql.Identifier(key), sql.Identifier("sync_metadata", table)
            )
        ).fetchall()
        assert found == [(None, "node-a", "prod")]
    kept = predecessor.execute("SELECT client_name FROM sync_metadata.sync_jobs WHERE hostname IS NOT NULL ORDER BY 1")
    assert kept.fetchall() == [("acme-co",), ("beta",)]
    assert predecessor.execute("SELECT count(*) FROM sync_metadata.sync_progress").fetchone() == (2,)


def test_deleting_a_client_alone_keeps_the_names_too(url: str, predecessor: Any) -> None:
    run(url)

    predecessor.execute("DELETE FROM sync_metadata.client_deployments WHERE deployment_id = %s", [CLIENT])

    found = predecessor.execute(
        "SELECT deployment_id, hostname FROM sync_metadata.sync_jobs WHERE client_name = 'acme-co'"
    ).fetchall()
    assert found == [(None, "node-a")]


def test_one_client_has_one_running_job_and_any_number_of_queued_ones(url: str, connection: Any) -> None:
    run(url)
    insert = "INSERT INTO sync_metadata.sync_jobs (client_name, status) VALUES ('x', %s)"
    for state in ("queued", "queued", "running", "success"):
        connection.execute(insert, [state])

    with pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute(insert, ["running"])


@pytest.mark.parametrize(
    ("silence", "stored", "told"),
    [
        ("119 seconds", "offline", "active"),
        ("121 seconds", "active", "degraded"),
        ("299 seconds", "active", "degraded"),
        ("301 seconds", "active", "offline"),
        (None, "active", "offline"),
        ("1 second", "maintenance", "maintenance"),
    ],
)
def test_a_host_is_what_its_heartbeat_says(
    url: str, connection: Any, silence: str | None, stored: str, told: str
) -> None:
    run(url)
    connection.execute(
        "INSERT INTO sync_metadata.hosts (hostname, cluster_name, status, last_heartbeat)"
        " VALUES ('h', 'c', %s, now() - %s::interval)",
        [stored, silence],
    )

    assert connection.execute("SELECT host_status FROM sync_metadata.v_cluster_health").fetchone() == (told,)


@pytest.mark.parametrize(("lease", "leaders"), [("1 minute", ["node-b"]), ("-1 second", [])])
def test_the_leader_is_the_one_host_that_holds_the_lease(
    url: str, predecessor: Any, lease: str, leaders: list[str]
) -> None:
    run(url)
    predecessor.execute(
        "UPDATE sync_metadata.leader_election SET leader_host_id = '00000000-0000-0000-0000-0000000000a2',"
        " acquired_at = now() - interval '1 hour', expires_at = now() + %s::interval",
        [lease],
    )

    found = predecessor.execute("SELECT hostname FROM sync_metadata.v_cluster_health WHERE leader_status = 'leader'")

    assert [name for (name,) in found.fetchall()] == leaders
