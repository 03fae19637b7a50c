"""The gateway and the migrations through pgbouncer, of sessions and of transactions."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from client_manager.database.migrations import migrate, shipped
from client_manager.gateways.database import Database
from tests.conftest import OPEN_WEBUI
from tests.integration.pooler import running_pooler
from tests.postgres import fresh_database

pytestmark = pytest.mark.timeout(400)  # the first run installs pgbouncer


@pytest.fixture(params=["transaction", "session"])
def pooled(request: pytest.FixtureRequest, docker_api: Any, postgres: str) -> Iterator[str]:
    with (
        fresh_database(postgres, template="template1") as url,
        running_pooler(docker_api, OPEN_WEBUI, url, request.param) as through,
    ):
        yield through


def test_the_migrations_go_through_a_pooler_and_find_themselves_applied(pooled: str) -> None:
    database = Database(SecretStr(pooled))

    assert [migration.version for migration in migrate(database)] == list(shipped())
    assert migrate(database) == []


def test_a_statement_that_is_repeated_finds_no_prepared_one_missing(
    pooled: str, request: pytest.FixtureRequest
) -> None:
    """psycopg prepares at the sixth time; the next transaction's connection would not know the statement."""
    database = Database(SecretStr(pooled))
    seen = set()

    with database.connect() as first, database.connect() as second:
        with first.transaction(), second.transaction():  # two at once, so that there are two to be given
            first.execute("SELECT 1")
            second.execute("SELECT 1")
        for number in range(20):
            with first.transaction():
                row = first.execute("SELECT %s::int, pg_backend_pid()", [number]).fetchone()
                assert row
                assert row[0] == number
                seen.add(row[1])

    assert len(seen) == (2 if "transaction" in request.node.name else 1)


def test_what_is_set_for_a_transaction_ends_with_it(pooled: str) -> None:
    database = Database(SecretStr(pooled))

    with database.connect() as connection:
        with connection.transaction():
            connection.execute("SET LOCAL lock_timeout = '1234ms'")
            assert connection.execute("SHOW lock_timeout").fetchone() == ("1234ms",)
        found = {connection.execute("SHOW lock_timeout").fetchone() for _ in range(6)}

    assert found == {("0",)}


def test_the_pooler_of_these_tests_would_show_a_prepared_statement(docker_api: Any, postgres: str) -> None:
    """The guard on the guard: with psycopg's own default the same fails."""
    with (
        fresh_database(postgres, template="template1") as url,
        running_pooler(docker_api, OPEN_WEBUI, url, "transaction") as through,
        psycopg.connect(through, autocommit=True) as first,
        psycopg.connect(through, autocommit=True) as second,
        pytest.raises(psycopg.errors.DuplicatePreparedStatement),
    ):
        _repeat(first, second)


def _repeat(*connections: Any) -> None:
    for number in range(20):
        for connection in connections:
            connection.execute("SELECT %s::int", [number])
