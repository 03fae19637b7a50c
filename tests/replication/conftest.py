"""A tenant's database, its replica, and the engine between them."""

import lzma
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from client_manager.gateways.database import Database
from client_manager.models.replication import RunResult, VerifyResult
from client_manager.replication import steps
from client_manager.replication.engine import Engine, Options
from tests.replication.oracle import assert_equal

REAL = Path(__file__).parents[2] / "src" / "client_manager" / "demo" / "webui-0.12.4.db.xz"


@dataclass
class Tenant:
    """One tenant: ``app`` is the application's own connection, in another library than the engine's."""

    path: Path
    state: Path
    url: str
    schema: str = "acme"
    options: Options = field(default_factory=Options)
    _app: sqlite3.Connection | None = None

    @property
    def app(self) -> sqlite3.Connection:
        if self._app is None:
            self._app = sqlite3.connect(self.path, isolation_level=None, timeout=10)
            self._app.execute("PRAGMA journal_mode = wal")
        return self._app

    def close_app(self) -> None:
        if self._app is not None:
            self._app.close()
            self._app = None

    def execute(self, *statements: str) -> None:
        for statement in statements:
            self.app.execute(statement)

    def engine(self) -> Engine:
        database = Database(SecretStr(self.url))
        return Engine(self.path, self.schema, database=database, state_dir=self.state, options=self.options)

    def run(self, **options: Any) -> RunResult:
        with self.engine() as engine:
            return engine.run(**options)

    def verify(self, **options: Any) -> VerifyResult:
        with self.engine() as engine:
            return engine.verify(**options)

    def synced(self, **options: Any) -> RunResult:
        """Run, and let the oracle judge."""
        result = self.run(**options)
        assert_equal(self.path, self.url, self.schema)
        return result

    def sql(self, statement: str, *parameters: object) -> list[Any]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def status(self) -> tuple[str, str | None]:
        query = "SELECT status, reason FROM sync_metadata.replication_state WHERE client_name = %s"
        [(status, reason)] = self.sql(query, self.schema)
        return status, reason


@pytest.fixture
def tenant(tmp_path: Path, database_url: str) -> Iterator[Tenant]:
    """A tenant whose database is empty yet."""
    found = Tenant(tmp_path / "webui.db", tmp_path / "state", database_url)
    yield found
    found.close_app()


@pytest.fixture
def real_tenant(tenant: Tenant) -> Tenant:
    """A tenant with a database that Open WebUI 0.12.4 wrote."""
    tenant.path.write_bytes(lzma.decompress(REAL.read_bytes()))
    return tenant


@pytest.fixture
def on_reach(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str], None]], None]:
    """Do something at the labelled steps of a run."""
    return lambda action: monkeypatch.setattr(steps, "on_reach", action)
