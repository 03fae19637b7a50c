"""What happened and what is, for Prometheus: the predecessor's names, filled from events and from memory.

Names of things that this node does not have (a pool of connections, a cache with a lifetime) are left out rather than
shown as zero. Labels come from a bounded set: registered clients, error classes, the two nodes.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from client_manager.node.health import Vitals

_DURATION_BUCKETS_S: Final = (1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_MOST_CLIENTS: Final = 2000
_OTHERS: Final = "(others)"

Fields = Mapping[str, object]


class Metrics:
    """The metrics of one process, in a registry of their own."""

    content_type = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self, vitals: Vitals, gauges: Callable[[], Mapping[str, float]]) -> None:
        """Begin at zero.

        Args:
            vitals: what the node knows of itself.
            gauges: what the scheduler has at this moment, name -> value.
        """
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Now(vitals, gauges))
        self._node = vitals.identity.name
        self._clients: set[str] = set()
        self._define_sync()
        self._define_election()

    def text(self) -> bytes:
        """Return all of them in Prometheus's text format."""
        return generate_latest(self._registry)

    def hear(self, event: str, fields: Fields) -> None:
        """Count an event of the election or of the scheduler."""
        count = {
            "elected": self._elected,
            "lost": self._lost,
            "database_lost": self._database_lost,
            "name_refused": self._name_refused,
            "job_ended": self._job_ended,
        }.get(event)
        if count is not None:
            count(fields)

    def _define_sync(self) -> None:
        own, of_client = self._registry, ["client"]
        self.operations = Counter("sync_operations", "Runs by their end.", ["client", "status"], registry=own)
        self.durations = Histogram(
            "sync_duration_seconds", "What a run took.", of_client, registry=own, buckets=_DURATION_BUCKETS_S
        )
        self.rows = Counter("sync_rows_processed", "Rows written.", ["client", "table"], registry=own)
        failed = ["client", "table", "error_type"]
        self.rows_failed = Counter("sync_rows_failed", "Rows that could not be written.", failed, registry=own)
        self.sent = Counter("sync_bytes_transferred", "Bytes sent.", ["client", "direction"], registry=own)

    def _define_election(self) -> None:
        own = self._registry
        self.elections = Counter("leader_elections", "Leads won, lost and refused.", ["result"], registry=own)
        between = ["from_node", "to_node", "reason"]
        self.failovers = Counter("failover_events", "Leads that this node took over.", between, registry=own)
        self.beats_missed = Counter("heartbeat_failures", "Times PostgreSQL was lost.", ["node_id"], registry=own)
        self.errors = Counter("errors", "Errors by kind.", ["component", "error_type"], registry=own)

    def _elected(self, fields: Fields) -> None:
        self.elections.labels("elected").inc()
        former = str(fields.get("former") or "").partition("/")[0]
        if former and former != self._node:
            self.failovers.labels(former, self._node, "takeover").inc()

    def _lost(self, _: Fields) -> None:
        self.elections.labels("lost").inc()

    def _database_lost(self, _: Fields) -> None:
        self.beats_missed.labels(self._node).inc()
        self.errors.labels("election", "database_lost").inc()

    def _name_refused(self, _: Fields) -> None:
        self.elections.labels("name_refused").inc()

    def _client(self, name: object) -> str:
        if name in self._clients or len(self._clients) < _MOST_CLIENTS:
            self._clients.add(str(name))
            return str(name)
        return _OTHERS


class _Now(Collector):
    """What is true at the moment of the scrape."""

    def __init__(self, vitals: Vitals, gauges: Callable[[], Mapping[str, float]]) -> None:
        self._vitals = vitals
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges."""
        identity, leadership = self._vitals.identity, self._vitals.leadership
        view, cluster = leadership.view, identity.cluster
        yield _gauge(
            "container_uptime_seconds", "Since this process began.", self._vitals.uptime_s, node_id=identity.name
        )
        yield _gauge(
            "sync_container_is_leader",
            "Whether this node leads.",
            leadership.term() is not None,
            node_id=identity.name,
            cluster=cluster,
        )
        if view.leader_id is not None:
            expires_at = time.time() + view.leader_until - leadership.clock()
            yield _gauge("leader_lease_expires_timestamp", "When the lease runs out.", expires_at, cluster=cluster)
            yield _gauge("leader_term", "The term of the lease.", view.term or 0, cluster=cluster)
        yield _gauge("database_heard_age_seconds", "Since PostgreSQL last answered.", self._vitals.heard_age_s(view))
        if view.clock_skew_s is not None:
            yield _gauge("clock_skew_seconds", "The server's clock less this machine's.", view.clock_skew_s)
        for name, value in self._gauges().items():
            yield _gauge(name, _MEANINGS.get(name, name), value)


_MEANINGS: Final = {
    "sync_queue_size": "Clients and jobs that wait for a worker.",
    "sync_jobs_active": "Runs under way.",
    "state_cache_size": "Clients that this node knows.",
}


def _gauge(name: str, meaning: str, value: float, **labels: str) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, meaning, labels=list(labels))
    family.add_metric(list(labels.values()), float(value))
    return family
