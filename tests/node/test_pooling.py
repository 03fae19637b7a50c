"""Behind a pooler: what it is, is found out, and where it shares sessions the lease alone decides."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any
from uuid import UUID

import psycopg
import pytest
from pydantic import SecretStr

from client_manager.errors import Conflict, Unavailable
from client_manager.gateways import node_store, pooling
from client_manager.gateways.database import Database
from client_manager.gateways.line import Line
from client_manager.gateways.node_store import Claimant, NodeStore
from tests.conftest import OPEN_WEBUI
from tests.integration.pooler import running_pooler
from tests.node.nodes import CLUSTER, TIMES, Node, add_host, ask, identity, lease, nodes
from tests.node.road import road_to
from tests.waiting import until

pytestmark = pytest.mark.timeout(400)  # the first run installs pgbouncer


@pytest.fixture
def host_id(database_url: str) -> UUID:
    return add_host(database_url, "acme")


@pytest.fixture
def transactions(docker_api: Any, database_url: str) -> Iterator[str]:
    with running_pooler(docker_api, OPEN_WEBUI, database_url, "transaction") as through:
        yield through


def claimant(host_id: UUID, name: str = "sync-node-a") -> Claimant:
    who = identity(host_id, name)
    return Claimant(
        cluster=CLUSTER, node=name, node_id=who.node_id, host_id=host_id, boot_id=who.boot_id,
        api_port=9443, version="1", ttl_s=2,
    )  # fmt: skip


def test_a_connection_of_ones_own_is_a_session(database_url: str) -> None:
    assert pooling.detect(Database(SecretStr(database_url))) == "session"


def test_a_pooler_of_sessions_keeps_them(docker_api: Any, database_url: str) -> None:
    with running_pooler(docker_api, OPEN_WEBUI, database_url, "session") as through:
        assert pooling.detect(Database(SecretStr(through))) == "session"


@pytest.mark.parametrize("busy", [0, 1, 2])
def test_a_pooler_of_transactions_is_found_out_however_many_sessions_it_has(transactions: str, busy: int) -> None:
    """It has three; some of them are taken by others."""
    with ExitStack() as others:
        connections = [others.enter_context(psycopg.connect(transactions)) for _ in range(3)]
        for connection in connections:
            connection.execute("SELECT 1")
        for connection in connections[busy:]:
            connection.rollback()

        assert pooling.detect(Database(SecretStr(transactions)), patience_s=2) == "transaction"


def test_a_server_without_room_for_the_question_is_no_answer(database_url: str) -> None:
    role = f"limited_{database_url.rpartition('/')[2]}"
    ask(database_url, f"CREATE ROLE {role} LOGIN PASSWORD 'of-the-test' CONNECTION LIMIT 1")
    limited = database_url.replace("postgres:test-only", f"{role}:of-the-test")
    try:
        with pytest.raises(Unavailable):
            pooling.detect(Database(SecretStr(limited)))
    finally:
        ask(database_url, f"DROP ROLE {role}")


def test_behind_a_pooler_of_transactions_the_lease_decides_and_does_not_change_hands(
    database_url: str, host_id: UUID, transactions: str
) -> None:
    a, b = (Node(identity(host_id, f"sync-node-{letter}"), transactions) for letter in "ab")
    with nodes(a):
        first = until(a.leads)
        with nodes(b):
            time_up = time.monotonic() + 3 * TIMES.ttl_s
            until(lambda: b.leadership.view.leader_name == "sync-node-a")
            until(lambda: time.monotonic() > time_up)
            assert (a.leads(), b.leads()) == (first, None)
            assert not a.leadership.view.keeps_sessions
            assert ask(database_url, "SELECT backend_pid FROM sync_metadata.leader_election") == [(None,)]
            assert ask(database_url, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]
            assert not a.told("retried")
            assert not a.told("database_lost")

            a.stop.set()
            second = until(b.leads)
    assert second > first
    assert [event for _, event, _ in a.events] == ["lease_only", "name_taken", "elected", "lost"]


def test_behind_a_pooler_of_transactions_a_leader_that_is_gone_is_followed_after_its_lease(
    database_url: str, host_id: UUID, transactions: str
) -> None:
    with road_to(transactions) as (road, url), nodes(Node(identity(host_id, "sync-node-a"), url)) as (a,):
        first = until(a.leads)
        with nodes(Node(identity(host_id, "sync-node-b"), transactions)) as (b,):
            until(lambda: b.leadership.view.leader_name == "sync-node-a")
            gone = time.monotonic()
            road.cut()
            second = until(b.leads)
            took_s = time.monotonic() - gone
            assert a.leads() is None
    assert second > first
    assert TIMES.ttl_s - TIMES.renew_s - 0.3 < took_s < TIMES.ttl_s + TIMES.poll_s + 1
    assert lease(database_url) is not None


def test_a_node_that_has_handed_over_leaves_the_lead_to_the_other_even_if_that_took_long(
    database_url: str, host_id: UUID, transactions: str
) -> None:
    """The request is older than a lease by then, and the former leader is the first that sees the lease free."""
    a, b = (Node(identity(host_id, f"sync-node-{letter}"), transactions) for letter in "ab")
    longer = threading.Event()

    def drain(_: float) -> None:
        longer.wait(1.5 * TIMES.ttl_s)

    a.drain = drain
    with nodes(a):
        until(a.leads)
        with nodes(b):
            until(lambda: b.leadership.view.leader_name == "sync-node-a")
            ask(
                database_url,
                "UPDATE sync_metadata.leader_election SET wanted_name = 'sync-node-b', wanted_at = clock_timestamp()",
            )
            second = until(b.leads)
            longer.set()
            assert lease(database_url) == (b.identity.node_id, second)
    assert len(a.told("elected")) == 1


def test_a_standby_with_a_session_leaves_a_leader_alone_that_has_none(
    database_url: str, host_id: UUID, transactions: str
) -> None:
    """The lock is free, which says nothing: its leader never had it."""
    with nodes(Node(identity(host_id, "sync-node-a"), transactions)) as (a,):
        first = until(a.leads)
        with nodes(Node(identity(host_id, "sync-node-b"), database_url)) as (b,):
            until(lambda: b.leadership.view.leader_name == "sync-node-a")
            time_up = time.monotonic() + 2 * TIMES.ttl_s
            until(lambda: time.monotonic() > time_up)
            assert (a.leads(), b.leads()) == (first, None)
            assert b.leadership.view.keeps_sessions


def test_a_pooler_that_shows_itself_late_costs_the_lock_and_not_the_lead(
    database_url: str, host_id: UUID, transactions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pooling, "detect", lambda *_, **__: "session")
    with ExitStack() as others:  # so that there is more than one session to be given
        for connection in [others.enter_context(psycopg.connect(transactions)) for _ in range(2)]:
            connection.execute("SELECT 1")
            connection.rollback()
        with nodes(*(Node(identity(host_id, f"sync-node-{letter}"), transactions) for letter in "ab")) as (a, b):
            until(lambda: a.told("lease_only") and b.told("lease_only"))
            until(lambda: ask(database_url, "SELECT backend_pid FROM sync_metadata.leader_election") == [(None,)])
            until(lambda: (a.leads() and a.told("elected")) or (b.leads() and b.told("elected")))
            count = len(a.told("elected") + b.told("elected"))
            time_up = time.monotonic() + 2 * TIMES.ttl_s
            until(lambda: time.monotonic() > time_up)
            assert a.leads() or b.leads()
            assert len(a.told("elected") + b.told("elected")) == count


def test_a_server_that_is_silent_is_given_up_in_time(database_url: str, host_id: UUID) -> None:
    with (
        road_to(database_url) as (road, url),
        node_store.opened(Database(SecretStr(url)), claimant(host_id), answer_s=0.5) as store,
    ):
        store.find_session()
        road.silence()
        started = time.monotonic()
        with pytest.raises(Unavailable, match="did not answer in time"):
            store.peek_lease()
        assert 0.4 < time.monotonic() - started < 1


def test_a_statement_that_takes_too_long_leaves_the_connection_and_its_lock(database_url: str, host_id: UUID) -> None:
    with node_store.opened(Database(SecretStr(database_url)), claimant(host_id), answer_s=1) as store:
        assert store.await_session_lock(0)
        first = store.find_session()
        with pytest.raises(Conflict), store.transaction():
            store._connection.execute("SELECT pg_sleep(10)")
        assert store.find_session() == first
        locks = ask(database_url, "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted")
    assert locks == [(first,)]


def test_a_process_that_freezes_in_a_transaction_holds_the_lease_locked_no_longer_than_an_answer(
    database_url: str, host_id: UUID
) -> None:
    """Its own clock stands still, so the server's has to end it."""
    ask(
        database_url,
        "INSERT INTO sync_metadata.leader_election (cluster_name, leader_id, acquired_at, expires_at)"
        " VALUES (%s, 'x', now(), now() + interval '1 minute')",
        CLUSTER,
    )
    database = Database(SecretStr(database_url))
    with database.connect() as connection, closing(NoLine(connection, "x")) as line:
        frozen = NodeStore(connection, line, claimant(host_id), where="x", answer_s=0.5)
        with pytest.raises(Unavailable), frozen.transaction():  # noqa: PT012  the last of the statements is refused
            assert frozen.lock_lease()
            assert locked(database_url)
            until(lambda: not locked(database_url), within_s=3)
            frozen.lock_lease()


def locked(url: str) -> bool:
    return bool(ask(url, "SELECT 1 FROM pg_locks WHERE relation = 'sync_metadata.leader_election'::regclass"))


class NoLine(Line):
    """That of a process whose threads do not run."""

    def _cut(self) -> None:
        return


def test_the_session_lock_is_waited_for_and_had_once(database_url: str, host_id: UUID) -> None:
    database = Database(SecretStr(database_url))
    with node_store.opened(database, claimant(host_id, "sync-node-b"), answer_s=2) as standby:
        with node_store.opened(database, claimant(host_id), answer_s=2) as leader:
            assert leader.await_session_lock(0)
            started = time.monotonic()
            assert not standby.await_session_lock(0.3)
            assert 0.29 < time.monotonic() - started < 0.6
        assert standby.await_session_lock(1)
        standby.release_session_lock()
        assert ask(database_url, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]
