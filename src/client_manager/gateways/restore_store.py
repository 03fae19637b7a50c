"""The rows of a bundle on their way back into ``sync_metadata``, in one transaction."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple
from uuid import UUID

import psycopg

from client_manager.errors import Blocked, ConfigurationError
from client_manager.gateways import queries

_SQL: Final = queries.load("bundle")
_GUARD: Final = queries.load("deregistration")
_AT_ONCE: Final = 1000
_LIMITS: Final = {"lock_timeout": "10s", "statement_timeout": "300s", "idle_timeout": "300s"}


class HostRow(NamedTuple):
    """A machine that is there now."""

    host_id: UUID
    hostname: str
    cluster_name: str


class ClientRow(NamedTuple):
    """A client that is registered now; ``cluster_name`` is None where it has no host."""

    deployment_id: UUID
    client_name: str
    container_name: str
    cluster_name: str | None


class RestoreStore:
    """The tables that a bundle is put back into, over one connection; rows are JSON texts."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    @contextmanager
    def attempt(self, *, keep: bool, schema_version: int) -> Iterator[None]:
        """Hold a transaction; without ``keep`` everything is done, and then taken back.

        Raises:
            Blocked: this user may not see every row, so that a clash could be missed.
            ConfigurationError: the rows come from a later schema than the database has.
        """
        with self._connection.transaction(force_rollback=not keep):
            self._connection.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE")
            self._rows(_GUARD["set_transaction"], _LIMITS)
            hidden = [name for (name,) in self._rows(_GUARD["list_hidden"], {})]
            if hidden:
                raise Blocked(
                    "The bundle is not restored.",
                    why=f"This database user may not see every row of {', '.join(hidden)}.",
                    hint="Use the URL of the schema's owner: client-manager database use URL.",
                )
            ((version,),) = self._rows(_GUARD["find_schema_version"], {})
            if version < schema_version:
                raise ConfigurationError(
                    "The bundle comes from a later schema than this database's.",
                    why=f"Its last migration is {schema_version}, the database's {version}.",
                    hint="Run 'client-manager database migrate'.",
                )
            yield

    def hosts(self, host_id: UUID, hostname: str, cluster: str) -> tuple[HostRow, ...]:
        """Return the machines of this id, or of this name in this cluster; that of the id first."""
        parameters = {"host_id": host_id, "hostname": hostname, "cluster": cluster}
        return tuple(HostRow(*row) for row in self._rows(_SQL["find_host"], parameters))

    def clients(self, deployment_id: UUID, client: str, container: str) -> tuple[ClientRow, ...]:
        """Return the clients of this id, name or container; that of the id first."""
        parameters = {"deployment_id": deployment_id, "client": client, "container": container}
        return tuple(ClientRow(*row) for row in self._rows(_SQL["find_client"], parameters))

    def restore_host(self, row: str) -> None:
        """Write a machine's row."""
        self._connection.execute(_SQL["restore_host"], {"row": row})

    def restore_client(self, row: str, host_id: UUID) -> None:
        """Write a client's row, on this machine."""
        self._connection.execute(_SQL["restore_client"], {"row": row, "host_id": host_id})

    def restore(self, table: str, rows: Sequence[str], hosts: Mapping[str, str]) -> int:
        """Write what is gone of a table's rows, and return how much that was.

        Args:
            table: one of those that have a query.
            rows: whatever of them is there already stays as it is.
            hosts: old id -> new id of machines that are there under another.
        """
        return self._in_parts(f"restore_{table}", rows, {"hosts": json.dumps(hosts)})

    def link(self, table: str, rows: Sequence[str]) -> int:
        """Give history back to its clients, where it outlived them; return how many rows that were."""
        return self._in_parts(f"link_{table}", rows, {})

    def _in_parts(self, query: str, rows: Sequence[str], parameters: dict[str, str]) -> int:
        parts = (rows[start : start + _AT_ONCE] for start in range(0, len(rows), _AT_ONCE))
        return sum(
            self._connection.execute(_SQL[query], {**parameters, "rows": f"[{','.join(part)}]"}).rowcount
            for part in parts
        )

    def _rows(self, query: Any, parameters: Mapping[str, object]) -> list[Any]:  # noqa: ANN401
        return self._connection.execute(query, parameters or None).fetchall()
