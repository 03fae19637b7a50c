"""Conflicts, the strategies that decide them, and comparisons that are asked for: what the console reads and writes."""

import json
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from client_manager.gateways import queries
from client_manager.models.sync import Conflict

_SQL: Final = queries.load("conflicts")
_JOBS: Final = queries.load("jobs")
_VERIFY: Final = "verify"


class ConflictStore:
    """A method is one statement unless it says more; errors are the connection's (``Database.connect``)."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def find(self, log_id: UUID, *, lock: bool = False) -> Conflict | None:
        """Return a conflict; with ``lock`` it is held until the end of the transaction."""
        query = _SQL["lock_conflict" if lock else "find_conflict"]
        with self._connection.cursor(row_factory=class_row(Conflict)) as cursor:
            return cursor.execute(query, {"log_id": log_id}).fetchone()

    def column_order(self, client: str, table: str) -> tuple[str, ...]:
        """Return the columns of a replica's table; none where it is gone."""
        found = self._connection.execute(_SQL["list_column_order"], {"client": client, "table": table})
        return tuple(str(name) for (name,) in found)

    def decide_for_source(self, log_id: UUID, operator: str) -> None:
        """Order that the source's row is brought over."""
        self._connection.execute(_SQL["decide_source"], {"log_id": log_id, "operator": operator})

    def decide_for_target(self, log_id: UUID, operator: str) -> None:
        """Let the replica's row stand."""
        self._connection.execute(_SQL["decide_target"], {"log_id": log_id, "operator": operator})

    def strategies(self, client: str, *, lock: bool = False) -> tuple[dict[str, str], tuple[str, ...]] | None:
        """Return a client's strategies and the tables of its replica; None where it has no replica."""
        found = self._connection.execute(
            _SQL["lock_strategies" if lock else "find_strategies"], {"client": client}
        ).fetchone()
        return (dict(found[0]), tuple(found[1])) if found else None

    def set_strategies(self, client: str, strategies: Mapping[str, str]) -> None:
        """Write a client's strategies."""
        self._connection.execute(_SQL["set_strategies"], {"client": client, "strategies": json.dumps(dict(strategies))})

    def enqueue_verification(self, client: str, triggered_by: str) -> UUID | None:
        """Queue a comparison, and return it, or the one that waits already; None: the client is not registered."""
        kind = {"client": client, "sync_type": _VERIFY}
        asked = {**kind, "triggered_by": triggered_by, "metadata": "{}"}
        with self._connection.transaction():
            row = self._connection.execute(_JOBS["enqueue"], asked).fetchone()
            row = row or self._connection.execute(_JOBS["find_queued"], kind).fetchone()
        return row[0] if row else None

    def verification(self, job_id: UUID) -> dict[str, Any] | None:
        """Return what a comparison has found, by the names of the query."""
        cursor = self._connection.execute(_SQL["find_verification"], {"job_id": job_id})
        names = [column.name for column in cursor.description or ()]
        row = cursor.fetchone()
        return dict(zip(names, row, strict=True)) if row else None

    def transaction(self) -> Any:  # noqa: ANN401  psycopg's
        """Join the statements of the body."""
        return self._connection.transaction()
