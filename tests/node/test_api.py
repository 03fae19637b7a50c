"""The API over real HTTP and a real PostgreSQL: who gets in, what is refused, and what the answers hold."""

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from pydantic import SecretStr

from client_manager.errors import Conflict
from client_manager.gateways.database import Database
from client_manager.models.cluster import ClusterFolder, ClusterSpec
from client_manager.models.sync import LeaseTimes
from client_manager.node.api import Api, make_app
from client_manager.node.health import Vitals
from client_manager.node.http_server import HttpServer
from client_manager.node.identity import Identity
from client_manager.node.leadership import Leadership
from client_manager.node.metrics import Metrics
from client_manager.node.watched_file import WatchedFile
from tests.ports import free_port

TOKEN = "a-token-of-the-tests"
ROUTES = [
    ("GET", "/"),
    ("GET", "/metrics"),
    ("GET", "/api/v1/cluster/status"),
    ("POST", "/api/v1/sync/trigger"),
    ("POST", "/api/v1/sync/cancel"),
    ("GET", "/api/v1/state/deployment.x"),
    ("PUT", "/api/v1/state/deployment.x"),
    ("GET", "/api/v1/conflicts"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("GET", "/no/such/path"),
    ("GET", "/health/"),
]


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Served:
    """An API in a thread; what it knows of the election is set by the test."""

    identity: Identity
    leadership: Leadership
    clock: Clock
    vitals: Vitals
    base: str
    client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = httpx.Client(
            base_url=self.base, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=20, trust_env=False
        )

    def hear_of(self, leader: str, *, leads: bool = False, ttl_s: float = 8) -> None:
        now = self.clock()
        self.leadership.update(
            term=7,
            leader_id=leader,
            leader_name=leader.partition("/")[0],
            leads=leads,
            leads_until=now + ttl_s - 2,
            leader_until=now + ttl_s,
            heard_at=now,
        )

    def health(self) -> tuple[int, Any]:
        answer = httpx.get(f"{self.base}/health", timeout=5, trust_env=False)
        return answer.status_code, answer.json()


def _no_work() -> Any:
    raise AssertionError("not asked in these tests")


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[str], Served]]:
    servers: list[tuple[HttpServer, threading.Thread, Served]] = []

    def start(url: str, host_id: UUID | None = None) -> Served:
        token = tmp_path / "token"
        token.write_text(f"{TOKEN}\n")
        spec = ClusterSpec(
            name="prod", hostname="prod-host", host_id=host_id or uuid4(), data_root=tmp_path, image="node:1",
            network="host", uid=0, gid=0, times=LeaseTimes(), ports={"sync-node-a": free_port()},
        )  # fmt: skip
        identity, clock = Identity(spec, ClusterFolder(path=tmp_path), "sync-node-a"), Clock()
        leadership = Leadership(clock)
        vitals = Vitals(identity, leadership)
        api = Api(vitals, Database(SecretStr(url), connect_timeout_s=2), Metrics(vitals, _no_work))
        server = HttpServer(make_app(api, WatchedFile(token)), spec, "sync-node-a")
        thread = threading.Thread(target=server.run, args=[threading.Event()])
        thread.start()
        servers.append((server, thread, Served(identity, leadership, clock, vitals, f"http://127.0.0.1:{server.port}")))
        return servers[-1][2]

    yield start
    for server, thread, served in servers:
        served.client.close()
        server.end()
        thread.join(15)
        assert not thread.is_alive()


@pytest.fixture
def deaf(serve: Callable[[str], Served]) -> Served:
    """An API whose database does not answer: nothing listens there."""
    return serve(f"postgresql://node:s3cret@127.0.0.1:{free_port()}/sync")


@pytest.fixture
def served(serve: Callable[[str], Served], database_url: str) -> Served:
    """An API with a cluster 'prod' that has the client acme, and another cluster that has the client other."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        for cluster, client in (("prod", "acme"), ("beta", "other")):
            connection.execute(
                "WITH host AS (INSERT INTO sync_metadata.hosts (hostname, cluster_name)"
                " VALUES (%(cluster)s::text || '-host', %(cluster)s::text) RETURNING host_id)"
                " INSERT INTO sync_metadata.client_deployments (host_id, client_name, container_name, sync_enabled)"
                " SELECT host_id, %(client)s::text, 'openwebui-' || %(client)s::text, true FROM host",
                {"cluster": cluster, "client": client},
            )
            connection.execute(
                "INSERT INTO sync_metadata.conflict_log (deployment_id, client_name, table_name, record_id,"
                " conflict_type, source_data) SELECT deployment_id, client_name, 'chat', '1', 'update_conflict',"
                """ '{"title": "a tenant''s words"}' FROM sync_metadata.client_deployments WHERE client_name = %s""",
                [client],
            )
    return serve(database_url)


def _ask(url: str, query: str, *parameters: object) -> list[Any]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(query, parameters).fetchall()


# --- who gets in


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_nothing_but_health_is_open(deaf: Served, method: str, path: str) -> None:
    answer = httpx.request(method, deaf.base + path, trust_env=False)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert set(answer.json()) == {"error", "detail"}


@pytest.mark.parametrize(
    "header",
    [
        f"Bearer{TOKEN}",
        "Bearer",
        TOKEN,
        f"Basic {TOKEN}",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN}x",
        "Bearer \xff\xfe",
    ],
)
def test_another_token_is_refused(deaf: Served, header: str) -> None:
    answer = httpx.get(f"{deaf.base}/", headers=[(b"authorization", header.encode("latin-1"))], trust_env=False)
    assert answer.status_code == 401


def test_the_token_lets_in(deaf: Served) -> None:
    assert deaf.client.get("/").json()["service"] == "client-manager sync node"


def test_a_new_token_counts_at_once(deaf: Served) -> None:
    assert deaf.client.get("/").status_code == 200
    deaf.identity.folder.token.write_text("another-token\n")
    assert deaf.client.get("/").status_code == 401
    assert deaf.client.get("/", headers={"Authorization": "Bearer another-token"}).status_code == 200


@pytest.mark.parametrize("end", ["removed", "emptied"])
def test_without_a_token_nobody_is_let_in(deaf: Served, end: str) -> None:
    file = deaf.identity.folder.token
    file.unlink() if end == "removed" else file.write_text("\n")
    answers = [deaf.client.get("/"), deaf.client.get("/", headers={"Authorization": "Bearer"})]
    assert [answer.status_code for answer in answers] == [503, 503]


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
def test_there_are_no_pages_of_documentation(deaf: Served, path: str) -> None:
    answer = deaf.client.get(path)
    assert (answer.status_code, answer.json()["error"]) == (404, "Not Found.")


# --- health


def test_health_before_postgres_has_answered(deaf: Served) -> None:
    deaf.leadership.update(problem="PostgreSQL at x cannot be reached.")
    status, body = deaf.health()
    assert (status, body["status"], body["database"]) == (503, "unhealthy", {"reachable": False, "heard_age_s": None})
    assert body["problem"] == "PostgreSQL has not answered yet. PostgreSQL at x cannot be reached."
    assert (body["leader_id"], body["is_leader"], body["last_sync"]) == (None, False, None)


def test_health_of_a_follower(deaf: Served) -> None:
    deaf.hear_of("sync-node-b/1")
    deaf.clock.now += 1.5
    status, body = deaf.health()
    assert status == 200
    assert body == {
        "status": "healthy",
        "node_id": deaf.identity.node_id,
        "role": "node-a",
        "is_leader": False,
        "cluster_name": "prod",
        "uptime_seconds": 1.5,
        "leader_id": "sync-node-b/1",
        "leader_name": "sync-node-b",
        "term": 7,
        "database": {"reachable": True, "heard_age_s": 1.5},
        "last_sync": None,
        "last_sync_age_s": None,
        "problem": "",
    }


def test_health_of_a_leader_that_missed_one_renewal(deaf: Served) -> None:
    deaf.hear_of(deaf.identity.node_id, leads=True)
    deaf.leadership.update(problem="PostgreSQL broke the connection off.")
    deaf.clock.now += 3
    status, body = deaf.health()
    assert (status, body["is_leader"], body["problem"]) == (200, True, "PostgreSQL broke the connection off.")


@pytest.mark.parametrize(("later_s", "status", "leads"), [(5.9, 200, True), (6.1, 503, False), (8.1, 503, False)])
def test_a_lease_that_runs_out_ends_the_lead_and_the_health(
    deaf: Served, later_s: float, status: int, *, leads: bool
) -> None:
    deaf.hear_of(deaf.identity.node_id, leads=True)
    deaf.clock.now += later_s
    found, body = deaf.health()
    assert (found, body["is_leader"]) == (status, leads)


def test_health_when_the_lease_of_the_other_has_run_out(deaf: Served) -> None:
    deaf.hear_of("sync-node-b/1", ttl_s=4)
    deaf.clock.now += 5
    status, body = deaf.health()
    assert (status, body["leader_id"], body["term"], body["problem"]) == (503, None, None, "No leader is known.")


def test_health_while_another_process_has_the_name(deaf: Served) -> None:
    deaf.hear_of("sync-node-b/1")
    deaf.vitals.hear("name_refused", {"problem": "Another process has the name."})
    assert deaf.health()[0] == 503
    deaf.vitals.hear("name_taken", {"last_event": 0})
    assert deaf.health()[0] == 200


def test_health_when_a_thread_is_dead(deaf: Served) -> None:
    deaf.hear_of("sync-node-b/1")
    deaf.vitals.thread_ended("scheduler")
    status, body = deaf.health()
    assert (status, body["problem"]) == (503, "The thread scheduler has ended.")


def test_health_answers_while_every_other_request_waits_for_postgres(serve: Callable[[str], Served]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(12) as pool:
        served = serve(f"postgresql://node:s3cret@127.0.0.1:{silent.getsockname()[1]}/sync")
        waiting = [pool.submit(served.client.get, "/api/v1/cluster/status") for _ in range(8)]
        assert served.health()[0] == 503
        assert not any(answer.done() for answer in waiting)
        assert {answer.result().status_code for answer in waiting} == {503}


class Silent:
    """A server that takes connections and never says anything."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.taken: list[socket.socket] = []
        self.thread = threading.Thread(target=self._take, daemon=True)
        self.thread.start()

    def _take(self) -> None:
        with suppress(OSError):
            while True:
                self.taken.append(self.listener.accept()[0])

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(5)
        for connection in self.taken:
            connection.close()


def test_requests_take_few_of_the_servers_connections(serve: Callable[[str], Served]) -> None:
    with closing(Silent()) as silent, ThreadPoolExecutor(12) as pool:
        served = serve(f"postgresql://node:s3cret@127.0.0.1:{silent.listener.getsockname()[1]}/sync")
        waiting = [pool.submit(served.client.get, "/api/v1/cluster/status") for _ in range(12)]
        first = next(as_completed(waiting))
        at_first = len(silent.taken)
        assert first.result().status_code == 503
        assert 1 <= at_first <= 8  # four, and the four after them where the first four ended together
        assert {answer.result().status_code for answer in waiting} == {503}


# --- the database is away


def test_errors_of_the_database_are_503_without_its_words(deaf: Served) -> None:
    answers = [
        deaf.client.get("/api/v1/cluster/status"),
        deaf.client.post("/api/v1/sync/trigger", json={"client_name": "acme"}),
        deaf.client.get("/api/v1/conflicts"),
    ]
    assert [answer.status_code for answer in answers] == [503, 503, 503]
    for answer in answers:
        assert set(answer.json()) == {"error", "detail"}
        assert "cannot be reached" in answer.json()["error"]
        assert "s3cret" not in answer.text
        assert "refused" not in answer.text


def test_the_servers_own_sentence_is_not_repeated(serve: Callable[[str], Served], database_url: str) -> None:
    served = serve(database_url.replace("//postgres:", "//nobody-of-that-name:"))
    answer = served.client.get("/api/v1/cluster/status")
    assert answer.status_code == 503
    assert "does not let this user in" in answer.json()["error"]
    assert "nobody-of-that-name" not in answer.text
    assert "authentication" not in answer.text


# --- what is asked of the cluster


def test_the_status_is_of_the_own_cluster_alone(served: Served) -> None:
    body = served.client.get("/api/v1/cluster/status").json()
    assert (body["cluster_name"], body["sync_nodes"], body["lease"]) == ("prod", [], None)
    [row] = body["nodes"]
    assert {key: row[key] for key in ("cluster_name", "hostname", "host_status", "leader_status")} == {
        "cluster_name": "prod", "hostname": "prod-host", "host_status": "active", "leader_status": "follower",
    }  # fmt: skip
    assert set(row) == {
        "cluster_name", "hostname", "host_status", "last_heartbeat", "seconds_since_heartbeat", "leader_id",
        "leader_status", "leader_lease_expires", "deployments_count", "sync_enabled_count",
    }  # fmt: skip


def test_a_trigger_queues_one_job_however_often_it_is_asked(served: Served, database_url: str) -> None:
    answers = [
        served.client.post("/api/v1/sync/trigger", json={"client_name": "acme", "full_sync": True}).json()
        for _ in range(2)
    ]
    assert answers[0]["job_id"] == answers[1]["job_id"]
    assert {key: answers[0][key] for key in ("status", "client", "full_sync")} == {
        "status": "queued", "client": "acme", "full_sync": True,
    }  # fmt: skip
    assert _ask(
        database_url, "SELECT job_id, client_name, status, sync_type, triggered_by FROM sync_metadata.sync_jobs"
    ) == [(UUID(answers[0]["job_id"]), "acme", "queued", "full", "api of sync-node-a")]


def test_a_full_run_of_a_client_that_a_safety_rule_has_stopped_is_not_queued(served: Served, database_url: str) -> None:
    _ask(
        database_url,
        "INSERT INTO sync_metadata.replication_state (client_name, status) VALUES ('acme', 'needs_confirmation')"
        " RETURNING 1",
    )
    codes = [
        served.client.post("/api/v1/sync/trigger", json={"client_name": "acme", "full_sync": full}).status_code
        for full in (True, False)
    ]
    assert codes == [409, 200]
    assert _ask(database_url, "SELECT sync_type FROM sync_metadata.sync_jobs") == [("incremental",)]


@pytest.mark.parametrize("client", ["nobody", "other"])
def test_clients_of_other_clusters_are_not_there(served: Served, database_url: str, client: str) -> None:
    answers = [
        served.client.post("/api/v1/sync/trigger", json={"client_name": client}),
        served.client.post("/api/v1/sync/cancel", json={"client_name": client}),
        served.client.put(f"/api/v1/state/deployment.{client}", json={"value": {"sync_enabled": False}}),
    ]
    assert [answer.status_code for answer in answers] == [404, 404, 404]
    assert served.client.get(f"/api/v1/state/deployment.{client}").json()["value"] is None
    assert _ask(database_url, "SELECT count(*) FROM sync_metadata.sync_jobs") == [(0,)]
    assert _ask(database_url, "SELECT bool_and(sync_enabled) FROM sync_metadata.client_deployments") == [(True,)]


def test_a_waiting_job_is_cancelled_by_its_client_and_by_its_id(served: Served, database_url: str) -> None:
    for by in ("client_name", "job_id"):
        job = served.client.post("/api/v1/sync/trigger", json={"client_name": "acme"}).json()["job_id"]
        what = {"client_name": "acme"} if by == "client_name" else {"job_id": job}
        answer = served.client.post("/api/v1/sync/cancel", json=what)
        assert answer.json() == {
            "status": "cancelling", "client": "acme", "jobs": [{"job_id": job, "status": "cancelled"}],
        }  # fmt: skip
    assert _ask(database_url, "SELECT DISTINCT status FROM sync_metadata.sync_jobs") == [("cancelled",)]


def test_nothing_to_cancel_is_a_conflict_and_an_unknown_job_is_not_there(served: Served) -> None:
    assert served.client.post("/api/v1/sync/cancel", json={"client_name": "acme"}).status_code == 409
    assert served.client.post("/api/v1/sync/cancel", json={"job_id": str(uuid4())}).status_code == 404


def test_a_job_of_another_cluster_is_not_there(served: Served, database_url: str) -> None:
    [(job,)] = _ask(
        database_url,
        "INSERT INTO sync_metadata.sync_jobs (deployment_id, client_name, status)"
        " SELECT deployment_id, client_name, 'queued' FROM sync_metadata.client_deployments"
        " WHERE client_name = 'other' RETURNING job_id",
    )
    assert served.client.post("/api/v1/sync/cancel", json={"job_id": str(job)}).status_code == 404
    assert _ask(database_url, "SELECT status FROM sync_metadata.sync_jobs") == [("queued",)]


def test_the_state_of_a_client_is_read_and_set(served: Served) -> None:
    path = "/api/v1/state/deployment.acme"
    change = {"sync_interval": 60, "config": {"sqlite_path": "/data/acme/webui.db"}}
    assert served.client.put(path, json={"key": "deployment.acme", "value": change}).json()["success"] is True
    assert served.client.put(path, json={"value": {"status": "paused"}}).status_code == 200
    body = served.client.get(path).json()
    assert (body["key"], body["cached"]) == ("deployment.acme", False)
    assert set(body["value"]) == {
        "deployment_id", "client_name", "sync_enabled", "sync_interval", "last_sync_at", "status", "config",
    }  # fmt: skip
    assert {key: body["value"][key] for key in ("sync_enabled", "sync_interval", "status", "config")} == {
        "sync_enabled": True, "sync_interval": 60, "status": "paused", "config": change["config"],
    }  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        {"value": {"sync_interval": 9}},
        {"value": {"sync_interval": 10**12}},
        {"value": {"host_id": str(uuid4())}},
        {"value": {"status": "broken"}},
        {"value": {"config": {"a": "\0"}}},
        {"value": {"config": [1]}},
        {"value": {}},
        {"value": {"sync_enabled": False}, "more": 1},
        {"value": {"sync_enabled": False}, "key": "deployment.other"},
        {},
    ],
)
def test_a_state_that_cannot_be_is_refused(served: Served, body: object) -> None:
    answer = served.client.put("/api/v1/state/deployment.acme", json=body)
    assert (answer.status_code, set(answer.json())) == (422, {"error", "detail"})


@pytest.mark.parametrize(
    "key", ["acme", "deployment.", "deployment.%00", "deployment.a'b", "leader", "deployment.a%2Fb"]
)
def test_a_key_of_another_form_is_not_there(served: Served, key: str) -> None:
    assert served.client.get(f"/api/v1/state/{key}").status_code == 404


def test_conflicts_are_of_the_own_clients_and_without_their_rows(served: Served) -> None:
    answer = served.client.get("/api/v1/conflicts")
    assert answer.json()["count"] == 1
    [conflict] = answer.json()["conflicts"]
    assert (conflict["client_name"], conflict["table_name"]) == ("acme", "chat")
    assert "tenant" not in answer.text
    assert served.client.get("/api/v1/conflicts", params={"client_name": "other"}).json()["count"] == 0


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "x", ""])
def test_a_limit_out_of_bounds_is_refused(served: Served, limit: str) -> None:
    assert served.client.get("/api/v1/conflicts", params={"limit": limit}).status_code == 422


# --- what is sent


@pytest.mark.parametrize(
    "body",
    [
        {"client_name": "a'; DROP TABLE x; --"},
        {"client_name": '"""\nimport os\nos.system("id")\n"""'},
        {"client_name": "../acme"},
        {"client_name": ""},
        {"client_name": "a" * 101},
        {"client_name": "a\0"},
        {"client_name": "a\n"},
        {"client_name": 7},
        {"client_name": "acme", "full_sync": "perhaps"},
        {"client_name": "acme", "unknown": 1},
        {},
        [],
    ],
)
def test_a_request_that_is_none_is_refused_and_not_repeated(deaf: Served, body: object) -> None:
    answer = deaf.client.post("/api/v1/sync/trigger", json=body)
    assert answer.status_code == 422
    assert "os.system" not in answer.text


@pytest.mark.parametrize("body", [{}, {"client_name": "acme", "job_id": str(uuid4())}, {"job_id": "x"}])
def test_a_cancellation_names_one_thing(deaf: Served, body: object) -> None:
    assert deaf.client.post("/api/v1/sync/cancel", json=body).status_code == 422


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[" * 60_000])
def test_what_is_no_json_is_refused(deaf: Served, content: bytes) -> None:
    answer = deaf.client.post("/api/v1/sync/trigger", content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, set(answer.json())) == (400, {"error", "detail"})


@pytest.mark.parametrize("announced", [True, False])
def test_a_request_that_is_too_large_is_not_read(deaf: Served, *, announced: bool) -> None:
    large = b'{"client_name": "' + b"a" * 200_000 + b'"}'
    content: Any = large if announced else (large[at : at + 10_000] for at in range(0, len(large), 10_000))
    answer = deaf.client.post("/api/v1/sync/trigger", content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, set(answer.json())) == (413, {"error", "detail"})


def test_a_bug_is_500_without_its_words(deaf: Served, caplog: pytest.LogCaptureFixture) -> None:
    answer = deaf.client.get("/metrics")  # _no_work raises
    assert (answer.status_code, answer.json()["error"]) == (500, "Internal error.")
    assert "not asked" not in answer.text
    assert any(record.message == "request_failed" and record.exc_info for record in caplog.records)


@pytest.mark.parametrize(("network", "elsewhere"), [("host", False), ("bridge", True)])
def test_on_the_hosts_network_only_the_loopback_is_listened_on(deaf: Served, network: str, *, elsewhere: bool) -> None:
    spec = deaf.identity.spec.model_copy(update={"network": network, "ports": {"sync-node-a": free_port()}})
    api = Api(deaf.vitals, Database(SecretStr("postgresql://h/d")), Metrics(deaf.vitals, _no_work))
    server = HttpServer(make_app(api, WatchedFile(deaf.identity.folder.token)), spec, "sync-node-a")
    try:
        socket.create_connection(("127.0.0.1", server.port), 2).close()
        try:
            socket.create_connection(("127.0.0.2", server.port), 2).close()
        except ConnectionRefusedError:
            assert not elsewhere
        else:
            assert elsewhere
    finally:
        server.close()


def test_the_port_of_another_process_is_a_conflict(deaf: Served) -> None:
    api = Api(deaf.vitals, Database(SecretStr("postgresql://h/d")), Metrics(deaf.vitals, _no_work))
    app = make_app(api, WatchedFile(deaf.identity.folder.token))
    with pytest.raises(Conflict, match=str(deaf.identity.spec.ports["sync-node-a"])):
        HttpServer(app, deaf.identity.spec, "sync-node-a")
