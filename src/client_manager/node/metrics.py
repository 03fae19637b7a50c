"""What happened and what is, for Prometheus: the predecessor's names, filled from events and from memory.

Names of what this node does not have (a pool of connections, a cache whose entries age) are left out rather than shown
as zero. Labels come from bounded sets: the clients of this machine, kinds of errors, the two nodes; never a row's.
"""

from collections.abc import Callable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from client_manager.models.work import Work
from client_manager.node.health import Vitals
from client_manager.node.metrics_now import Now

_BUCKETS_S: Final = (1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_MOST_CLIENTS: Final = 2000
_OTHERS: Final = "(others)"
_ALL_TABLES: Final = "(all)"
_OF_CLIENTS: Final = "deployment."

Fields = Mapping[str, object]


class Metrics:
    """The metrics of one process, in a registry of their own."""

    content_type = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self, vitals: Vitals, work: Callable[[], Work]) -> None:
        """Begin at zero.

        Args:
            vitals: what the node knows of itself.
            work: what the scheduler does at the moment of the call.
        """
        self._registry = CollectorRegistry()
        self._registry.register(Now(vitals, work))
        self._node = vitals.identity.name
        self._clients: set[str] = set()
        self._quarantined: dict[str, int] = {}
        self._define_runs()
        self._define_conflicts()
        self._define_election()

    def text(self) -> bytes:
        """Return all of them in Prometheus's text format."""
        return generate_latest(self._registry)

    def hear(self, event: str, fields: Fields) -> None:
        """Count an event of the election or of the scheduler."""
        count = {
            "elected": self._elected,
            "lost": self._lost,
            "name_refused": self._name_refused,
            "database_lost": self._database_lost,
            "work_interrupted": self._work_interrupted,
            "job_ended": self._job_ended,
            "cache_event": self._cache_event,
        }.get(event)
        if count is not None:
            count(fields)

    def _define_runs(self) -> None:
        own, client = self._registry, ["client"]
        self._runs = Counter("sync_operations", "Runs by their end.", ["client", "status"], registry=own)
        self._seconds = Histogram("sync_duration_seconds", "What a run took.", client, registry=own, buckets=_BUCKETS_S)
        self._rows = Counter("sync_rows_processed", "Rows written.", ["client", "table"], registry=own)
        failed = ["client", "table", "error_type"]
        self._rows_failed = Counter("sync_rows_failed", "Values and rows set aside.", failed, registry=own)
        self._bytes = Counter("sync_bytes_transferred", "Bytes sent.", ["client", "direction"], registry=own)
        self._jobs = Histogram(
            "sync_queue_processing_time_seconds", "What a job of the queue took.", registry=own, buckets=_BUCKETS_S
        )

    def _define_conflicts(self) -> None:
        own, kind = self._registry, ["client", "table", "type"]
        self._conflicts = Counter("conflicts_detected", "Differences that a verification found.", kind, registry=own)
        ways = ["client", "strategy"]
        self._resolved = Counter("conflicts_resolved", "Differences that were mended.", ways, registry=own)
        self._of_clients = (
            self._runs, self._seconds, self._rows, self._rows_failed, self._bytes, self._conflicts, self._resolved,
        )  # fmt: skip

    def _define_election(self) -> None:
        own = self._registry
        self._elections = Counter("leader_elections", "Leads won and lost, names refused.", ["result"], registry=own)
        between = ["from_node", "to_node", "reason"]
        self._failovers = Counter("failover_events", "Leads taken over from another.", between, registry=own)
        self._beats_missed = Counter("heartbeat_failures", "Times PostgreSQL was lost.", ["node_id"], registry=own)
        self._errors = Counter("errors", "Errors by kind.", ["component", "error_type"], registry=own)
        self._changes = Counter("state_cache_invalidations", "Changes by others.", ["reason"], registry=own)

    def _elected(self, fields: Fields) -> None:
        self._elections.labels("won").inc()
        former = str(fields.get("former") or "").partition("/")[0]
        if former and former != self._node:
            self._failovers.labels(former, self._node, "takeover").inc()

    def _lost(self, _: Fields) -> None:
        self._elections.labels("lost").inc()

    def _name_refused(self, _: Fields) -> None:
        self._elections.labels("name_refused").inc()

    def _database_lost(self, _: Fields) -> None:
        self._beats_missed.labels(self._node).inc()
        self._errors.labels("election", "database_lost").inc()

    def _work_interrupted(self, _: Fields) -> None:
        self._errors.labels("scheduler", "database_lost").inc()

    def _job_ended(self, fields: Fields) -> None:
        client, seconds = self._label(str(fields["client"])), _number(fields, "seconds")
        self._runs.labels(client, str(fields["status"])).inc()
        self._seconds.labels(client).observe(seconds)
        if fields.get("job_id"):
            self._jobs.observe(seconds)
        if fields.get("error_type"):
            self._errors.labels("sync", str(fields["error_type"])).inc()
        if fields.get("kind") == "verify":
            self._conflicts.labels(client, _ALL_TABLES, "difference").inc(_number(fields, "differences"))
            self._resolved.labels(client, "healed").inc(_number(fields, "healed"))
        elif "rows" in fields:
            self._written(client, fields)

    def _written(self, client: str, fields: Fields) -> None:
        self._rows.labels(client, _ALL_TABLES).inc(_number(fields, "rows"))
        self._bytes.labels(client, "upload").inc(_number(fields, "bytes"))
        # The whole replica's; of what this process did not see come, only the growth is counted.
        now = int(_number(fields, "quarantined"))
        before = self._quarantined.get(client, 0 if fields.get("level") == "full" else now)
        self._rows_failed.labels(client, _ALL_TABLES, "quarantined").inc(max(0, now - before))
        self._quarantined[client] = now

    def _cache_event(self, fields: Fields) -> None:
        self._changes.labels(str(fields["action"])).inc()
        if fields["action"] == "delete":
            self._forget(str(fields["key"]).removeprefix(_OF_CLIENTS))

    def _forget(self, client: str) -> None:
        """Let the series of a client that has been deregistered end."""
        self._quarantined.pop(client, None)
        if client in self._clients:
            self._clients.discard(client)
            for metric in self._of_clients:
                metric.remove_by_labels({"client": client})

    def _label(self, client: str) -> str:
        if client not in self._clients and len(self._clients) >= _MOST_CLIENTS:
            return _OTHERS
        self._clients.add(client)
        return client


def _number(fields: Fields, name: str) -> float:
    value = fields.get(name, 0)
    return float(value) if isinstance(value, int | float) else 0.0
