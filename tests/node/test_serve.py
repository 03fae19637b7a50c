"""The node as it runs: a process, its threads and its end, on a real PostgreSQL and real SQLite files."""

import ctypes
import os
import secrets
import signal
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from client_manager.app import App
from client_manager.replication.replica import Replica
from client_manager.replication.trouble import Fenced
from client_manager.settings import Settings
from client_manager.workflows.unblock_cluster import DATA_STAYS, migrate_client
from tests.node.nodes import ask
from tests.node.process import TIMES, TOKEN, Machine, RunningNode, machine
from tests.node.road import road_to
from tests.ports import free_port
from tests.waiting import until

Start = Callable[..., RunningNode]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts nodes, and ends them."""
    nodes: list[RunningNode] = []

    def begin(where: Machine, name: str = "sync-node-a", *arguments: str, **environment: str) -> RunningNode:
        nodes.append(RunningNode(where, name, arguments))
        return nodes[-1].start(environment)

    yield begin
    for node in nodes:
        node.end()


@pytest.fixture
def here(tmp_path: Path, database_url: str) -> Machine:
    return machine(tmp_path, database_url, "acme")


def _titles(url: str, client: str) -> list[str]:
    query = sql.SQL("SELECT title FROM {}.chat ORDER BY id").format(sql.Identifier(client))
    with psycopg.connect(url) as connection:
        try:
            return [title for (title,) in connection.execute(query)]
        except psycopg.errors.UndefinedTable:
            return []


# --- what a node does


def test_a_node_leads_replicates_and_says_so(start: Start, here: Machine) -> None:
    node = start(here)
    health = node.leads()
    assert health["node_id"].startswith("sync-node-a/")
    until(lambda: _titles(here.url, "acme") == ["first", "second"])
    health = node.becomes(lambda health: health["last_sync"] is not None)
    assert (health["leader_name"], health["problem"]) == ("sync-node-a", "")
    assert 0 <= health["last_sync_age_s"] < 60
    until(lambda: node.events("job_ended"))
    assert [line["status"] for line in node.events("job_ended")] == ["success"]


def test_a_trigger_on_the_follower_is_a_job_of_the_leader(start: Start, here: Machine) -> None:
    leader = start(here, "sync-node-a")
    leader.leads()
    follower = start(here, "sync-node-b")
    follower.follows()
    until(lambda: _titles(here.url, "acme"))
    with sqlite3.connect(here.database("acme")) as connection:
        connection.execute("INSERT INTO chat VALUES ('3', 'third')")
    connection.close()
    answer = follower.request("POST", "/api/v1/sync/trigger", {"client_name": "acme"})
    assert answer.json()["status"] == "queued"
    job = answer.json()["job_id"]

    def ended() -> list[tuple[str, str]]:
        query = "SELECT status, node_name FROM sync_metadata.sync_jobs WHERE job_id = %s AND completed_at IS NOT NULL"
        return ask(here.url, query, job)

    assert until(ended) == [("success", "sync-node-a")]
    assert _titles(here.url, "acme") == ["first", "second", "third"]
    status = follower.request("GET", "/api/v1/cluster/status").json()
    assert [node["node_name"] for node in status["sync_nodes"]] == ["sync-node-a", "sync-node-b"]
    assert (status["lease"]["leader_name"], status["nodes"][0]["leader_status"]) == ("sync-node-a", "leader")


def test_the_metrics_hold_what_happened(start: Start, here: Machine) -> None:
    node = start(here)
    node.leads()
    until(lambda: node.metric("sync_operations_total", client="acme", status="success"))
    assert node.metric("sync_rows_processed_total", client="acme") == 2
    assert node.metric("sync_duration_seconds_count", client="acme") == 1
    assert node.metric("leader_elections_total", result="won") == 1
    assert node.metric("sync_container_is_leader", node_id="sync-node-a", cluster="prod") == 1
    assert node.metric("state_cache_size") == 1
    expires = node.metric("leader_lease_expires_timestamp", cluster="prod") or 0
    assert 0 < expires - time.time() <= here.spec.times.ttl_s
    assert abs((node.metric("last_successful_sync_timestamp", client="acme") or 0) - time.time()) < 30


def test_a_takeover_is_counted(start: Start, here: Machine) -> None:
    first = start(here, "sync-node-a")
    first.leads()
    second = start(here, "sync-node-b")
    second.follows()
    first.process.kill()
    second.leads()
    until(lambda: second.metric("failover_events_total", from_node="sync-node-a", to_node="sync-node-b") == 1)


# --- PostgreSQL comes and goes


def test_health_follows_postgres(start: Start, tmp_path: Path, database_url: str) -> None:
    with road_to(database_url) as (road, url):
        node = start(machine(tmp_path, database_url, own_url=url))
        node.leads()
        road.cut()
        demoted = node.becomes(lambda health: health["http"] == 503)
        assert (demoted["status"], demoted["is_leader"]) == ("unhealthy", False)
        lost = node.becomes(lambda health: not health["database"]["reachable"])
        assert (lost["http"], lost["leader_id"], lost["term"]) == (503, None, None)
        assert lost["database"]["heard_age_s"] >= node.machine.spec.times.ttl_s
        assert node.request("GET", "/api/v1/cluster/status").status_code == 503
        road.heal()
        node.leads()
        assert (node.metric("heartbeat_failures_total", node_id="sync-node-a") or 0) >= 1


def test_a_node_starts_before_postgres(start: Start, tmp_path: Path, database_url: str) -> None:
    with road_to(database_url) as (road, url):
        road.cut()
        node = start(machine(tmp_path, database_url, own_url=url))
        waiting = node.becomes(lambda health: health["http"] == 503)
        assert "PostgreSQL has not answered yet" in waiting["problem"]
        road.heal()
        node.leads()


def test_a_node_waits_for_the_migrations_and_says_so(start: Start, tmp_path: Path, postgres: str) -> None:
    from pydantic import SecretStr

    from client_manager.database.migrations import migrate
    from client_manager.gateways.database import Database
    from tests.postgres import fresh_database

    with fresh_database(postgres) as model, fresh_database(postgres, template="template1") as bare:
        node = start(machine(tmp_path, model, own_url=bare))
        waiting = node.becomes(lambda health: health["http"] == 503 and "lacks" in health["problem"])
        assert "client-manager database migrate" in waiting["problem"]
        migrate(Database(SecretStr(bare)))
        query = "INSERT INTO sync_metadata.hosts (host_id, hostname, cluster_name) VALUES (%s, 'prod-host', 'prod')"
        ask(bare, query, node.machine.spec.host_id)
        node.leads()


def test_a_new_password_needs_no_restart(start: Start, tmp_path: Path, database_url: str) -> None:
    role, old, new = "node_of_the_test", "the-old/password", "the-new/password"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD '{old}'")
    host = database_url.partition("@")[2]
    try:
        node = start(machine(tmp_path, database_url, own_url=f"postgresql://{role}:{quote(old, safe='')}@{host}"))
        node.leads()
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(f"ALTER ROLE {role} PASSWORD '{new}'")
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [role])
        node.becomes(lambda health: health["http"] == 503)
        assert "let this user in" in node.health()["problem"]
        node.machine.write_url(f"postgresql://{role}:{quote(new, safe='')}@{host}")
        node.leads()
        assert node.stop() == 0
        written = "\n".join(node.lines) + node.complaints
        for secret in (old, new, quote(old, safe=""), quote(new, safe=""), TOKEN):
            assert secret not in written
    finally:
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [role])
            connection.execute(f"DROP OWNED BY {role}")
            connection.execute(f"DROP ROLE {role}")


def test_a_new_token_needs_no_restart(start: Start, here: Machine) -> None:
    node = start(here)
    node.leads()
    here.folder.token.write_text("the-next-token\n")
    assert [node.request("GET", "/", token=token).status_code for token in (TOKEN, "the-next-token")] == [401, 200]


@pytest.fixture
def roles(database_url: str) -> Iterator[Callable[[str], str]]:
    """Makes names of clusters with a role for their nodes, and of clients; their roles are gone at the end."""
    mark = secrets.token_hex(4)
    with psycopg.connect(database_url, autocommit=True) as connection:

        def made(name: str) -> str:
            if name != "acme":
                connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(f"sync_node_{name}-{mark}")))
            return f"{name}-{mark}"

        yield made
        for (role,) in connection.execute(
            "SELECT rolname FROM pg_roles WHERE rolname LIKE %s", [f"%{mark}"]
        ).fetchall():
            connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(role)))
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def test_a_client_of_a_cluster_with_higher_terms_is_replicated_by_its_new_one_at_once(
    start: Start, tmp_path: Path, database_url: str, roles: Callable[[str], str]
) -> None:
    client, prod, spare = roles("acme"), roles("prod"), roles("spare")
    former = machine(tmp_path, database_url, client, cluster=prod)
    new = machine(tmp_path, database_url, cluster=spare)
    ask(
        database_url,
        "INSERT INTO sync_metadata.leader_election (cluster_name, leader_id, acquired_at, expires_at, term)"
        " VALUES (%s, 'sync-node-a/of-old', now() - interval '1 s', now(), 10000000000)",
        prod,
    )
    leader = start(former)
    leader.leads()
    start(new).leads()
    until(lambda: _titles(database_url, client) == ["first", "second"])

    console = App(Settings(data_root=tmp_path / "x", state_dir=tmp_path / "s", database_url=SecretStr(database_url)))
    began = time.monotonic()
    moved = migrate_client(console, client, spare, lambda _: None)
    with sqlite3.connect(former.database(client)) as connection:
        connection.execute("INSERT INTO chat VALUES ('3', 'third')")
    connection.close()
    until(lambda: _titles(database_url, client) == ["first", "second", "third"])

    assert time.monotonic() - began < 30
    assert moved.notes == (DATA_STAYS,)
    replica = Replica(console.database, client)
    with console.database.connect() as late:
        writing = replica.writing(late, replica.state(late), leader.health()["term"])
        with pytest.raises(Fenced, match="another node"), writing:
            raise AssertionError


# --- how it ends


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_hands_over_and_exits_0(start: Start, here: Machine, number: signal.Signals) -> None:
    here.spec = here.spec.model_copy(update={"times": TIMES.model_copy(update={"ttl_s": 30})})
    here.folder.spec.write_text(here.spec.model_dump_json())
    first = start(here, "sync-node-a")
    first.leads()
    second = start(here, "sync-node-b")
    second.follows()
    began = time.monotonic()
    first.process.send_signal(number)
    second.leads(within_s=15)
    assert first.wait() == 0
    assert time.monotonic() - began < 20  # by its lease it led for 30
    assert [line["event"] for line in first.told if line["event"] in {"stopping", "stopped"}] == ["stopping", "stopped"]
    query = "SELECT node_name FROM sync_metadata.sync_nodes WHERE stopped_at IS NOT NULL"
    assert ask(here.url, query) == [("sync-node-a",)]


def test_a_stop_that_another_thread_is_given_begins_at_once(start: Start, here: Machine) -> None:
    node = start(here)
    node.leads()
    pid = node.process.pid
    other = next(int(task.name) for task in Path(f"/proc/{pid}/task").iterdir() if int(task.name) != pid)
    assert ctypes.CDLL(None).tgkill(pid, other, signal.SIGTERM) == 0
    until(lambda: node.events("stopping"))
    assert node.wait() == 0


def test_a_stop_works_without_postgres(start: Start, tmp_path: Path, database_url: str) -> None:
    with road_to(database_url) as (road, url):
        node = start(machine(tmp_path, database_url, own_url=url))
        node.leads()
        road.silence()
        began = time.monotonic()
        assert node.stop() == 0
        assert time.monotonic() - began < 20


def test_a_second_process_of_a_name_is_unhealthy_and_leads_not(start: Start, here: Machine, tmp_path: Path) -> None:
    first = start(here)
    first.leads()
    other = Machine(here.data_root, here.url, here.spec.model_copy(update={"ports": {"sync-node-a": free_port()}}))
    own = tmp_path / "second"
    own.mkdir()
    for file in ("token", "database.url"):
        (own / file).symlink_to(here.folder.path / file)
    (own / "cluster.json").write_text(other.spec.model_dump_json())
    second = start(other, "sync-node-a", "--cluster-folder", str(own))
    refused = second.becomes(lambda health: health["http"] == 503 and "name" in health["problem"])
    assert not refused["is_leader"]
    assert refused["database"]["reachable"]
    assert first.health()["is_leader"]


@pytest.mark.parametrize(
    ("spoil", "names"),
    [
        (lambda folder: folder.spec.unlink(), "cluster.json"),
        (lambda folder: folder.spec.write_text("{"), "cluster.json"),
        (lambda folder: folder.spec.write_text(folder.spec.read_text()[:-1] + ', "more": 1}'), "more"),
        (lambda folder: folder.database_url.unlink(), "database.url"),
        (lambda folder: folder.database_url.write_text("postgresql://u:p w@h/d"), "URL"),
        (lambda folder: folder.token.unlink(), "token"),
        (lambda folder: folder.token.write_text(" \n"), "token"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_exit_3(
    start: Start, here: Machine, spoil: Callable[[object], object], names: str
) -> None:
    spoil(here.folder)
    node = start(here)
    assert node.wait() == 3
    assert names in node.complaints
    assert "p w" not in node.complaints


@pytest.mark.parametrize("library", ["fastapi", "prometheus_client", "uvicorn"])
def test_a_library_that_is_not_installed_is_exit_3(start: Start, here: Machine, tmp_path: Path, library: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules['{library}'] = None\n")
    node = start(here, PYTHONPATH=f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    assert node.wait() == 3
    assert "pip install 'client-manager[node]'" in node.complaints


def test_an_unknown_node_is_exit_2(start: Start, here: Machine) -> None:
    assert start(here, "sync-node-c").wait() == 2


def test_a_port_that_is_taken_is_exit_6(start: Start, here: Machine) -> None:
    with socket.create_server(("127.0.0.1", here.spec.ports["sync-node-a"])):
        assert start(here).wait() == 6


BROKEN = """
import client_manager.node.{module} as module, threading
def broken(self, *arguments, **named):
    raise AssertionError("the tests' own bug")
module.{name} = broken
"""


@pytest.mark.parametrize(
    ("module", "name"), [("election", "Election._serve"), ("scheduler", "Scheduler._turn"), ("crew", "Crew._next")]
)
def test_a_thread_with_a_bug_takes_the_process_down(
    start: Start, here: Machine, tmp_path: Path, module: str, name: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(BROKEN.format(module=module, name=f"{name}"))
    node = start(here, "sync-node-a", PYTHONPATH=f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    assert node.wait() == 70
    line, *_ = node.events("thread_ended")
    assert line["level"] == "critical"
    assert "the tests' own bug" in line["traceback"]


# --- what it writes


def test_every_line_is_json_and_idle_time_writes_none(start: Start, here: Machine) -> None:
    with psycopg.connect(here.url, autocommit=True) as connection:
        connection.execute("UPDATE sync_metadata.client_deployments SET sync_interval = 1")
    node = start(here)
    node.leads()
    until(lambda: (node.metric("sync_looks_total", outcome="idle") or 0) >= 2)
    before = len(node.lines)
    looks = node.metric("sync_looks_total", outcome="idle") or 0
    until(lambda: (node.metric("sync_looks_total", outcome="idle") or 0) >= looks + 3)
    assert node.lines[before:] == []
    for line in node.told:
        assert {"ts", "level", "event", "node", "cluster", "term"} <= line.keys()
        assert line["ts"].endswith("+00:00")
        assert (line["node"], line["cluster"]) == ("sync-node-a", "prod")


def test_the_port_is_written_where_the_health_check_looks(start: Start, here: Machine, tmp_path: Path) -> None:
    file = tmp_path / "port"
    node = start(here, CLIENT_MANAGER_PORT_FILE=str(file))
    node.leads()
    assert int(file.read_text()) == here.spec.ports["sync-node-a"]


def test_the_process_is_small(start: Start, here: Machine) -> None:
    node = start(here)
    node.leads()
    until(lambda: _titles(here.url, "acme"))
    node.metric("sync_jobs_active")
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{node.process.pid}/status").read_text().splitlines() if ":" in line
    )
    assert int(status["VmHWM"].split()[0]) < 110 * 1024, {name: status[name] for name in ("VmRSS", "VmHWM")}
