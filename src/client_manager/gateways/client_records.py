"""All that PostgreSQL holds of one client, and the end of it; in the caller's transaction."""

from typing import Any, Final, NamedTuple
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from client_manager.gateways import queries
from client_manager.gateways.sync_roles import owner_role
from client_manager.models.client_deregistration import ClientTraces

_SQL: Final = queries.load("client_deregistration")
_LOCK_TIMEOUT: Final = "30s"


class UnfinishedJob(NamedTuple):
    """A job that is not over."""

    job_id: UUID
    status: str
    node_name: str | None


class ClientRecords:
    """The rows, the schemas and the role of one client, over one connection."""

    def __init__(self, connection: psycopg.Connection[Any], client: str) -> None:
        self._connection = connection
        self._names = {"client": client, "load": f"{client}__load", "owner": owner_role(client)}

    def begin(self) -> None:
        """Set what holds for the transaction: what cannot be seen is an error, and no lock is waited for for long."""
        self._connection.execute(_SQL["set_transaction"], {"lock_timeout": _LOCK_TIMEOUT})

    def traces(self) -> ClientTraces:
        """Return what there is of the client."""
        with self._connection.cursor(row_factory=class_row(ClientTraces)) as cursor:
            [found] = cursor.execute(_SQL["find_traces"], self._names).fetchall()
        return found

    def lock(self) -> tuple[bool, tuple[UnfinishedJob, ...]]:
        """Hold the client's rows; return whether it is registered, and its jobs that are not over."""
        self._execute("lock_state")  # first, as a run does, which then refers to the client's row with its job
        row = self._execute("lock_client").fetchone()
        return row is not None, tuple(UnfinishedJob(*job) for job in self._execute("lock_jobs"))

    def delete(self) -> bool:
        """Cancel what waits and delete the record; False where it is not there, or its sync is enabled."""
        self._execute("cancel_queued")
        return self._execute("delete_client").fetchone() is not None

    def drop_data(self) -> None:
        """Drop the replica, what a load has left, what was kept of values, and what conflicts show of rows."""
        for schema in (self._names["load"], self._names["client"]):
            self._connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))
        for query in ("delete_originals", "delete_state", "blank_conflicts"):
            self._execute(query)

    def owned(self) -> tuple[str, ...]:
        """Return what the owner of the replica owns."""
        found = self._connection.execute(_SQL["list_owned"], {"role": self._names["owner"]})
        return tuple(str(what) for (what,) in found)

    def left(self) -> tuple[int, ...]:
        """Return how many are left: records, states, originals, schemas, roles."""
        return tuple(self._execute("count_left").fetchone() or ())

    def _execute(self, query: str) -> psycopg.Cursor[Any]:
        return self._connection.execute(_SQL[query], self._names)
