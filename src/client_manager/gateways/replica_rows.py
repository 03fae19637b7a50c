"""What stands in a client's replica, counted and read as any user of PostgreSQL would."""

from typing import Any, Final

import psycopg
from psycopg import sql

from client_manager.gateways import queries

_SQL: Final = queries.load("replica")


class ReplicaRows:
    """The replica of one client: the schema of its name, over one connection."""

    def __init__(self, connection: psycopg.Connection[Any], client: str) -> None:
        self._connection = connection
        self._client = client

    def tables(self) -> tuple[str, ...]:
        """Return its tables, by name; none where there is no replica."""
        rows = self._connection.execute(_SQL["list_tables"], {"client": self._client})
        return tuple(str(name) for (name,) in rows)

    def counts(self) -> dict[str, int]:
        """Return table -> how many rows it has."""
        count = sql.SQL("SELECT count(*) FROM {}")
        return {table: int(self._one(count.format(sql.Identifier(self._client, table)), [])) for table in self.tables()}

    def chat(self, chat: str) -> str | None:
        """Return the title of a chat, or None where it is not there, or nothing is there yet."""
        if "chat" not in self.tables():
            return None
        query = sql.SQL("SELECT max(title) FROM {} WHERE id = %s").format(sql.Identifier(self._client, "chat"))
        found = self._one(query, [chat])
        return None if found is None else str(found)

    def _one(self, query: sql.Composed, parameters: list[str]) -> Any:  # noqa: ANN401  a value of the row
        row: Any = self._connection.execute(query, parameters or None).fetchone()
        return row[0]
