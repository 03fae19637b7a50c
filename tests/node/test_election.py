"""Who leads a cluster, on a real server: one at a time, and always somebody who may."""

import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID

import psycopg
import pytest
from pydantic import SecretStr

from client_manager.gateways.database import Database
from client_manager.gateways.sync_store import SyncStore
from client_manager.models.sync import LeaseTimes
from client_manager.node.leadership import Leadership
from client_manager.replication.trouble import Fenced
from tests.node.nodes import CLUSTER, TIMES, Node, Process, add_host, ask, identity, lease, nodes, processes
from tests.node.road import road_to
from tests.waiting import until

# With a lease that no wait of a test outlives, whoever leads does so for another reason than its end.
LONG = TIMES.model_copy(update={"ttl_s": 20})
_STATE = "sync_metadata.replication_state"


@pytest.fixture
def host_id(database_url: str) -> UUID:
    return add_host(database_url, "acme", "beta")


@pytest.fixture
def make(database_url: str, host_id: UUID) -> Any:
    """Makes a node that is not started yet, by the last letter of its name."""

    def node(letter: str, url: str = database_url, times: LeaseTimes = TIMES, **options: Any) -> Node:
        return Node(identity(host_id, f"sync-node-{letter}", times), url, **options)

    return node


@pytest.fixture
def start(database_url: str, host_id: UUID) -> Iterator[Any]:
    """Starts nodes as processes."""
    started: list[Process] = []

    def process(letter: str, times: LeaseTimes = TIMES) -> Process:
        started.append(Process(host_id, f"sync-node-{letter}", database_url, times))
        return started[-1]

    yield process
    with processes(*started):
        pass


def sees(node: Node, leader: str) -> Any:
    return until(lambda: node.leadership.view.leader_name == leader, what=f"{leader} is seen")


def fences(url: str) -> list[int]:
    return [fence for (fence,) in ask(url, f"SELECT DISTINCT fence FROM {_STATE} ORDER BY 1")]


@contextmanager
def holding(url: str, statement: str, name: str = "somebody") -> Iterator[psycopg.Connection[Any]]:
    """A transaction of another program that has run this, and does not end."""
    with psycopg.connect(url, application_name=name) as connection:
        connection.execute(statement)
        yield connection
        with suppress(psycopg.OperationalError):  # ended, as it may have been meant to be
            connection.rollback()


def test_the_first_node_leads_with_the_servers_seconds_as_its_term(database_url: str, make: Any) -> None:
    with nodes(make("a")) as (a,):
        term = until(a.leads)

        assert lease(database_url) == (a.identity.node_id, term)
        assert abs(term - time.time()) < 60
        assert (a.leadership.view.leader_name, a.leadership.view.keeps_sessions) == ("sync-node-a", True)
        assert fences(database_url) == [term]
    assert a.leads() is None
    with pytest.raises(Fenced):
        a.leadership.require(term)


def test_the_lead_is_handed_over_within_a_fraction_of_a_second_at_a_stop(make: Any) -> None:
    terms_at_drain: list[int | None] = []
    a = make("a", times=LONG)
    a.drain = lambda _: terms_at_drain.append(a.leads())
    with nodes(a):
        first = until(a.leads)
        with nodes(make("b", times=LONG)) as (b,):
            sees(b, "sync-node-a")
            started = time.monotonic()
            a.stop.set()
            second = until(b.leads)
            took_s = time.monotonic() - started
    assert terms_at_drain == [first]
    assert second > first
    assert took_s < LONG.ttl_s / 4
    assert a.told("lost") == [{"term": first, "reason": "stopped"}]


def test_a_stopped_node_leaves_its_name_and_its_lease_free(database_url: str, make: Any) -> None:
    with nodes(make("a")) as (a,):
        until(a.leads)

    stopped = ask(database_url, "SELECT stopped_at IS NOT NULL, backend_pid FROM sync_metadata.sync_nodes")
    expired = ask(database_url, "SELECT expires_at <= clock_timestamp() FROM sync_metadata.leader_election")
    locks = ask(database_url, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
    assert (stopped, expired, locks) == ([(True, None)], [(True,)], [(0,)])


def test_a_killed_leader_is_followed_long_before_its_lease_is_over(start: Any) -> None:
    a = start("a", LONG)
    first = until(a.leads)
    b = start("b", LONG)
    until(lambda: b.told("leader_seen"))

    killed = time.monotonic()
    a.signal(signal.SIGKILL)
    second = until(b.leads)

    at = next(at for at, term in b.terms() if term == second)
    assert second > first
    assert at - killed < LONG.ttl_s / 4


def test_a_frozen_leader_is_followed_when_its_lease_is_over_and_knows_it_when_it_wakes(
    database_url: str, start: Any
) -> None:
    a = start("a")
    first = until(a.leads)
    b = start("b")
    until(lambda: b.told("leader_seen"))

    frozen = time.monotonic()
    a.signal(signal.SIGSTOP)
    second = until(b.leads)
    elected_at = next(at for at, term in b.terms() if term == second)
    woken = time.monotonic()
    a.signal(signal.SIGCONT)
    until(lambda: a.terms()[-1][1] is None)

    assert second > first
    assert TIMES.ttl_s - TIMES.renew_s - TIMES.poll_s < elected_at - frozen < TIMES.ttl_s + TIMES.poll_s + 1
    assert [term for at, term in a.terms() if at > woken] == [None]
    until(lambda: len(a.told("leader_seen")) and a.told("leader_seen")[-1]["term"] == second)
    assert b.leads() == second
    assert lease(database_url) == (b.told("started")[0]["node_id"], second)


def test_a_leader_cut_off_stops_before_another_may_lead(database_url: str, make: Any) -> None:
    """The cut is silent: the server keeps the session, and its lock, which must not keep the standby away."""
    with road_to(database_url) as (road, url), nodes(make("a", url)) as (a,):
        until(a.leads)
        with nodes(make("b")) as (b,), sampled(a, b) as samples:
            sees(b, "sync-node-a")
            road.silence()
            silent = time.monotonic()
            second = until(b.leads)
            until(lambda: a.told("lost"))
            road.heal()
            sees(a, "sync-node-b")
            assert b.leads() == second

    a_stopped = max(at for at, who, term in samples if who is a and term is not None)
    b_started = min(at for at, who, term in samples if who is b and term is not None)
    assert a_stopped < b_started
    assert TIMES.ttl_s - TIMES.margin_s - TIMES.renew_s - 0.2 < a_stopped - silent < TIMES.ttl_s - TIMES.margin_s + 0.1
    assert b_started - silent < TIMES.ttl_s + TIMES.poll_s + 1
    assert str(a.told("lost")[0]["reason"]).startswith("not renewed in time")


@contextmanager
def sampled(*members: Node) -> Iterator[list[tuple[float, Node, int | None]]]:
    """What the nodes' other threads are told, every millisecond."""
    samples: list[tuple[float, Node, int | None]] = []
    stop = threading.Event()

    def sample() -> None:
        while not stop.wait(0.001):
            samples.extend((time.monotonic(), node, node.leads()) for node in members)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        stop.set()
        thread.join(5)


def test_nobody_leads_while_the_server_is_gone_and_somebody_does_when_it_is_back(database_url: str, make: Any) -> None:
    with road_to(database_url) as (road, url), nodes(make("a", url), make("b", url)) as (a, b):
        first = until(lambda: a.leads() or b.leads())
        road.cut()
        until(lambda: a.leads() is None and b.leads() is None, within_s=TIMES.ttl_s)
        until(lambda: a.leadership.view.problem and b.leadership.view.problem)
        time_up = time.monotonic() + TIMES.ttl_s
        until(lambda: time.monotonic() > time_up)
        assert a.leads() is None
        assert b.leads() is None

        road.heal()
        second = until(lambda: a.leads() or b.leads())
        until(lambda: a.leadership.view.term == b.leadership.view.term == second)
        until(lambda: a.leadership.view.problem == b.leadership.view.problem == "")
    assert second > first
    assert a.told("database_lost")
    assert a.told("database_back")


def test_a_connection_that_breaks_costs_nobody_the_lead(database_url: str, make: Any) -> None:
    with road_to(database_url) as (road, url), nodes(make("a", url)) as (a,):
        first = until(a.leads)
        road.cut()
        road.heal()
        until(lambda: a.told("database_back"))
        until(lambda: held_by(database_url) is not None)
        assert a.leads() == first
    assert [fields["term"] for fields in a.told("elected")] == [first]


def held_by(url: str) -> int | None:
    """The session in the lease, if it has the cluster's lock."""
    rows = ask(
        url,
        "SELECT e.backend_pid FROM sync_metadata.leader_election AS e JOIN pg_locks AS l ON l.pid = e.backend_pid"
        " WHERE l.locktype = 'advisory' AND l.granted",
    )
    return rows[0][0] if rows else None


def test_a_session_that_the_server_still_keeps_does_not_keep_its_own_process_from_the_lock(
    database_url: str, host_id: UUID
) -> None:
    """Half-open: this end has given the connection up, the other has not noticed."""
    patient = TIMES.model_copy(update={"ttl_s": 8, "margin_s": 0.8})
    with road_to(database_url) as (road, url), nodes(Node(identity(host_id, "sync-node-a", patient), url)) as (a,):
        first = until(a.leads)
        former = until(lambda: held_by(database_url))
        road.silence()
        road.forget()  # what comes from now on is answered
        until(lambda: a.told("database_lost"))
        moved_on(database_url, former)
        assert lease(database_url) == (a.identity.node_id, first)
        assert a.leads() == first
    assert [fields["reason"] for fields in a.told("lost")] == ["stopped"]


def test_a_restart_within_the_lease_leads_at_once_with_a_new_term(database_url: str, start: Any) -> None:
    first_process = start("a", LONG)
    first = until(first_process.leads)
    first_process.signal(signal.SIGKILL)
    first_process.wait()
    again = start("a", LONG)
    second = until(again.leads)

    started_at = again.told("started")[0]["at"]
    assert second > first
    assert next(at for at, term in again.terms() if term == second) - started_at < LONG.ttl_s / 4
    assert lease(database_url) == (again.told("started")[0]["node_id"], second)


def test_the_second_process_of_a_name_waits_until_the_first_has_stopped(database_url: str, make: Any) -> None:
    with nodes(make("a")) as (one,):
        first = until(one.leads)
        with nodes(make("a")) as (two,):
            until(lambda: two.told("name_refused"))
            looks = until(lambda: two.leadership.view.heard_at)
            time_up = looks + TIMES.ttl_s
            until(lambda: two.leadership.view.heard_at > time_up)
            assert one.leads() == first
            assert two.leads() is None
            assert "Another process has the name sync-node-a" in two.leadership.view.problem
            assert len(two.told("name_refused")) == 1

            one.stop.set()
            second = until(two.leads)
            assert two.leadership.view.problem == ""
    assert second > first
    assert lease(database_url) == (two.identity.node_id, second)


def test_a_live_process_that_loses_its_session_keeps_its_name(database_url: str, make: Any) -> None:
    with nodes(make("a")) as (one,):
        until(one.leads)
        with nodes(make("a")) as (two,):
            until(lambda: two.told("name_refused"))
            for _ in range(5):
                session = until(lambda: held_by(database_url))
                ask(database_url, "SELECT pg_terminate_backend(%s)", session)
                moved_on(database_url, session)
            assert not two.told("name_taken")
            assert not one.told("name_lost")


def test_a_leader_whose_name_is_taken_leads_no_more(database_url: str, make: Any) -> None:
    with nodes(make("a")) as (a,):
        term = until(a.leads)
        ask(database_url, "UPDATE sync_metadata.sync_nodes SET boot_id = gen_random_uuid()")
        until(lambda: a.told("name_lost"))
        until(lambda: a.leads() is None)
        until(lambda: {"term": term, "reason": "its name is another process's"} in a.told("lost"))
        until(lambda: "Another process" in a.leadership.view.problem)
        expired = ask(database_url, "SELECT expires_at <= clock_timestamp() FROM sync_metadata.leader_election")
        assert expired == [(True,)]


def moved_on(url: str, former: int) -> int:
    """Wait until another session has the lock."""
    found: int = until(lambda: (session := held_by(url)) != former and session)
    return found


def switch_over(url: str, wanted: str) -> bool:
    with Database(SecretStr(url)).connect() as connection:
        return SyncStore(connection).request_switch_over(CLUSTER, wanted)


def test_a_switch_over_leaves_the_cluster_without_a_leader_for_less_than_a_second(database_url: str, make: Any) -> None:
    with nodes(make("a")) as (a,):
        first = until(a.leads)
        with nodes(make("b")) as (b,), sampled(a, b) as samples:
            sees(b, "sync-node-a")
            assert switch_over(database_url, "sync-node-b")
            second = until(b.leads)
            sees(a, "sync-node-b")
            time_up = time.monotonic() + 1.5 * TIMES.ttl_s
            until(lambda: time.monotonic() > time_up)
            assert b.leads() == second

    a_stopped = max(at for at, who, term in samples if who is a and term == first)
    b_started = min(at for at, who, term in samples if who is b and term == second)
    assert 0 < b_started - a_stopped < 1
    assert a.told("handed_over") == [{"term": first, "to": "sync-node-b"}]
    assert ask(database_url, "SELECT wanted_name FROM sync_metadata.leader_election") == [(None,)]


def test_the_work_under_way_is_let_end_before_a_switch_over_and_the_lead_kept_meanwhile(
    database_url: str, make: Any
) -> None:
    done, seen = threading.Event(), []
    a = make("a")

    def drain(seconds: float) -> None:
        seen.append((seconds > TIMES.ttl_s, a.leadership.view.draining, a.leads()))
        done.wait(10)
        seen.append(a.leads())

    a.drain = drain
    with nodes(a):
        first = until(a.leads)
        with nodes(make("b")) as (b,):
            sees(b, "sync-node-a")
            assert switch_over(database_url, "sync-node-b")
            until(lambda: seen)
            time_up = time.monotonic() + 1.5 * TIMES.ttl_s
            until(lambda: time.monotonic() > time_up)
            assert (a.leads(), b.leads()) == (first, None)
            done.set()
            until(b.leads)
            assert not a.leadership.view.draining
        a.drain = lambda _: None
    assert seen == [(True, True, first), first]


def test_nobody_hands_over_to_a_node_that_does_not_live(database_url: str, make: Any) -> None:
    with nodes(make("a")) as (a,):
        first = until(a.leads)
        with nodes(make("b")) as (b,):
            sees(b, "sync-node-a")
        assert switch_over(database_url, "sync-node-b")
        withdrawn = until(lambda: a.told("switch_over_withdrawn"))
        assert a.leads() == first
    assert withdrawn == [{"wanted": "sync-node-b", "heartbeat_age_s": None}]
    assert ask(database_url, "SELECT wanted_name FROM sync_metadata.leader_election") == [(None,)]


def test_a_wanted_node_that_does_not_come_is_waited_for_no_longer_than_a_lease(database_url: str, make: Any) -> None:
    with nodes(make("a")) as (a,):
        first = until(a.leads)
        ask(
            database_url,
            "INSERT INTO sync_metadata.sync_nodes (cluster_name, node_name, host_id, boot_id, version)"
            " SELECT cluster_name, 'sync-node-b', host_id, gen_random_uuid(), '1' FROM sync_metadata.hosts",
        )
        assert switch_over(database_url, "sync-node-b")
        until(lambda: a.told("handed_over"))
        handed = time.monotonic()
        second = until(a.leads)
        took_s = time.monotonic() - handed
    assert second > first
    assert TIMES.ttl_s - 0.5 < took_s < TIMES.ttl_s + 1.5


@pytest.mark.parametrize(
    "older",
    [
        "DELETE FROM sync_metadata.leader_election",
        "UPDATE sync_metadata.leader_election SET term = term - 1000",
        "UPDATE sync_metadata.leader_election SET leader_id = 'sync-node-b/of-old', term = 7, backend_pid = NULL",
    ],
)
def test_a_server_with_an_older_state_ends_the_lead_and_the_next_term_is_larger(
    database_url: str, make: Any, older: str
) -> None:
    with nodes(make("a")) as (a,):
        first = until(a.leads)
        ask(database_url, "UPDATE sync_metadata.leader_election SET term = term + 50")  # ahead of the clock
        until(lambda: a.told("lost"))
        ahead = until(a.leads)
        assert ahead > first + 50
        ask(database_url, f"UPDATE {_STATE} SET fence = 0")
        ask(database_url, older)
        until(lambda: len(a.told("lost")) == 2)
        assert {fields["reason"] for fields in a.told("lost")} <= {"taken over", "the lease is gone"}
        last = until(a.leads)
        assert last > ahead
        assert fences(database_url) == [last]


def test_a_term_is_above_every_fence_of_its_clients(database_url: str, make: Any) -> None:
    ask(database_url, f"UPDATE {_STATE} SET fence = 10000000000 WHERE client_name = 'beta'")
    with nodes(make("a")) as (a,):
        term = until(a.leads)
    assert term > 10_000_000_000
    assert fences(database_url) == [term]


def test_a_client_that_comes_with_a_higher_fence_gives_its_leader_a_higher_term(database_url: str, make: Any) -> None:
    terms_at_drain: list[int | None] = []
    a = make("a")
    a.drain = lambda _: terms_at_drain.append(a.leads())
    with nodes(a):
        first = until(a.leads)
        with nodes(make("b")) as (b,):
            sees(b, "sync-node-a")
            ask(database_url, f"UPDATE {_STATE} SET fence = 10000000000 WHERE client_name = 'beta'")
            until(lambda: (a.leads() or 0) > 10_000_000_000)
            assert fences(database_url) == [a.leads()]
            assert terms_at_drain == [first]
            assert not b.told("elected")


def test_a_leader_that_would_rise_gives_way_to_a_node_that_is_wanted_instead(database_url: str, make: Any) -> None:
    wanted = "UPDATE sync_metadata.leader_election SET wanted_name = 'sync-node-b', wanted_at = now()"
    # Between the look at the lease and the new term.
    with nodes(make("a", times=LONG, drain=lambda _: ask(database_url, wanted))) as (a,):
        until(a.leads)
        with nodes(make("b", times=LONG)) as (b,):
            sees(b, "sync-node-a")
            ask(database_url, f"UPDATE {_STATE} SET fence = 10000000000 WHERE client_name = 'beta'")
            assert until(b.leads) > 10_000_000_000


def test_a_client_without_a_state_is_fenced_too(database_url: str, make: Any) -> None:
    ask(database_url, f"DELETE FROM {_STATE} WHERE client_name = 'beta'")
    with nodes(make("a")) as (a,):
        term = until(a.leads)
        assert ask(database_url, f"SELECT client_name FROM {_STATE} WHERE fence = %s ORDER BY 1", term) == [
            ("acme",),
            ("beta",),
        ]


def test_a_new_leader_ends_what_the_former_had_under_way_before_it_leads(database_url: str, make: Any) -> None:
    with nodes(make("a")) as (a,):
        until(a.leads)
        mine = a.identity.node_id
        with (
            holding(database_url, f"UPDATE {_STATE} SET generation = 99 WHERE client_name = 'acme'", mine) as work,
            nodes(make("b")) as (b,),
        ):
            sees(b, "sync-node-a")
            a.stop.set()
            term = until(b.leads)
            with pytest.raises(psycopg.OperationalError):
                work.execute("SELECT 1")
    assert int(str(b.told("elected")[0]["sessions_ended"])) >= 1
    assert fences(database_url) == [term]
    assert ask(database_url, f"SELECT max(generation) FROM {_STATE}") == [(0,)]


def test_a_new_leader_closes_the_jobs_of_the_terms_before(database_url: str, make: Any) -> None:
    ask(
        database_url,
        "INSERT INTO sync_metadata.sync_jobs (deployment_id, client_name, status, term, cancel_requested_at)"
        " SELECT deployment_id, client_name, 'running', 5, CASE client_name WHEN 'beta' THEN now() END"
        " FROM sync_metadata.client_deployments",
    )
    with nodes(make("a")) as (a,):
        until(a.leads)
        jobs = ask(database_url, "SELECT client_name, status, error_message FROM sync_metadata.sync_jobs ORDER BY 1")
    said = "its node stopped or lost the lead (term 5)"
    assert jobs == [("acme", "failed", said), ("beta", "cancelled", said)]
    assert a.told("elected")[0]["jobs_closed"] == 2


def test_nobody_leads_before_the_fences_are_raised_and_the_lease_is_kept_meanwhile(
    database_url: str, make: Any
) -> None:
    with holding(database_url, f"SELECT * FROM {_STATE} WHERE client_name = 'acme' FOR UPDATE") as other:
        with nodes(make("a")) as (a,):
            until(lambda: a.told("waits_for_writers"))
            mine, term = until(lambda: lease(database_url))
            time_up = time.monotonic() + 1.5 * TIMES.ttl_s
            until(lambda: time.monotonic() > time_up)
            assert a.leads() is None
            assert "waits for a transaction" in a.leadership.view.problem
            assert lease(database_url) == (mine, term)
            assert ask(database_url, "SELECT expires_at > clock_timestamp() FROM sync_metadata.leader_election") == [
                (True,)
            ]
            assert fences(database_url) == [0]

            other.rollback()
            assert until(a.leads) == term
            assert a.leadership.view.problem == ""
        assert fences(database_url) == [term]
    assert len(a.told("waits_for_writers")) == 1


def test_a_lease_lasts_from_before_its_renewal_was_sent(database_url: str, make: Any) -> None:
    """However long the answer takes: the server may have reckoned from the beginning."""
    blocked = "SELECT 1 FROM pg_stat_activity WHERE application_name = %s AND wait_event_type = 'Lock'"
    with nodes(make("a")) as (a,):
        until(a.leads)
        with holding(database_url, "SELECT * FROM sync_metadata.leader_election FOR UPDATE"):
            until(lambda: ask(database_url, blocked, a.identity.node_id))
            held_until = time.monotonic() + 0.2
            until(lambda: time.monotonic() > held_until)
        until(lambda: a.leadership.view.leads_until + TIMES.margin_s > held_until + TIMES.ttl_s - 0.4)
        own_end = a.leadership.view.leads_until + TIMES.margin_s
        rows = ask(
            database_url,
            "SELECT extract(epoch FROM expires_at - clock_timestamp())::float8 FROM sync_metadata.leader_election",
        )
        assert own_end < time.monotonic() + rows[0][0] + 0.05
        assert len(a.told("elected")) == 1


def test_a_leader_finds_out_by_its_renewal_that_the_lease_is_anothers(database_url: str, host_id: UUID) -> None:
    seldom = TIMES.model_copy(update={"poll_s": 60})
    with nodes(Node(identity(host_id, "sync-node-a", seldom), database_url)) as (a,):
        term = until(a.leads)
        ask(database_url, "UPDATE sync_metadata.leader_election SET leader_id = 'x', term = term + 1")
        until(lambda: a.told("lost"))
    assert a.told("lost") == [{"term": term, "reason": "taken over"}]


def test_a_lease_that_somebody_holds_locked_costs_the_lead_in_time_and_not_for_good(
    database_url: str, make: Any
) -> None:
    with nodes(make("a")) as (a,), sampled(a) as samples:
        first = until(a.leads)
        with holding(database_url, "SELECT * FROM sync_metadata.leader_election FOR UPDATE"):
            locked = time.monotonic()
            until(lambda: a.leads() is None)
            led_until = max(at for at, _, term in samples if term == first)
            assert led_until - locked < TIMES.ttl_s - TIMES.margin_s + 0.2
            until(lambda: a.told("lost"))
        assert until(a.leads) > first
    assert a.told("retried")
    assert not a.told("database_lost")


@pytest.mark.parametrize("moved_s", [3600, -3600])
def test_a_node_whose_clock_is_wrong_leads_and_follows_like_any_other(
    database_url: str, make: Any, moved_s: float
) -> None:
    moved = Leadership(wall=lambda: time.time() + moved_s)
    with nodes(make("a", leadership=moved)) as (a,):
        first = until(a.leads)
        with nodes(make("b")) as (b,):
            sees(b, "sync-node-a")
            until(lambda: heard(database_url, "sync-node-a", moved_s))
            time_up = time.monotonic() + TIMES.ttl_s
            until(lambda: time.monotonic() > time_up)
            assert (a.leads(), b.leads()) == (first, None)
            a.stop.set()
            second = until(b.leads)
            assert abs(second - time.time()) < 60
    assert abs((a.leadership.view.clock_skew_s or 0) + moved_s) < 1
    assert abs(b.leadership.view.clock_skew_s or 0) < 1


def heard(url: str, node: str, moved_s: float) -> bool:
    rows = ask(url, "SELECT clock_skew_seconds FROM sync_metadata.sync_nodes WHERE node_name = %s", node)
    return bool(rows and rows[0][0] is not None and abs(rows[0][0] + moved_s) < 1)


def test_each_node_says_whom_it_sees_and_the_machine_lives(database_url: str, make: Any) -> None:
    ask(database_url, "UPDATE sync_metadata.hosts SET last_heartbeat = now() - interval '1 hour', status = 'offline'")
    with nodes(make("a")) as (a,):
        term = until(a.leads)
        a.leadership.last_event = 41
        with nodes(make("b")) as (b,):
            sees(b, "sync-node-a")
            said = [("sync-node-a", "sync-node-a", term, 41), ("sync-node-b", "sync-node-a", term, 0)]
            until(lambda: opinions(database_url) == said)
            assert ask(
                database_url,
                "SELECT status, last_heartbeat > now() - interval '1 minute' FROM sync_metadata.hosts",
            ) == [("active", True)]


def opinions(url: str) -> list[Any]:
    return ask(
        url, "SELECT node_name, leader_seen, term_seen, last_event FROM sync_metadata.sync_nodes ORDER BY node_name"
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_among_three_that_come_and_go_one_leads_and_every_term_is_one_nodes(
    database_url: str, make: Any, seed: int
) -> None:
    chance, members = random.Random(seed), [make(letter) for letter in "abc"]
    everybody = list(members)
    elected: list[tuple[float, Any, str]] = []
    with nodes(*members):
        for _ in range(12):
            leader = until(lambda: next((node for node in members if node.leads()), None))
            disturb(database_url, chance, members, everybody, leader)
        until(lambda: agreed(members) and agreed(members) == lease(database_url), within_s=20)
        for node in members:
            node.stop.set()
    for node in everybody:
        node.end()
        elected += [
            (at, fields["term"], node.identity.node_id) for at, name, fields in node.events if name == "elected"
        ]
    terms = [term for _, term, _ in sorted(elected)]
    assert len(terms) >= 6
    assert terms == sorted(set(terms))


def agreed(members: list[Node]) -> tuple[str, int] | None:
    """The one leader that all see, with the term that it leads with."""
    leaders = [(node.identity.node_id, term) for node in members if (term := node.leads())]
    seen = {(node.leadership.view.leader_id, node.leadership.view.term) for node in members}
    return leaders[0] if len(leaders) == 1 and seen == set(leaders) else None


def disturb(url: str, chance: random.Random, members: list[Node], everybody: list[Node], leader: Node) -> None:
    """End the leader's process or session, or ask for another; and wait for a change."""
    term = leader.leads()
    action = chance.choice(["stop", "session", "switch"])
    if action == "stop":
        leader.end()
        again = Node(identity(leader.identity.spec.host_id, leader.identity.name), url)
        members[members.index(leader)] = again
        everybody.append(again.start())
    elif action == "session":
        ask(url, "SELECT pg_terminate_backend(backend_pid) FROM sync_metadata.leader_election")
        until(lambda: leader.told("database_lost"))
        return
    else:
        wanted = chance.choice([node for node in members if node is not leader])
        until(lambda: wanted.told("name_taken"))  # a leader withdraws a request for a node that has only been started
        switch_over(url, wanted.identity.name)
    until(lambda: leader.leads() != term, what=f"{action} of {leader.identity.node_id}")


def test_the_role_of_the_nodes_may_all_that_and_nothing_of_another_cluster(database_url: str) -> None:
    """Row level security, and the rights of a cluster's login role."""
    cluster = f"c{database_url.rpartition('_')[2]}"
    client, other = f"x{cluster}", f"y{cluster}"
    host_id = add_host(database_url, client, cluster=cluster)
    add_host(database_url, other, cluster=f"o{cluster}")
    roles = [f"sync_node_{cluster}", f"sync_owner_{client}", f"sync_owner_{other}"]
    node, owner, stranger = roles
    url = database_url.replace("postgres:test-only", f"{node}:of-the-test")
    try:
        for statement in (
            f"CREATE ROLE {owner}; CREATE ROLE {stranger}; CREATE ROLE {node} LOGIN INHERIT PASSWORD 'of-the-test'",
            f"GRANT {owner} TO {node}",
            f"SELECT sync_metadata.grant_node_access('{cluster}'), sync_metadata.grant_client_access('{client}')",
        ):
            ask(database_url, statement)
        with nodes(Node(identity(host_id, "sync-node-a", cluster=cluster), url)) as (a,):
            first = until(a.leads)
            with nodes(Node(identity(host_id, "sync-node-b", cluster=cluster), url)) as (b,):
                sees(b, "sync-node-a")
                with holding(url, "SELECT 1", a.identity.node_id):
                    a.stop.set()
                    second = until(b.leads)
        assert second > first
        assert int(str(b.told("elected")[0]["sessions_ended"])) >= 1
        states = ask(database_url, f"SELECT client_name, fence FROM {_STATE} ORDER BY 1")
        assert states == [(client, second), (other, 0)]
    finally:
        ask(database_url, f"DROP OWNED BY {', '.join(roles)}; DROP ROLE {', '.join(roles)}")
