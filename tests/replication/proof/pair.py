"""A source, its replica, and the engine between them; the application is a process of its own."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg
from pydantic import SecretStr

from client_manager.gateways.database import Database
from client_manager.models.replication import RunResult, VerifyResult
from client_manager.replication import steps
from client_manager.replication.engine import Engine, Options
from tests.replication.application import Application
from tests.replication.oracle import assert_equal, differences

TABLES = """
CREATE TABLE user (id VARCHAR(255) PRIMARY KEY, name VARCHAR(255) NOT NULL, last_active_at BIGINT);
CREATE TABLE chat (id VARCHAR(255) NOT NULL, user_id VARCHAR(255), title TEXT, chat JSON, archived BOOLEAN,
                   updated_at BIGINT, PRIMARY KEY (id));
CREATE TABLE tag (id VARCHAR(255), name VARCHAR(255) UNIQUE, user_id VARCHAR(255), meta JSON, PRIMARY KEY (id, user_id));
CREATE TABLE config (key TEXT PRIMARY KEY, value JSON, updated_at BIGINT);
"""


@dataclass
class Pair:
    """One client: what it has and what of it has arrived."""

    source: Path
    state: Path
    url: str
    schema: str = "acme"
    options: Options = field(default_factory=Options)
    _open: ExitStack = field(default_factory=ExitStack)

    def close(self) -> None:
        self._open.close()

    def application(self, script: str = "", *pragmas: str) -> Application:
        """Start the application on the source; it ends with the test."""
        found = self._open.enter_context(Application(self.source, *pragmas))
        found.script(script)
        return found

    def with_options(self, **changes: Any) -> "Pair":
        """Another look at the same client, on the same folder of state unless told otherwise."""
        return replace(self, **changes)

    def engine(self) -> Engine:
        database = Database(SecretStr(self.url))
        return Engine(self.source, self.schema, database=database, state_dir=self.state, options=self.options)

    def sync(self, **arguments: Any) -> RunResult:
        """Run once, without asking whether the result is right."""
        with self.engine() as engine:
            return engine.run(**arguments)

    def verify(self, **arguments: Any) -> VerifyResult:
        with self.engine() as engine:
            return engine.verify(**arguments)

    def synced(self, **arguments: Any) -> RunResult:
        """Run once, and let the oracle judge."""
        result = self.sync(**arguments)
        self.assert_equal()
        return result

    def assert_equal(self) -> None:
        assert_equal(self.source, self.url, self.schema)

    def differences(self) -> list[str]:
        return differences(self.source, self.url, self.schema)

    def sql(self, statement: str, *parameters: object) -> list[Any]:
        """Ask PostgreSQL, as anybody else would; ``{}`` is the replica's schema."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.replace("{}", f'"{self.schema}"').encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    def status(self) -> str:
        [(found,)] = self.sql("SELECT status FROM sync_metadata.replication_state WHERE client_name = %s", self.schema)
        return str(found)

    def generation(self) -> int:
        [(found,)] = self.sql(
            "SELECT generation FROM sync_metadata.replication_state WHERE client_name = %s", self.schema
        )
        return int(found)

    def quarantine(self) -> list[tuple[str, str, str | None, str, bytes, str]]:
        """Return table, key, column, storage class, bytes and kind of every original that is kept."""
        return self.sql(
            "SELECT table_name, row_key, column_name, sqlite_type, raw, kind FROM sync_metadata.quarantine"
            " WHERE client_name = %s ORDER BY table_name, row_key, column_name",
            self.schema,
        )

    def conflicts(self) -> list[Any]:
        return self.sql(
            "SELECT table_name, record_id, conflict_type, source_data, target_data, resolution_strategy, resolved_at"
            " FROM sync_metadata.conflict_log WHERE client_name = %s ORDER BY detected_at, record_id",
            self.schema,
        )


def written(result: RunResult) -> tuple[int, int, int]:
    """Return how many rows were inserted, updated and deleted."""
    return result.inserted, result.updated, result.deleted


@contextmanager
def at_step(label: str, action: Callable[[], object], nth: int = 1) -> Iterator[list[str]]:
    """Do something when a run reaches a step for the nth time; yields the steps that it has reached."""
    reached: list[str] = []
    turn = threading.Lock()

    def reach(step: str) -> None:
        with turn:
            reached.append(step)
            due = step == label and reached.count(label) == nth
        if due:
            action()

    steps.on_reach = reach
    try:
        yield reached
    finally:
        steps.on_reach = None
