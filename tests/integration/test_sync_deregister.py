"""A client's replication is taken back: whole or not at all, its replica only when asked, its own data never."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from client_manager.app import App
from client_manager.client_sync import control
from client_manager.client_sync.deregister import deregister, plan_deregister
from client_manager.errors import Blocked, ClientManagerError, Conflict, NotFound
from client_manager.gateways import lock
from client_manager.gateways.client_records import ClientRecords
from client_manager.gateways.database import Database
from client_manager.gateways.sync_roles import SyncRoles, node_role, owner_role
from client_manager.models.cluster import ClusterSpec
from client_manager.models.operation import JournalEntry, Progress
from client_manager.replication.engine import Engine
from client_manager.settings import Settings
from tests.integration.test_sync_roles import Place, place, servers
from tests.node.machine import CLUSTER, Machine, Node, paused, running
from tests.node.nodes import add_host
from tests.replication.oracle import assert_equal
from tests.waiting import until

__all__ = ["place", "servers"]  # fixtures


def quiet(_: Progress) -> None:
    pass


@pytest.fixture
def app(settings: Settings, database_url: str) -> App:
    return App(settings.model_copy(update={"database_url": SecretStr(database_url)}))


@pytest.fixture
def machine(app: App, database_url: str) -> Iterator[Machine]:
    """Two clients on the console's own machine, acme with something in every table."""
    root = app.settings.data_root
    root.mkdir(parents=True)
    found = Machine(database_url, root, add_host(database_url))
    spec = ClusterSpec(
        name=CLUSTER, hostname="prod-host", host_id=found.host_id, data_root=root, image="node:1", network="host",
        uid=0, gid=0,
    )  # fmt: skip
    app.cluster_files.prepare(spec)
    app.cluster_files.write(spec)
    for name in ("acme", "beta"):
        found.add(name).write("c1", "c2")
        found.clients[name].app.run("INSERT INTO config VALUES ('bad', 'no json')")
    yield found
    for client in found.clients.values():
        client.app.close()


@pytest.fixture
def node(machine: Machine) -> Iterator[Node]:
    with running(Node(machine)) as found:
        found.lead(1)
        found.synced()
        for name in ("acme", "beta"):
            machine.sql(
                "INSERT INTO sync_metadata.conflict_log (deployment_id, client_name, table_name, conflict_type,"
                " source_data, target_data, resolution_strategy) SELECT deployment_id, client_name, 'chat', 'custom',"
                ' \'{"title": "private"}\', \'{"title": "private"}\', \'manual\''
                " FROM sync_metadata.client_deployments WHERE client_name = %s",
                name,
            )
        yield found


TABLES = ("client_deployments", "replication_state", "quarantine", "sync_jobs", "conflict_log")


def left(machine: Machine, client: str) -> dict[str, int]:
    """How many rows of each table are a client's, and whether its schemas are there."""
    counted = {
        table: machine.sql(f"SELECT count(*) FROM sync_metadata.{table} WHERE client_name LIKE %s || '%%'", client)[0][
            0
        ]
        for table in TABLES
    }
    schemas = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE %s || '%%'"
    return {**counted, "schemas": machine.sql(schemas, client)[0][0]}


def everything(machine: Machine, client: str) -> list[Any]:
    """All that must not change, of a client that nobody touches."""
    columns = {
        "client_deployments": "d.deployment_id, d.sync_enabled, d.status, d.config",
        "quarantine": "d.row_key, d.raw",
        "conflict_log": "d.log_id, d.source_data, d.resolved_at",
    }
    found: list[Any] = [
        machine.sql(f"SELECT {what} FROM sync_metadata.{table} d WHERE client_name = %s ORDER BY 1", client)
        for table, what in columns.items()
    ]
    return [*found, machine.sql(f"SELECT * FROM {client}.chat ORDER BY 1"), machine.generation(client) > 0]


def journal(app: App) -> list[tuple[str, str, str]]:
    lines = (JournalEntry.model_validate_json(line) for line in app.journal.path.read_bytes().splitlines())
    return [(entry.action, entry.subject, entry.outcome) for entry in lines]


def in_background(action: Callable[[], object]) -> tuple[threading.Thread, list[Any]]:
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(action())
        except ClientManagerError as error:
            results.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, results


def test_the_replica_is_kept_and_goes_on_when_it_is_registered_again(app: App, machine: Machine, node: Node) -> None:
    until(lambda: not node.is_running("acme"))
    before, beta = left(machine, "acme"), everything(machine, "beta")
    planned = plan_deregister(app, "acme")
    assert (planned.tables, planned.has_replica, planned.originals) == (("chat", "config"), True, 1)

    done = deregister(app, "acme", quiet)

    after = left(machine, "acme")
    assert after == {**before, "client_deployments": 0, "sync_jobs": after["sync_jobs"]}
    assert after["sync_jobs"] >= before["sync_jobs"]
    assert (done.dropped_data, done.baselines, done.before.cluster_name) == (False, (), CLUSTER)
    machine.assert_equal("acme")
    assert machine.sql(
        "SELECT DISTINCT hostname, cluster_name, deployment_id FROM sync_metadata.sync_jobs WHERE client_name = 'acme'"
    ) == [("prod-host", CLUSTER, None)]
    assert everything(machine, "beta") == beta
    until(lambda: [work.client for work in node.scheduler.snapshot().clients] == ["beta"])
    assert journal(app)[-1] == ("sync deregister", "acme", "completed")

    generation = machine.generation("acme")
    machine.clients["acme"].write("c3")
    runs = len(node.told("job_ended", "acme"))
    machine.register("acme")
    node.synced("acme")
    assert machine.generation("acme") > generation
    until(lambda: len(node.told("job_ended", "acme")) > runs)
    assert node.told("job_ended", "acme")[runs]["level"] == "pages"


def test_with_its_data_nothing_is_left_but_history_without_content(app: App, machine: Machine, node: Node) -> None:
    until(lambda: not node.is_running("acme"))
    beta = everything(machine, "beta")
    state = app.cluster_files.folder(CLUSTER).state
    assert (state / "acme").exists()

    done = deregister(app, "acme", quiet, drop_data=True)

    after = left(machine, "acme")
    assert {what: rows for what, rows in after.items() if rows} == {
        "sync_jobs": after["sync_jobs"],
        "conflict_log": 1,
    }
    kept = "SELECT source_data, target_data, resolved_at IS NULL FROM sync_metadata.conflict_log WHERE client_name = %s"
    assert machine.sql(kept, "acme") == [(None, None, False)]
    assert everything(machine, "beta") == beta
    assert (done.dropped_data, done.baselines, done.baselines_left) == (True, (state / "acme",), ())
    assert [path.name for path in state.iterdir()] == ["beta"]
    assert machine.clients["acme"].path.exists()
    machine.clients["acme"].write("c9")
    until(lambda: [work.client for work in node.scheduler.snapshot().clients] == ["beta"])

    machine.register("acme")
    node.synced("acme")
    assert machine.generation("acme") >= 1


@pytest.mark.parametrize("cancel", [False, True])
def test_what_runs_is_waited_for_or_cancelled_and_it_is_said_which(
    app: App, machine: Machine, node: Node, *, cancel: bool
) -> None:
    with paused("load verified") as pause:
        job = machine.enqueue("acme", "full")
        pause.wait()
        until(lambda: machine.job(job)[0] == "running")
        thread, results = in_background(lambda: deregister(app, "acme", quiet, drop_data=True, cancel=cancel))
        until(lambda: record(machine, "sync_enabled") == (False,))
        if cancel:
            until(lambda: machine.sql("SELECT cancel_requested_at IS NOT NULL FROM sync_metadata.sync_jobs"
                                      " WHERE job_id = %s", job) == [(True,)])  # fmt: skip
            until(lambda: node.scheduler._crew._running["acme"].stop)
        assert left(machine, "acme")["client_deployments"] == 1
        pause.go.set()
        thread.join(30)
    [done] = results
    assert machine.job(job)[0] == ("cancelled" if cancel else "success")
    assert job in [one.job_id for one in (done.paused.cancelled if cancel else done.paused.waited_for)]
    assert left(machine, "acme")["schemas"] == 0
    assert not node.is_running("acme")


def test_a_job_that_does_not_end_leaves_the_client_as_it_was(app: App, machine: Machine, node: Node) -> None:
    with paused("load verified") as pause:
        machine.enqueue("acme", "full")
        pause.wait()
        with pytest.raises(ClientManagerError, match="still runs after"):
            deregister(app, "acme", quiet, deadline_s=0.3)
        assert record(machine, "sync_enabled, status") == (True, "active")
        pause.go.set()
    until(lambda: not node.is_running("acme"))
    assert journal(app)[-1] == ("sync deregister", "acme", "failed")


def record(machine: Machine, what: str) -> Any:
    [row] = machine.sql(f"SELECT {what} FROM sync_metadata.client_deployments WHERE client_name = 'acme'")
    return row


class TestAllOrNothing:
    @pytest.fixture(autouse=True)
    def _ready(self, machine: Machine, node: Node) -> None:
        del machine
        node.lose()
        until(lambda: node.scheduler.snapshot().term is None and not node.scheduler.snapshot().running)

    def refused(self, app: App, machine: Machine, match: str, kind: type[ClientManagerError], **options: Any) -> None:
        before, rows = left(machine, "acme"), everything(machine, "acme")
        with pytest.raises(kind, match=match):
            deregister(app, "acme", quiet, **options)
        assert left(machine, "acme") == before
        assert everything(machine, "acme") == rows
        assert (app.cluster_files.folder(CLUSTER).state / "acme").exists()
        assert_equal(machine.clients["acme"].path, machine.url, "acme")

    @pytest.mark.parametrize("drop_data", [False, True])
    def test_what_is_not_gone_when_counted_takes_it_all_back(
        self, app: App, machine: Machine, monkeypatch: pytest.MonkeyPatch, *, drop_data: bool
    ) -> None:
        monkeypatch.setattr(ClientRecords, "left", lambda _: (1, 0, 0, 0, 0))
        self.refused(app, machine, "not gone", ClientManagerError, drop_data=drop_data)

    @pytest.mark.parametrize("statement", ["drop_data", "owned"])
    def test_a_cut_in_the_middle_takes_it_all_back(
        self, app: App, machine: Machine, monkeypatch: pytest.MonkeyPatch, statement: str
    ) -> None:
        original = getattr(ClientRecords, statement)

        def cut(records: ClientRecords) -> Any:
            original(records)
            records._connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

        monkeypatch.setattr(ClientRecords, statement, cut)
        self.refused(app, machine, ".", ClientManagerError, drop_data=True)

    def test_who_is_enabled_meanwhile_stays(self, app: App, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        original = control.pause

        def then_enabled(*args: Any, **options: Any) -> Any:
            done = original(*args, **options)
            machine.set("acme", "sync_enabled", True)  # noqa: FBT003
            machine.set("acme", "status", "active")
            return done

        monkeypatch.setattr("client_manager.client_sync.deregister.pause", then_enabled)
        self.refused(app, machine, "not as it was looked at", Blocked, drop_data=True)

    def test_a_job_that_begins_meanwhile_is_not_cut(
        self, app: App, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        original = control.pause

        def then_runs(*args: Any, **options: Any) -> Any:
            done = original(*args, **options)
            machine.sql("UPDATE sync_metadata.sync_jobs SET status = 'running' WHERE job_id ="
                        " (SELECT job_id FROM sync_metadata.sync_jobs WHERE client_name = 'acme' LIMIT 1)")  # fmt: skip
            return done

        monkeypatch.setattr("client_manager.client_sync.deregister.pause", then_runs)
        self.refused(app, machine, "A job of acme runs", Blocked, drop_data=True)

    def test_what_others_have_built_on_the_replica_is_not_dropped(self, app: App, machine: Machine) -> None:
        machine.sql("CREATE VIEW public.report AS SELECT count(*) FROM acme.chat")
        self.refused(app, machine, "cannot be replaced", Blocked, drop_data=True)
        deregister(app, "acme", quiet)
        assert machine.sql("SELECT * FROM public.report") == [(2,)]

    def test_a_run_that_commits_is_waited_for_and_none_comes_after(self, app: App, machine: Machine) -> None:
        [folder] = (app.cluster_files.folder(CLUSTER).state / "acme").iterdir()
        machine.clients["acme"].write("late")
        database = Database(SecretStr(machine.url))
        source = machine.clients["acme"].path
        with closing(Engine(source, "acme", database=database, state_dir=folder)) as engine:
            with paused("claimed") as pause:  # it has the client's row, and its tables yet to come
                run, ran = in_background(engine.run)
                pause.wait()
                thread, results = in_background(lambda: deregister(app, "acme", quiet, drop_data=True))
                until(lambda: machine.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))
                assert not results
                pause.go.set()
                run.join(30)
            thread.join(30)
            assert results[0].dropped_data
            assert ran[0].generation > 1
        assert {what for what, rows in left(machine, "acme").items() if rows} == {"sync_jobs", "conflict_log"}

    def test_jobs_that_wait_are_cancelled_those_too_that_come_meanwhile(
        self, app: App, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        original = control.pause
        jobs = [machine.enqueue("acme")]

        def then_queued(*args: Any, **options: Any) -> Any:
            done = original(*args, **options)
            jobs.append(machine.enqueue("acme", "full"))
            return done

        monkeypatch.setattr("client_manager.client_sync.deregister.pause", then_queued)
        deregister(app, "acme", quiet)
        assert [machine.job(job)[0] for job in jobs] == ["cancelled", "cancelled"]

    def test_another_operator_at_work_is_waited_for(self, app: App, machine: Machine) -> None:
        with lock.held(app.files.locks, "acme", "sync register"):
            self.refused(app, machine, "at work on acme", Conflict)


def test_who_is_not_registered(app: App, machine: Machine, node: Node) -> None:
    until(lambda: not node.is_running("acme"))
    for name in ("nobody", "acme"):
        if name == "acme":
            deregister(app, "acme", quiet)
        with pytest.raises(NotFound, match=f"{name} is not registered"):
            deregister(app, name, quiet)
    with pytest.raises(NotFound):
        deregister(app, "nobody", quiet, drop_data=True)

    done = deregister(app, "acme", quiet, drop_data=True)

    assert (done.paused, done.dropped_data) == (None, True)
    assert left(machine, "acme")["schemas"] == 0


def test_a_schema_that_happens_to_have_the_name_is_not_dropped(app: App, machine: Machine) -> None:
    machine.sql("CREATE SCHEMA acme")
    machine.sql("CREATE TABLE acme.theirs (n int)")
    with pytest.raises(Conflict, match="was not made by replication"):
        deregister(app, "acme", quiet, drop_data=True)
    assert left(machine, "acme")["client_deployments"] == 1
    deregister(app, "acme", quiet)
    assert machine.sql("SELECT * FROM acme.theirs") == []


class TestRoles:
    """With the roles that a real cluster has, made by a superuser and by a mere maker of roles."""

    @pytest.fixture
    def client(self, place: Place) -> str:
        return f"c-{place.mark}"

    @pytest.fixture
    def console(self, place: Place, settings: Settings, client: str, tmp_path: Path) -> App:
        app = App(settings.model_copy(update={"database_url": place.database._url}))
        with place.database.connect() as connection:
            roles = SyncRoles(connection)
            roles.ensure_node(f"k-{place.mark}", connections=5)
            roles.ensure_owner(client, f"k-{place.mark}")
            connection.execute(
                "INSERT INTO sync_metadata.client_deployments (client_name, container_name) VALUES (%s, %s)",
                (client, f"openwebui-{client}"),
            )
        import sqlite3

        with closing(sqlite3.connect(tmp_path / "webui.db", isolation_level=None)) as database:
            database.executescript("CREATE TABLE t (id TEXT PRIMARY KEY); INSERT INTO t VALUES ('a')")
        with Engine(tmp_path / "webui.db", client, database=place.database, state_dir=tmp_path / "base") as engine:
            engine.run()
        return app

    def members(self, place: Place, client: str) -> list[str]:
        with psycopg.connect(place.superuser) as connection:
            found = connection.execute(
                "SELECT m.rolname FROM pg_auth_members a JOIN pg_roles r ON r.oid = a.roleid"
                " JOIN pg_roles m ON m.oid = a.member WHERE r.rolname = %s",
                (owner_role(client),),
            )
            return [name for (name,) in found]

    def count(self, place: Place, statement: str, *parameters: object) -> int:
        with psycopg.connect(place.superuser) as connection:
            row = connection.execute(statement.encode(), parameters).fetchone()
            assert row
            return int(row[0])

    def test_the_nodes_lose_their_access_and_get_it_back(self, place: Place, console: App, client: str) -> None:
        node = node_role(f"k-{place.mark}")
        assert node in self.members(place, client)
        done = deregister(console, client, quiet)
        assert done.nodes == (node,)
        assert node not in self.members(place, client)
        assert self.count(place, "SELECT count(*) FROM pg_namespace WHERE nspname = %s", client) == 1
        with place.database.connect() as connection:
            SyncRoles(connection).ensure_owner(client, f"k-{place.mark}")
        assert node in self.members(place, client)

    def test_the_owner_goes_with_the_data_and_the_nodes_role_stays(
        self, place: Place, console: App, client: str
    ) -> None:
        deregister(console, client, quiet, drop_data=True)
        for role, there in ((owner_role(client), 0), (node_role(f"k-{place.mark}"), 1)):
            assert self.count(place, "SELECT count(*) FROM pg_roles WHERE rolname = %s", role) == there
        assert self.count(place, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE %s || '%%'", client) == 0

    def test_an_owner_that_owns_more_keeps_all(self, place: Place, console: App, client: str) -> None:
        with psycopg.connect(place.superuser, autocommit=True) as connection:
            connection.execute("CREATE TABLE public.more (n int)")
            owner = psycopg.sql.Identifier(owner_role(client))
            connection.execute(psycopg.sql.SQL("ALTER TABLE public.more OWNER TO {}").format(owner))
        with pytest.raises(Blocked, match="owns more") as refused:
            deregister(console, client, quiet, drop_data=True)
        assert "public.more" in refused.value.why or "more" in refused.value.why
        assert self.count(place, "SELECT count(*) FROM pg_namespace WHERE nspname = %s", client) == 1
        assert self.count(place, "SELECT count(*) FROM sync_metadata.client_deployments") == 1
        assert node_role(f"k-{place.mark}") in self.members(place, client)
