"""One fault: done, suffered, undone; and everything that must be so afterwards."""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from client_manager.gateways.sync_store import SyncStore
from tests.chaos.audit import Term
from tests.chaos.cluster import Cluster
from tests.chaos.health import HEALTHY, SICK, untruths
from tests.chaos.nodes import wait_until
from tests.replication import oracle

_JOBS_S = 60


@dataclass(frozen=True)
class Hurt:
    """What was done.

    Attributes:
        at: when, or when the cluster could first do something about it.
        leader_within_s: until then another term must have been taken; None: none need be.
        outcome: what is to be said of it, besides who leads.
    """

    at: float
    leader_within_s: float | None = None
    outcome: str = ""


Fault = Callable[[Cluster], Generator[Hurt, None, None]]


@dataclass(frozen=True)
class Row:
    """A line of the matrix; times in seconds since the fault, None where there is nothing to wait for."""

    fault: str
    outcome: str
    leaderless_s: float | None
    first_row_s: float
    healed_s: float


def tried(cluster: Cluster, name: str, fault: Fault) -> Row:
    """Hurt the cluster, wait for the first rows that it brings over nevertheless, heal it, and judge."""
    for client in cluster.clients:
        client.begin_writing()
    cluster.settle()
    before, begun = cluster.term(), time.time()
    assert before
    suffering = fault(cluster)
    try:
        hurt = next(suffering)
        least = before.term + 1 if hurt.leader_within_s is not None else 0
        first_row = wait_until(f"rows after: {name}", lambda: _first_row(cluster, hurt.at, least))
        terms = cluster.server.read_audit().terms()
        with suppress(StopIteration):
            next(suffering)
    finally:
        suffering.close()
        cluster.mend()
    cluster.settle()
    healed = time.time()
    _judge(cluster, begun)
    return _row(name, hurt, terms, first_row, healed)


def _first_row(cluster: Cluster, since: float, least: int) -> float | None:
    """When rows were first committed after the fault, by a term that is at least this one."""
    cluster.ask_for_runs()
    for row in cluster.server.read_audit().writes:
        at = row.committed_at or row.at
        if row.advanced and at > since and row.fence >= least:
            return at
    return None


def _row(name: str, hurt: Hurt, terms: Sequence[Term], first_row: float, healed: float) -> Row:
    former = [term for term in terms if term.begun <= hurt.at][-1]
    later = [term for term in terms if term.begun > hurt.at and term.term != former.term]
    leaderless = later[0].begun - hurt.at if later else None
    if hurt.leader_within_s is not None:
        assert leaderless is not None
        assert leaderless <= hurt.leader_within_s, f"{leaderless:.2f} s without a leader"
    who = _succession(former.leader_id, [term.leader_id for term in later])
    outcome = f"{who}; {hurt.outcome}" if hurt.outcome else who
    return Row(name, outcome, leaderless, first_row - hurt.at, healed - hurt.at)


def _succession(former: str, later: list[str]) -> str:
    if not later:
        return "the leader stays"
    if later[0].partition("/")[0] != former.partition("/")[0]:
        return "the other node leads"
    return "the same node leads, with a new term" if later[0] == former else "the node leads again, started anew"


def _judge(cluster: Cluster, begun: float) -> None:
    for client in cluster.clients:
        client.end_writing()
    _sync_quietly(cluster)
    for client in cluster.clients:
        oracle.assert_equal(client.path, cluster.server.url, client.name)
    wait_until("no job is left open", lambda: not _open_jobs(cluster))
    faults = cluster.server.read_audit().faults()
    assert not faults, "\n".join(faults[:20])
    _judge_health(cluster, begun)


def _sync_quietly(cluster: Cluster) -> None:
    """Let the leader bring over what the applications wrote last: a job that is queued now begins after that."""
    with cluster.server.connect() as connection:
        store = SyncStore(connection)
        wait_until("the queue is empty", lambda: not _open_jobs(cluster), _JOBS_S)
        jobs = [store.enqueue(client.name, full=False, triggered_by="chaos") for client in cluster.clients]
        for job_id in jobs:
            assert job_id
            job = wait_until("the last job is over", partial(_over, store, job_id), _JOBS_S)
            assert job.status == "success", job.error_message


def _over(store: SyncStore, job_id: object) -> object:
    job = store.job(job_id)  # type: ignore[arg-type]
    return job if job and job.is_over else None


def _open_jobs(cluster: Cluster) -> list[object]:
    return cluster.server.sql("SELECT client_name FROM sync_metadata.sync_jobs WHERE status IN ('queued', 'running')")


def _judge_health(cluster: Cluster, begun: float) -> None:
    truth, found = cluster.truth(), []
    for node in cluster.nodes.values():
        samples = [sample for sample in list(node.samples) if sample.sent >= begun]
        assert any(sample.status in {HEALTHY, SICK} for sample in samples), f"nobody heard of {node.name}"
        found += untruths(samples, node, truth)
    assert not found, f"{len(found)} answers were not true:\n" + "\n".join(found[:10])
