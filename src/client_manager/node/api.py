"""The node's HTTP API: the predecessor's paths and fields, behind a token, and with true answers.

What it says of the cluster is read from PostgreSQL by a few threads; ``/health`` comes from memory and never waits for
them.
"""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import anyio
import anyio.to_thread
from fastapi import FastAPI, Query
from fastapi.responses import JSONResponse, PlainTextResponse

from client_manager import __version__, guard
from client_manager.errors import Conflict, NotFound
from client_manager.gateways.database import Database
from client_manager.gateways.sync_store import SyncStore
from client_manager.models.sync import Deployment
from client_manager.node import api_errors
from client_manager.node.api_gate import Gate
from client_manager.node.api_requests import CLIENT_NAME, Cancellation, ClientName, StateChange, Trigger
from client_manager.node.health import Vitals
from client_manager.node.metrics import Metrics
from client_manager.node.watched_file import WatchedFile

_AT_ONCE: Final = 4  # requests that may be using a connection to PostgreSQL
_LONGEST_S: Final = 10
_PATIENCE_S: Final = 0.2
_KEY: Final = "deployment."
_STATE_FIELDS: Final = {
    "deployment_id", "client_name", "sync_enabled", "sync_interval", "last_sync_at", "status", "config",
}  # fmt: skip
_CONFLICT_FIELDS: Final = {
    "log_id", "client_name", "table_name", "record_id", "conflict_type", "detected_at", "resolution_strategy",
    "resolved_at",
}  # fmt: skip

Answer = dict[str, Any]


class Api:
    """The requests of one node, each with a connection of its own."""

    def __init__(self, vitals: Vitals, database: Database, metrics: Metrics) -> None:
        self._vitals = vitals
        self._database = database
        self._metrics = metrics
        self._cluster = vitals.identity.cluster
        self._one_look = anyio.CapacityLimiter(1)
        self._one_at_a_time = anyio.CapacityLimiter(1)
        self._operator = f"api of {vitals.identity.name}"

    async def root(self) -> Answer:
        """Say what this is."""
        endpoints = {"health": "/health", "metrics": "/metrics", "cluster": "/api/v1/cluster/status"}
        return {"service": "client-manager sync node", "version": __version__, "endpoints": endpoints}

    async def health(self) -> JSONResponse:
        """Say whether this node is well: 200, or 503."""
        with anyio.move_on_after(_PATIENCE_S):  # a scheduler that hangs is no reason to be silent
            await anyio.to_thread.run_sync(self._vitals.look, abandon_on_cancel=True, limiter=self._one_look)
        health = self._vitals.health()
        return JSONResponse(health.model_dump(mode="json"), 200 if health.status == "healthy" else 503)

    async def metrics(self) -> PlainTextResponse:
        """Give the metrics in Prometheus's text format."""
        text = await anyio.to_thread.run_sync(self._metrics.text, limiter=self._one_at_a_time)
        return PlainTextResponse(text, media_type=self._metrics.content_type)

    def cluster_status(self) -> Answer:
        """Give the machines, the nodes and the lease of this cluster."""
        with self._database.connect() as connection:
            store = SyncStore(connection)
            hosts, nodes, lease = store.health(self._cluster), store.nodes(self._cluster), store.lease(self._cluster)
        return {
            "cluster_name": self._cluster,
            "nodes": hosts,
            "sync_nodes": [node.model_dump() for node in nodes],
            "lease": lease and {**lease.model_dump(), "is_valid": lease.is_valid},
        }

    def trigger(self, request: Trigger) -> Answer:
        """Queue a job; the leader takes it, whichever node was asked."""
        with self._database.connect() as connection, SyncStore(connection).bounded(_LONGEST_S) as store:
            client = self._require(store, request.client_name)
            if request.full_sync and guard.why_full_run_waits(client):
                raise _stopped(request.client_name)
            job_id = store.enqueue(request.client_name, full=request.full_sync, triggered_by=self._operator)
        if job_id is None:
            raise _unknown(request.client_name)
        return {
            "status": "queued",
            "client": request.client_name,
            "full_sync": request.full_sync,
            "queued_at": datetime.now(UTC),
            "job_id": job_id,
        }

    def cancel(self, request: Cancellation) -> Answer:
        """Cancel what waits, and ask what runs to end."""
        with self._database.connect() as connection, SyncStore(connection).bounded(_LONGEST_S) as store:
            job = store.job(request.job_id) if request.job_id else None
            if request.job_id and job is None:
                raise NotFound("There is no such job.", hint="See 'client-manager sync jobs'.")
            client = job.client_name if job else str(request.client_name)
            self._require(store, client)
            jobs = store.cancel(operator=self._operator, job_id=request.job_id, client=client)
        if not jobs:
            raise Conflict("There is nothing to cancel.", hint="No such job waits or runs.")
        found = [{"job_id": job_id, "status": status} for job_id, status in jobs.items()]
        return {"status": "cancelling", "client": client, "jobs": found}

    def get_state(self, key: str) -> Answer:
        """Give what is set of a client."""
        client = _client_of(key)
        with self._database.connect() as connection:
            found = SyncStore(connection).deployments(cluster=self._cluster, client=client)
        value = found[0].model_dump(include=_STATE_FIELDS) if found else None
        return {"key": key, "value": value, "cached": False, "updated_at": datetime.now(UTC)}

    def put_state(self, key: str, change: StateChange) -> Answer:
        """Set some of it; what is not named stays."""
        client = _client_of(key)
        change.require_key(key)
        with self._database.connect() as connection, SyncStore(connection).bounded(_LONGEST_S) as store:
            self._require(store, client)
            store.set_deployment(client, **change.value.model_dump(exclude_none=True))
        return {"success": True, "key": key, "updated_at": datetime.now(UTC)}

    def conflicts(
        self, client_name: ClientName | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 100
    ) -> Answer:
        """Give the latest conflicts of this cluster's clients, without the rows' contents."""
        with self._database.connect() as connection:
            found = SyncStore(connection).conflicts(client_name, cluster=self._cluster, limit=limit)
        return {"conflicts": [conflict.model_dump(include=_CONFLICT_FIELDS) for conflict in found], "count": len(found)}

    def _require(self, store: SyncStore, client: str) -> Deployment:
        found = store.deployments(cluster=self._cluster, client=client)
        if not found:
            raise _unknown(client)
        return found[0]


def make_app(api: Api, token: WatchedFile) -> FastAPI:
    """Return the application: the routes, the token before them, JSON for every error; no documentation pages."""
    app = FastAPI(
        title="client-manager sync node", docs_url=None, redoc_url=None, openapi_url=None, lifespan=_few_threads
    )
    routes: tuple[tuple[str, str, Callable[..., Any]], ...] = (
        ("GET", "/", api.root),
        ("GET", "/health", api.health),
        ("GET", "/metrics", api.metrics),
        ("GET", "/api/v1/cluster/status", api.cluster_status),
        ("POST", "/api/v1/sync/trigger", api.trigger),
        ("POST", "/api/v1/sync/cancel", api.cancel),
        ("GET", "/api/v1/state/{key}", api.get_state),
        ("PUT", "/api/v1/state/{key}", api.put_state),
        ("GET", "/api/v1/conflicts", api.conflicts),
    )
    for method, path, endpoint in routes:
        app.add_api_route(path, endpoint, methods=[method], response_model=None)
    api_errors.install(app)
    app.add_middleware(Gate, token=token)
    return app


@asynccontextmanager
async def _few_threads(_: FastAPI) -> AsyncIterator[None]:
    """Bound the connections that requests take from the server's few."""
    anyio.to_thread.current_default_thread_limiter().total_tokens = _AT_ONCE
    yield


def _client_of(key: str) -> str:
    client = key.removeprefix(_KEY)
    if client == key or not re.fullmatch(CLIENT_NAME, client):
        raise NotFound(f"There is no such state; keys are {_KEY}CLIENT.")
    return client


def _unknown(client: str) -> NotFound:
    return NotFound(
        f"No client {client} is registered in this cluster.", hint="See 'client-manager sync status' on its machine."
    )


def _stopped(client: str) -> Conflict:
    return Conflict(
        f"A safety rule has stopped {client}: a full run waits for an operator.", hint=guard.full_run_hint(client)
    )
