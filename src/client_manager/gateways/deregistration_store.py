"""What the guard is told of a cluster, and the one transaction that deletes it. What cannot be seen is never a zero."""

from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any, Final, LiteralString, TypeVar
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from client_manager import guard
from client_manager.errors import Blocked, ConfigurationError, NotFound
from client_manager.gateways import queries
from client_manager.models.base import Model
from client_manager.models.deregistration import (
    Circumstances,
    ClientSeen,
    ClusterSnapshot,
    Confirmation,
    DeregistrationDecision,
    HostSeen,
    JobSeen,
    LeaseSeen,
    NodeSeen,
)

_SQL: Final = queries.load("deregistration")
_BUNDLE: Final = queries.load("bundle")
_TABLES: Final = (
    *("hosts", "sync_nodes", "leader_election", "client_deployments", "replication_state"),
    *("sync_jobs", "sync_progress", "conflict_log", "cache_events"),
)
# The schema that these queries were written for: history outlives its client, nodes have rows of their own.
_NEEDED_SCHEMA: Final = 7
_ONE_MOMENT: Final[LiteralString] = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
# A row that was waited for must be seen as it is then, which a snapshot from before does not show.
_AS_LOCKED: Final[LiteralString] = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE"
M = TypeVar("M", bound=Model)


class DeregistrationStore:
    """A cluster's rows over one connection; a method is one transaction.

    Every method raises ``ConfigurationError`` where the schema is not the one that it was written for, and where the
    server refuses or does not answer what ``database.mapped_errors`` says.
    """

    def __init__(
        self, connection: psycopg.Connection[Any], *, lock_timeout_s: float = 10, statement_timeout_s: float = 60
    ) -> None:
        self._connection = connection
        self._limits = {
            "lock_timeout": f"{round(lock_timeout_s * 1000)}ms",
            "statement_timeout": f"{round(statement_timeout_s * 1000)}ms",
            "idle_timeout": f"{round(statement_timeout_s * 1000)}ms",
        }

    def look(self, cluster: str, circumstances: Circumstances) -> ClusterSnapshot:
        """Return what the guard is to decide on, all of one moment.

        Raises:
            NotFound: nobody has ever heard of the cluster; suggests the nearest name.
        """
        with self._transaction(_ONE_MOMENT) as hidden:
            if hidden:
                return _unseen(cluster, circumstances, hidden)
            self._require_known(cluster)
            return self._snapshot(cluster, circumstances)

    def read(
        self, cluster: str, circumstances: Circumstances
    ) -> tuple[ClusterSnapshot, int, dict[str, tuple[str, ...]]]:
        """Return the same, the schema's version, and every row of the cluster by its table, all of the same moment.

        Raises:
            NotFound: as ``look``.
            Blocked: not every row may be seen.
        """
        with self._transaction(_ONE_MOMENT) as hidden:
            _require_seen(cluster, hidden)
            self._require_known(cluster)
            snapshot = self._snapshot(cluster, circumstances)
            of_cluster = {"cluster": cluster}
            rows = {
                table: tuple(str(row) for (row,) in self._execute(_BUNDLE[f"export_{table}"], of_cluster))
                for table in _TABLES
            }
            return snapshot, self._version(), rows

    def delete(self, confirmed: Confirmation, circumstances: Circumstances) -> DeregistrationDecision:
        """Delete the cluster, if it may go as it is under the locks and is what the operator confirmed.

        Returns:
            What was decided under the locks: what it says that goes, is gone.

        Raises:
            Blocked: it may not go, or has changed since it was looked at; nothing was deleted.
            NotFound: it is gone already.
        """
        cluster = confirmed.cluster
        with self._transaction(_AS_LOCKED) as hidden:
            _require_seen(cluster, hidden)
            self._require_known(cluster)
            locked = {row[0] for row in self._execute(_SQL["lock_clients"], {"cluster": cluster})}
            for query in ("lock_hosts", "lock_nodes", "lock_lease"):
                self._execute(_SQL[query], {"cluster": cluster})
            snapshot = self._snapshot(cluster, circumstances)
            decision = guard.decide(snapshot)
            _require_unchanged(decision, confirmed, same=locked == {row.deployment_id for row in snapshot.clients})
            self._delete(snapshot, decision)
        return decision

    def is_gone(self, snapshot: ClusterSnapshot) -> bool:
        """Say whether the very rows of an earlier snapshot are gone, once nobody works on them any more.

        Waits for a deletion whose end is not known yet: its locks outlive the connection to it.

        Raises:
            Conflict: somebody still holds the rows; the answer is not known.
        """
        ids = _ids(snapshot)
        with self._transaction(_AS_LOCKED) as hidden:
            _require_seen(snapshot.cluster, hidden)
            self._execute(_SQL["await_hosts"], {"hosts": ids["hosts"]})
            for query in ("lock_nodes", "lock_lease"):
                self._execute(_SQL[query], {"cluster": snapshot.cluster})
            return not any(self._left(None if ids["hosts"] else snapshot.cluster, ids).values())

    @contextmanager
    def changing(self, cluster: str) -> Iterator[None]:
        """Hold a transaction for what is changed of one client of the cluster.

        Raises:
            Blocked: this user may not see every row.
        """
        with self._transaction(_AS_LOCKED) as hidden:
            _require_seen(cluster, hidden)
            yield

    def move_client(self, client: str, cluster: str, to_host: UUID) -> bool:
        """Move a client's record from the cluster to another machine, and refuse that cluster's writes from then on.

        Returns False where the client is not in the cluster any more.
        """
        parameters = {"client": client, "cluster": cluster, "to_host": to_host}
        if not self._execute(_SQL["move_client"], parameters):
            return False
        self._count("fence_off", parameters)
        return True

    def delete_client(self, client: str) -> bool:
        """Delete one client's record; False where it is not registered, or its sync is enabled."""
        return bool(self._execute(_SQL["delete_client"], {"client": client}))

    def _snapshot(self, cluster: str, circumstances: Circumstances) -> ClusterSnapshot:
        of_cluster = {"cluster": cluster}
        ((goes, stays),) = self._execute(_SQL["count_rows"], of_cluster)
        return ClusterSnapshot(
            cluster=cluster,
            circumstances=circumstances,
            cascading=self._names("list_cascading"),
            hosts=self._all(HostSeen, "list_hosts", of_cluster),
            nodes=self._all(NodeSeen, "list_nodes", of_cluster),
            leases=self._all(LeaseSeen, "list_leases", of_cluster),
            clients=self._all(ClientSeen, "list_clients", of_cluster),
            jobs=self._all(JobSeen, "list_jobs", of_cluster),
            homeless=self._names("list_homeless"),
            goes=goes,
            stays=stays,
        )

    def _delete(self, snapshot: ClusterSnapshot, decision: DeregistrationDecision) -> None:
        cluster, ids = {"cluster": snapshot.cluster}, _ids(snapshot)
        over = [job.job_id for job in snapshot.jobs if job.status == "queued" or job.job_id in decision.orphans]
        self._count("end_jobs", {**cluster, "jobs": over})
        deleted = {
            "client_deployments": self._count("delete_clients", ids),
            "sync_nodes": self._count("delete_nodes", cluster),
            "leader_election": self._count("delete_lease", cluster),
        }
        self._count("delete_events", ids)
        deleted["hosts"] = self._count("delete_hosts", ids)
        expected = {table: decision.goes[table] for table in deleted}
        left = {table: rows for table, rows in self._left(snapshot.cluster, ids).items() if rows}
        if deleted != expected or left:
            raise Blocked(
                f"{snapshot.cluster} was not deregistered; nothing was deleted.",
                why=f"Deleted would be {_counted(deleted)}, decided was {_counted(expected)}, left {_counted(left)}.",
                hint="Somebody else is changing the same rows. Look again, then repeat this.",
            )

    def _left(self, cluster: str | None, ids: dict[str, list[UUID]]) -> dict[str, int]:
        ((hosts, nodes, lease, clients, events),) = self._execute(_SQL["count_left"], {"cluster": cluster, **ids})
        return {
            "hosts": hosts,
            "sync_nodes": nodes,
            "leader_election": lease,
            "client_deployments": clients,
            "cache_events": events,
        }

    @contextmanager
    def _transaction(self, isolation: LiteralString) -> Iterator[tuple[str, ...]]:
        """Open one, and yield the tables of which this user may not see every row: nothing of them may be read."""
        with self._connection.transaction():
            self._connection.execute(isolation)
            self._execute(_SQL["set_transaction"], self._limits)
            hidden = self._names("list_hidden")
            if not hidden and (version := self._version()) < _NEEDED_SCHEMA:
                raise ConfigurationError(
                    "The schema sync_metadata is not up to this program.",
                    why=f"Its last migration is {version}; before {_NEEDED_SCHEMA}, history goes with its client.",
                    hint="Run 'client-manager database migrate'.",
                )
            yield hidden

    def _version(self) -> int:
        ((version,),) = self._execute(_SQL["find_schema_version"], {})
        return int(version)

    def _require_known(self, cluster: str) -> None:
        names = self._names("list_names")
        if cluster not in names:
            near = get_close_matches(cluster, names, n=1)
            raise NotFound(
                f"There is no cluster {cluster}.",
                why="No host, node or lease of that name is registered.",
                hint=f"Did you mean {near[0]}?" if near else "'client-manager cluster list' shows the names.",
            )

    def _names(self, query: str) -> tuple[str, ...]:
        return tuple(str(name) for (name,) in self._execute(_SQL[query], {}))

    def _all(self, kind: type[M], query: str, parameters: dict[str, str]) -> tuple[M, ...]:
        with self._connection.cursor(row_factory=class_row(kind)) as cursor:
            return tuple(cursor.execute(_SQL[query], parameters).fetchall())

    def _count(self, query: str, parameters: dict[str, Any]) -> int:
        return self._connection.execute(_SQL[query], parameters).rowcount

    def _execute(self, query: Any, parameters: dict[str, Any]) -> list[Any]:  # noqa: ANN401
        return self._connection.execute(query, parameters or None).fetchall()


def _unseen(cluster: str, circumstances: Circumstances, hidden: tuple[str, ...]) -> ClusterSnapshot:
    """Return the snapshot of a cluster of which nothing that was read would be worth anything."""
    return ClusterSnapshot(cluster=cluster, circumstances=circumstances, hidden=hidden)


def _require_seen(cluster: str, hidden: tuple[str, ...]) -> None:
    """Return if the user sees every row.

    Raises:
        Blocked: it does not.
    """
    if hidden:
        (blocker, *_) = guard.decide(_unseen(cluster, Circumstances(), hidden)).blockers
        raise Blocked(f"Nothing is done to {cluster}.", why=blocker.what, hint=blocker.hint)


def _require_unchanged(decision: DeregistrationDecision, confirmed: Confirmation, *, same: bool) -> None:
    """Return if this is still what the operator confirmed.

    Raises:
        Blocked: it may not go, or it is not.
    """
    if decision.blockers:
        raise Blocked(
            f"{decision.cluster} may not be deregistered; nothing was deleted.",
            why=" ".join(blocker.what for blocker in decision.blockers),
            hint=decision.blockers[0].hint,
        )
    if not same or decision.fingerprint != confirmed.fingerprint:
        raise Blocked(
            f"{decision.cluster} has changed since you looked; nothing was deleted.",
            why="A client, a node or a machine was added, removed or changed meanwhile.",
            hint="Look again, and confirm what is there now.",
        )


def _ids(snapshot: ClusterSnapshot) -> dict[str, list[UUID]]:
    return {
        "hosts": [host.host_id for host in snapshot.hosts],
        "clients": [client.deployment_id for client in snapshot.clients],
    }


def _counted(rows: dict[str, int]) -> str:
    return ", ".join(f"{table} {count}" for table, count in rows.items()) or "nothing"
