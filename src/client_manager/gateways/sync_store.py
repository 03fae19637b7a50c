"""What ``sync_metadata`` says and is told, by an operator or by a node: one method per named query."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Self, TypeVar
from uuid import UUID

import psycopg
from psycopg.rows import class_row, dict_row

from client_manager.gateways import queries
from client_manager.models.base import Model
from client_manager.models.cluster import ClusterState
from client_manager.models.sync import Conflict, Deployment, Host, Job, Lease, SyncNode, TableProgress

_CLUSTER: Final = queries.load("cluster")
_JOBS: Final = queries.load("jobs")
_UNDER_WAY: Final = ["queued", "running"]
_TRIES: Final = 3
M = TypeVar("M", bound=Model)


class SyncStore:
    """The tables of ``sync_metadata`` over one connection; a method is one statement unless it says more."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    @contextmanager
    def bounded(self, seconds: float) -> Iterator[Self]:
        """Do the body in one transaction, each statement of which is given so long."""
        with self._connection.transaction():
            self._execute(_CLUSTER["limit_statements"], {"timeout": f"{seconds:.3f}s"})
            yield self

    def health(self, cluster: str) -> tuple[dict[str, Any], ...]:
        """Return the rows of ``v_cluster_health``, which other programs know by its columns."""
        with self._connection.cursor(row_factory=dict_row) as cursor:
            return tuple(cursor.execute(_CLUSTER["list_health"], {"cluster": cluster}).fetchall())

    def clusters(self) -> tuple[str, ...]:
        """Return the names of all clusters that have left a trace."""
        return tuple(str(name) for (name,) in self._execute(_CLUSTER["list_clusters"], {}))

    def hosts(self, cluster: str | None = None) -> tuple[Host, ...]:
        """Return the machines."""
        return self._all(Host, _CLUSTER["list_hosts"], {"cluster": cluster})

    def nodes(self, cluster: str | None = None) -> tuple[SyncNode, ...]:
        """Return the nodes."""
        return self._all(SyncNode, _CLUSTER["list_nodes"], {"cluster": cluster})

    def lease(self, cluster: str) -> Lease | None:
        """Return the lease, valid or not; None where nobody has ever led."""
        found = self._all(Lease, _CLUSTER["find_lease"], {"cluster": cluster})
        return found[0] if found else None

    def deployments(self, *, cluster: str | None = None, client: str | None = None) -> tuple[Deployment, ...]:
        """Return the registered clients."""
        return self._all(Deployment, _CLUSTER["list_deployments"], {"cluster": cluster, "client": client})

    def jobs(
        self,
        *,
        cluster: str | None = None,
        client: str | None = None,
        status: Sequence[str] | None = None,
        limit: int = 20,
    ) -> tuple[Job, ...]:
        """Return the latest jobs, those under way first."""
        wanted = list(status) if status else None
        return self._all(
            Job, _JOBS["list_jobs"], {"cluster": cluster, "client": client, "status": wanted, "limit": limit}
        )

    def job(self, job_id: UUID) -> Job | None:
        """Return a job."""
        found = self._all(Job, _JOBS["find_job"], {"job_id": job_id})
        return found[0] if found else None

    def progress(self, job_id: UUID) -> tuple[TableProgress, ...]:
        """Return how far each table of a job is."""
        return self._all(TableProgress, _JOBS["list_progress"], {"job_id": job_id})

    def conflicts(
        self, client: str | None = None, *, cluster: str | None = None, only_open: bool = False, limit: int = 100
    ) -> tuple[Conflict, ...]:
        """Return the latest conflicts, those that are open first."""
        parameters = {"client": client, "cluster": cluster, "open": only_open, "limit": limit}
        return self._all(Conflict, _CLUSTER["list_conflicts"], parameters)

    def state(self, cluster: str, *, failures: int = 5) -> ClusterState:
        """Return a cluster as it is at one moment: all of it in one snapshot."""
        with self._connection.transaction():
            self._connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            under_way = self.jobs(cluster=cluster, status=_UNDER_WAY, limit=1000)
            failed = self.jobs(cluster=cluster, status=["failed"], limit=failures)
            return ClusterState(
                name=cluster,
                hosts=self.hosts(cluster),
                nodes=self.nodes(cluster),
                lease=self.lease(cluster),
                deployments=self.deployments(cluster=cluster),
                jobs=(*under_way, *failed),
            )

    def replicas_without_client(self) -> tuple[str, ...]:
        """Return the replicas that are kept although their clients are registered no more."""
        return tuple(str(name) for (name,) in self._execute(_CLUSTER["list_replicas_without_client"], {}))

    def upsert_host(self, cluster: str, hostname: str, metadata: Mapping[str, object], ip_address: str | None) -> UUID:
        """Return the id of a machine's row, made if it is not there."""
        row = self._one(
            _CLUSTER["upsert_host"],
            {"cluster": cluster, "hostname": hostname, "metadata": json.dumps(metadata), "ip_address": ip_address},
        )
        return UUID(str(row[0])) if row else UUID(int=0)

    def request_switch_over(self, cluster: str, node: str) -> bool:
        """Ask the leader to hand over; False where nobody leads."""
        return self._one(_CLUSTER["request_switch_over"], {"cluster": cluster, "node": node}) is not None

    def withdraw_switch_over(self, cluster: str) -> None:
        """Take such a request back."""
        self._execute(_CLUSTER["withdraw_switch_over"], {"cluster": cluster})

    def set_deployment(
        self,
        client: str,
        *,
        sync_enabled: bool | None = None,
        sync_interval: int | None = None,
        status: str | None = None,
        config: Mapping[str, object] | None = None,
    ) -> bool:
        """Set what is given of a client, and leave the rest; False where it is not registered."""
        parameters = {
            "client": client,
            "sync_enabled": sync_enabled,
            "sync_interval": sync_interval,
            "status": status,
            "config": None if config is None else json.dumps(config),
        }
        return self._one(_CLUSTER["set_deployment"], parameters) is not None

    def enqueue(self, client: str, *, full: bool, triggered_by: str) -> UUID | None:
        """Queue a job, and return its id, or that of the same job if it waits already; None: not registered."""
        kind = {"client": client, "sync_type": "full" if full else "incremental"}
        row = None
        for _ in range(_TRIES):  # the job that waited may be taken between the two statements
            row = row or self._one(_JOBS["enqueue"], {**kind, "triggered_by": triggered_by, "metadata": "{}"})
            row = row or self._one(_JOBS["find_queued"], kind)
        return row[0] if row else None

    def cancel(self, *, operator: str, job_id: UUID | None = None, client: str | None = None) -> dict[UUID, str]:
        """Cancel jobs that wait, and ask those that run to end; return job -> status of those that this was news to.

        Raises:
            ValueError: neither a job nor a client is named.
        """
        if job_id is None and client is None:
            raise ValueError("name a job or a client")
        found = self._execute(_JOBS["cancel"], {"operator": operator, "job_id": job_id, "client": client})
        return {row[0]: row[1] for row in found}

    def _all(self, kind: type[M], query: Any, parameters: Mapping[str, object]) -> tuple[M, ...]:  # noqa: ANN401
        with self._connection.cursor(row_factory=class_row(kind)) as cursor:
            return tuple(cursor.execute(query, parameters).fetchall())

    def _one(self, query: Any, parameters: Mapping[str, object]) -> Any:  # noqa: ANN401
        return self._execute(query, parameters).fetchone()

    def _execute(self, query: Any, parameters: Mapping[str, object]) -> psycopg.Cursor[Any]:  # noqa: ANN401
        return self._connection.execute(query, parameters or None)
