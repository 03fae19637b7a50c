"""The originals of what does not fit into a table's replica: kept in ``quarantine`` in the transaction of the rows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from client_manager.replication.digest import local_digest
from client_manager.replication.replica import SQL
from client_manager.replication.tables import Table
from client_manager.replication.values import (
    Kept,
    Row,
    Stored,
    Value,
    convert,
    raw_bytes,
    row_key,
    sqlite_type,
    whole_row,
)


@dataclass
class Keeper:
    """Keeps originals of one table.

    Attributes:
        kept_any: whether it has kept anything.
    """

    connection: psycopg.Connection[Any]
    client: str
    table: Table
    generation: int
    kept_any: bool = False

    def row_key(self, row: Row, stored: Sequence[Stored]) -> str:
        """Return what a row is found by in ``quarantine``: its key, or the digest of what stands in the replica."""
        key = tuple(row[place] for place in self.table.key_places)
        return row_key(key or (local_digest(self.table.columns, stored),))

    def keep_value(self, key: str, place: int, value: Value, kept: Kept) -> None:
        """Keep one value of a row."""
        self._keep(key, self.table.columns[place].name, sqlite_type(value), raw_bytes(value), kept)

    def keep_row(self, row: Row, reason: str) -> None:
        """Keep a row that has no place in the replica."""
        stored = [convert(c.kind, v)[0] for c, v in zip(self.table.columns, row, strict=True)]
        whole = whole_row(self.table.columns, row)
        self._keep(self.row_key(row, stored), None, "row", whole, Kept("quarantined", reason))

    def drop_row(self, key: str) -> None:
        """Drop what is kept of a row."""
        self.connection.execute(SQL["drop_kept_row"], {**self._of_table(), "row_key": key})

    def drop_columns(self, rows: Iterable[tuple[str, Sequence[int] | None]]) -> None:
        """Drop what is kept of some columns of rows; of all columns where None."""
        columns = [column.name for column in self.table.columns]
        dropped = [
            {
                **self._of_table(),
                "row_key": key,
                "columns": columns if places is None else [columns[place] for place in places],
            }
            for key, places in rows
        ]
        with self.connection.cursor() as cursor:
            cursor.executemany(SQL["drop_kept_columns"], dropped)

    def drop_reason(self, reason: str) -> None:
        """Drop what is kept for one reason."""
        self.connection.execute(SQL["drop_kept_reason"], {**self._of_table(), "reason": reason})

    def drop_table(self) -> None:
        """Drop all that is kept."""
        self.connection.execute(SQL["drop_kept_table"], self._of_table())

    def _of_table(self) -> dict[str, str]:
        return {"client": self.client, "table": self.table.name}

    def _keep(self, key: str, column: str | None, kind: str, raw: bytes, kept: Kept) -> None:
        self.kept_any = True
        self.connection.execute(
            SQL["keep"],
            {
                **self._of_table(),
                "row_key": key,
                "column": column,
                "sqlite_type": kind,
                "raw": raw,
                "kind": kept.kind,
                "reason": kept.reason,
                "generation": self.generation,
            },
        )
