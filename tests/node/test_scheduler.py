"""The leader's work, on a real PostgreSQL, with real databases that are being written."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node.machine import Machine, Node, running
from tests.node.nodes import add_host, until


@pytest.fixture
def machine(database_url: str, tmp_path: Path) -> Iterator[Machine]:
    found = Machine(database_url, tmp_path / "openwebui", add_host(database_url))
    found.data_root.mkdir()
    yield found
    for client in found.clients.values():
        client.app.close()


@pytest.fixture
def node(machine: Machine) -> Iterator[Node]:
    with running(Node(machine)) as found:
        yield found


def test_the_leader_replicates_its_clients_and_follows_them(machine: Machine, node: Node) -> None:
    for name in ("acme", "beta"):
        machine.add(name).write("c1")
    assert node.scheduler.snapshot().term is None
    node.lead(1)
    node.synced()
    machine.clients["acme"].write("c2", "c3")
    node.synced("acme")
    [(status, age, due)] = machine.sql(
        "SELECT last_sync_status, clock_timestamp() - last_sync_at < interval '10 s', next_sync_at IS NOT NULL"
        " FROM sync_metadata.client_deployments WHERE client_name = 'acme'"
    )
    assert (status, age, due) == ("success", True, True)
    assert machine.sql("SELECT DISTINCT node_name, term FROM sync_metadata.sync_jobs") == [("sync-node-a", 1)]
    work = node.scheduler.snapshot()
    assert work.term == 1
    assert {client.client for client in work.clients} == {"acme", "beta"}
    assert work.outcomes["success"] >= 3
    assert node.scheduler.last_sync() is not None
