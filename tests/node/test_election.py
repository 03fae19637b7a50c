"""Who leads a cluster, on a real server: one at a time, and always somebody who may."""

import time
from uuid import UUID

import pytest

from tests.node.nodes import Node, add_host, ask, identity, lease, nodes, until


@pytest.fixture
def host_id(database_url: str) -> UUID:
    return add_host(database_url, "acme", "beta")


def test_the_first_node_leads_with_the_servers_seconds_as_its_term(database_url: str, host_id: UUID) -> None:
    with nodes(Node(identity(host_id, "sync-node-a"), database_url)) as (a,):
        term = until(a.leads)

        assert lease(database_url) == (a.identity.node_id, term)
        assert abs(term - time.time()) < 60
        assert a.leadership.view.leader_name == "sync-node-a"
        assert a.leadership.view.keeps_sessions
        fences = ask(database_url, "SELECT DISTINCT fence FROM sync_metadata.replication_state")
    assert fences == [(term,)]
    assert a.leads() is None


def test_the_lead_is_handed_over_at_a_stop(database_url: str, host_id: UUID) -> None:
    with nodes(Node(identity(host_id, "sync-node-a"), database_url)) as (a,):
        first = until(a.leads)
        with nodes(Node(identity(host_id, "sync-node-b"), database_url)) as (b,):
            until(lambda: b.leadership.view.leader_name == "sync-node-a")
            started = time.monotonic()
            a.stop.set()
            second = until(b.leads)
            took_s = time.monotonic() - started
    assert second > first
    assert took_s < 0.5
