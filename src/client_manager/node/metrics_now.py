"""The metrics that are true at the moment of the scrape."""

import math
import time
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from client_manager.models.work import Work
from client_manager.node.health import Vitals

_MOST_CLIENTS: Final = 2000


class Now(Collector):
    """Asks the election's view and the scheduler's work."""

    def __init__(self, vitals: Vitals, work: Callable[[], Work]) -> None:
        self._vitals = vitals
        self._work = work

    def describe(self) -> Iterator[Metric]:
        """Yield nothing: what there is depends on the moment."""
        yield from ()

    def collect(self) -> Iterator[Metric]:
        """Yield what is known now."""
        yield from self._of_node()
        yield from self._of_lease()
        yield from self._of_work(self._work())

    def _of_node(self) -> Iterator[Metric]:
        identity, view = self._vitals.identity, self._vitals.leadership.view
        leads = self._vitals.leadership.term() is not None
        yield _gauge("container_uptime_seconds", "Of this process.", self._vitals.uptime_s, node_id=identity.name)
        labels = {"node_id": identity.name, "cluster": identity.cluster}
        yield _gauge("sync_container_is_leader", "Whether this node leads.", leads, **labels)
        yield _gauge("node_healthy", "Whether /health says so.", self._vitals.health().status == "healthy", **labels)
        age_s = self._vitals.heard_age_s(view)
        if math.isfinite(age_s):
            yield _gauge("database_heard_age_seconds", "Since PostgreSQL last answered.", age_s)
        if view.clock_skew_s is not None:
            yield _gauge("clock_skew_seconds", "The server's clock less this machine's.", view.clock_skew_s)

    def _of_lease(self) -> Iterator[Metric]:
        leadership, cluster = self._vitals.leadership, self._vitals.identity.cluster
        view, left_s = leadership.view, leadership.view.leader_until - leadership.clock()
        if view.term is not None and math.isfinite(left_s):
            at = time.time() + left_s
            yield _gauge("leader_lease_expires_timestamp", "When the lease runs out.", at, cluster=cluster)
            yield _gauge("leader_term", "Of the lease that was last seen.", view.term, cluster=cluster)

    def _of_work(self, work: Work) -> Iterator[Metric]:
        yield _gauge("sync_jobs_active", "Runs under way.", len(work.running))
        yield _gauge("sync_queue_size", "Clients and jobs that wait for a worker.", work.waiting + work.jobs)
        yield _gauge("state_cache_size", "Clients that this leader replicates.", len(work.clients))
        looks = CounterMetricFamily("sync_looks", "Looks at clients by what came of them.", labels=["outcome"])
        for outcome, count in work.outcomes.items():
            looks.add_metric([outcome], count)
        yield looks
        ages = {client.client: client.last_success_age_s for client in work.clients[:_MOST_CLIENTS]}
        yield from self._of_clients({client: age for client, age in ages.items() if age is not None})

    def _of_clients(self, ages_s: dict[str, float]) -> Iterator[Metric]:
        succeeded = GaugeMetricFamily(
            "last_successful_sync_timestamp", "When the replica was known to be what its source is.", labels=["client"]
        )
        for client, age_s in ages_s.items():
            succeeded.add_metric([client], time.time() - age_s)
        yield succeeded
        if ages_s:
            host = str(self._vitals.identity.spec.host_id)
            yield _gauge("state_sync_lag_seconds", "Of the client that lags most.", max(ages_s.values()), host_id=host)


def _gauge(name: str, meaning: str, value: float, **labels: str) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, meaning, labels=list(labels))
    family.add_metric(list(labels.values()), float(value))
    return family
