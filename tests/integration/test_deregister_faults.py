"""A deregistration among registrations, cut connections, and users who do not see everything: whole or not at all."""

import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from client_manager.app import App
from client_manager.database.migrations import migrate
from client_manager.errors import Blocked, ConfigurationError, Conflict, Unavailable
from client_manager.gateways.database import Database
from client_manager.gateways.deregistration_store import DeregistrationStore
from client_manager.models.deregistration import Circumstances
from client_manager.models.operation import Progress
from client_manager.workflows.deregister_cluster import OutcomeUnknown, check, deregister
from tests.integration.registered import FakeNodes, Registered, app_on, confirm, connected, here, silent
from tests.postgres import fresh_database
from tests.replication.proof.proxy import road_to
from tests.waiting import PATIENCE_S, until

PREDECESSOR = Path(__file__).resolve().parents[1] / "data" / "predecessor.sql"


class Hasty(App):
    """The console, with less patience."""

    @contextmanager
    def deregistration_store(self) -> Iterator[DeregistrationStore]:
        with self.database.connect() as connection:
            yield DeregistrationStore(connection, lock_timeout_s=0.3, statement_timeout_s=0.6)


class Watched(Database):
    """A database that does something before the n-th statement from where ``left`` is set, over all connections."""

    def __init__(self, url: str, before: int, action: Callable[[int], None]) -> None:
        super().__init__(SecretStr(url))
        self.left, self.begun, self._action = before, False, action

    @contextmanager
    def connect(self) -> Iterator[Any]:
        database = self

        class Counted(psycopg.Cursor[Any]):
            def execute(self, *args: Any, **kwargs: Any) -> Any:
                database.left -= 1
                if database.left == 0:
                    database.begun = True
                    database._action(self.connection.info.backend_pid)
                return super().execute(*args, **kwargs)

        with super().connect() as connection:
            connection.cursor_factory = Counted
            yield connection


def _waiting(start: threading.Barrier) -> Callable[[int], None]:
    def wait(_: int) -> None:
        start.wait()

    return wait


@pytest.fixture
def app(database_url: str, tmp_path: Path) -> App:
    return app_on(database_url, tmp_path)


@pytest.fixture
def world(database_url: str) -> Iterator[Registered]:
    with connected(database_url) as connection:
        yield Registered(connection)


def stand_up(world: Registered, clients: int = 2) -> None:
    """The cluster prod, led from here, with clients whose sync is off."""
    world.cluster("prod", leader="sync-node-a")
    for number in range(clients):
        world.client(f"c{number}", "prod")
        world.history(f"c{number}")


def take_down(app: App, fake: FakeNodes, report: Callable[[Progress], None] = silent) -> None:
    deregister(app, confirm(check(app, "prod", fake.circumstances)), fake.nodes(), report)


def end_session(url: str, pid: int) -> None:
    with connected(url) as admin:
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


def wait_for_waiters(world: Registered, count: int = 1) -> None:
    """Return when so many sessions wait for a lock."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    until(lambda: world.one(waiting) >= count, what="somebody comes to wait")


# --- races


def _register(url: str, world: Registered, name: str, gate: Callable[[], object] = int) -> str:
    """Register a client with its sync on, as a console elsewhere would; say what became of it."""
    with connected(url) as connection:
        gate()
        try:
            Registered(connection, world.hosts).client(name, "prod", enabled=True)
        except psycopg.errors.ForeignKeyViolation:
            return "refused"
    return "done"


def _enable(url: str, name: str, gate: Callable[[], object] = int) -> str:
    with connected(url) as connection:
        gate()
        changed = connection.execute(
            "UPDATE sync_metadata.client_deployments SET sync_enabled = true WHERE client_name = %s", [name]
        ).rowcount
    return "done" if changed else "refused"


@pytest.mark.timeout(180)
def test_a_hundred_registrations_and_enables_race_and_none_is_lost(
    app: App, world: Registered, database_url: str
) -> None:
    """Each is either there in the end, enabled, and the cluster stands; or was told that there is none any more."""
    outcomes: list[tuple[str, str]] = []
    with ThreadPoolExecutor(10) as pool:
        for number in range(10):
            world.connection.execute("TRUNCATE sync_metadata.hosts, sync_metadata.client_deployments CASCADE")
            world.connection.execute("TRUNCATE sync_metadata.replication_state")
            stand_up(world, clients=5)
            start = threading.Barrier(11)
            jobs: dict[str, Future[str]] = {}
            for each in range(5):
                jobs[f"new{each}"] = pool.submit(_register, database_url, world, f"new{each}", start.wait)
                jobs[f"c{each}"] = pool.submit(_enable, database_url, f"c{each}", start.wait)
            # Each round lets them go one statement later, from before the first lock to after the decision.
            app.database = watched = Watched(database_url, -1, _waiting(start))

            def gate(progress: Progress, watched: Watched = watched, number: int = number) -> None:
                if progress.step == "Deleting":
                    watched.left = 1 + number

            try:
                take_down(app, FakeNodes(), gate)
            except (Blocked, Conflict):
                fate = "stands"
            else:
                fate = "gone"
            results = {name: job.result(PATIENCE_S) for name, job in jobs.items()}
            there = {
                row[0]
                for row in world.connection.execute(
                    "SELECT client_name FROM sync_metadata.client_deployments JOIN sync_metadata.hosts USING (host_id)"
                    " WHERE sync_enabled"
                )
            }
            assert there == {name for name, outcome in results.items() if outcome == "done"}
            assert bool(there) == (fate == "stands")
            outcomes += [(fate, outcome) for outcome in results.values()]
    assert len(outcomes) == 100
    assert {fate for fate, _ in outcomes} == {"stands", "gone"}


@pytest.mark.parametrize("what", ["register", "enable"])
def test_change_that_is_not_committed_yet_is_waited_for_and_blocks(
    app: App, world: Registered, database_url: str, what: str
) -> None:
    stand_up(world)
    with connected(database_url) as other, ThreadPoolExecutor(1) as pool:
        with other.transaction():
            if what == "register":
                Registered(other, world.hosts).client("late", "prod", enabled=True)
            else:
                Registered(other).enable("c1")
            running = pool.submit(take_down, app, FakeNodes())
            wait_for_waiters(world)
        with pytest.raises(Blocked, match="nothing was deleted"):
            running.result(PATIENCE_S)

    assert world.count("client_deployments") == (3 if what == "register" else 2)
    assert world.one("SELECT count(*) FROM sync_metadata.client_deployments WHERE sync_enabled") == 1


def test_change_that_tells_nobody_is_waited_for_by_its_row_and_decided_on(
    app: App, world: Registered, database_url: str
) -> None:
    """Without its triggers an update does not touch the machine's row, whose lock then keeps nobody out."""
    stand_up(world)
    with connected(database_url) as other, ThreadPoolExecutor(1) as pool:
        with other.transaction():
            other.execute("SET LOCAL session_replication_role = replica")
            Registered(other).enable("c1")
            running = pool.submit(take_down, app, FakeNodes())
            wait_for_waiters(world)
        with pytest.raises(Blocked, match="may not be deregistered; nothing was deleted"):
            running.result(PATIENCE_S)

    assert world.count("client_deployments") == 2


def test_statement_itself_passes_by_a_client_whose_sync_is_enabled(app: App, world: Registered) -> None:
    """The last lock on the door: whatever was decided."""
    stand_up(world)
    world.enable("c1")
    ids = [row[0] for row in world.connection.execute("SELECT deployment_id FROM sync_metadata.client_deployments")]

    with app.deregistration_store() as store, store.changing("prod"):
        assert store._count("delete_clients", {"clients": ids}) == 1
        assert store._count("delete_hosts", {"hosts": [world.hosts["prod"]]}) == 0

    assert world.one("SELECT string_agg(client_name, ',') FROM sync_metadata.client_deployments") == "c1"


@pytest.mark.parametrize("what", ["register", "enable"])
def test_change_that_comes_during_the_deletion_waits_and_is_told(
    app: App, world: Registered, database_url: str, what: str
) -> None:
    stand_up(world)
    with connected(database_url) as other, ThreadPoolExecutor(2) as pool:
        with other.transaction():  # holds the deletion open, past its decision
            other.execute("SELECT FROM sync_metadata.cache_events FOR UPDATE")
            running = pool.submit(take_down, app, FakeNodes())
            wait_for_waiters(world)
            late = (
                pool.submit(_register, database_url, world, "late")
                if what == "register"
                else pool.submit(_enable, database_url, "c1")
            )
            wait_for_waiters(world, 2)
        running.result(PATIENCE_S)

        assert late.result(PATIENCE_S) == "refused"
    assert world.count("client_deployments") == 0
    assert world.count("hosts") == 0


def test_rows_that_somebody_holds_for_too_long_are_left_alone(
    world: Registered, database_url: str, tmp_path: Path
) -> None:
    stand_up(world)
    app = Hasty(app_on(database_url, tmp_path).settings)
    fake = FakeNodes()
    before = world.rows()
    with connected(database_url) as other, other.transaction():
        other.execute("SELECT FROM sync_metadata.client_deployments FOR UPDATE")
        with pytest.raises(Conflict):
            take_down(app, fake)

    assert world.rows() == before
    assert fake.done == ["stopped", "started again"]


# --- a server that goes away, or is slow


@pytest.mark.timeout(300)
def test_server_gone_at_each_statement_deletes_everything_or_nothing(
    world: Registered, database_url: str, tmp_path: Path
) -> None:
    whole, statement = 0, 0
    while True:
        statement += 1
        world.connection.execute("TRUNCATE sync_metadata.hosts, sync_metadata.client_deployments CASCADE")
        world.connection.execute("TRUNCATE sync_metadata.replication_state")
        stand_up(world, clients=1)
        before, fake = world.rows(), FakeNodes()
        app = app_on(database_url, tmp_path / str(statement))
        app.database = cut = Watched(database_url, statement, lambda pid: end_session(database_url, pid))
        try:
            take_down(app, fake)
        except Unavailable:
            assert world.rows() == before, f"statement {statement}: not as it was"
            assert fake.done in ([], ["stopped", "started again"]), fake.done
            whole += 1
        else:
            assert world.count("hosts") == world.count("client_deployments") == world.count("sync_nodes") == 0
            assert fake.done == ["stopped", "removed"]
            if not cut.begun:
                break
    assert whole > 40, "the statements were not cut"


@pytest.mark.parametrize(("moment", "gone"), [("before", False), ("after", True)])
def test_connection_lost_at_the_commit_is_looked_into(
    world: Registered, database_url: str, tmp_path: Path, moment: str, *, gone: bool
) -> None:
    stand_up(world)
    before, fake = world.rows(), FakeNodes()
    with road_to(database_url) as (road, url):
        app = app_on(url, tmp_path)

        def cut(progress: Progress) -> None:
            if progress.step == "Deleting":
                road.break_at = moment

        if gone:
            take_down(app, fake, cut)
        else:
            with pytest.raises(Unavailable):
                take_down(app, fake, cut)

    if gone:
        assert world.count("hosts") == 0
        assert fake.done == ["stopped", "removed"]
    else:
        assert world.rows() == before
        assert fake.done == ["stopped", "started again"]


def test_outcome_that_cannot_be_found_out_is_said_to_be_unknown(
    world: Registered, database_url: str, tmp_path: Path
) -> None:
    stand_up(world)
    fake = FakeNodes()
    with road_to(database_url) as (road, url):
        app = app_on(url, tmp_path)

        def cut(progress: Progress) -> None:
            if progress.step == "Deleting":
                road.break_at = "after"
                road._listener.close()  # no new connection finds the way
                app.database = _after_the_first(app.database)

        with pytest.raises(OutcomeUnknown) as error:
            take_down(app, fake, cut)

    assert "not known" in error.value.what
    assert "prod-" in error.value.hint
    assert fake.done == ["stopped"]


def _after_the_first(database: Database) -> Any:
    """The same database over the connection that is open already, and then over none."""
    held = psycopg.connect(autocommit=True, prepare_threshold=None, **database.parameters)  # type: ignore[arg-type]
    connections = iter([held])

    class Once:
        name = database.name

        @contextmanager
        def connect(self) -> Iterator[Any]:
            from client_manager.gateways.database import mapped_errors

            with mapped_errors(self.name):
                try:
                    connection = next(connections)
                except StopIteration:
                    raise psycopg.OperationalError("connection refused") from None
                try:
                    yield connection
                finally:
                    connection.close()

    return Once()


def test_statement_that_takes_too_long_deletes_nothing(world: Registered, database_url: str, tmp_path: Path) -> None:
    stand_up(world)
    world.connection.execute(
        "CREATE FUNCTION public.doze() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_catalog.pg_sleep(30); RETURN OLD; END $$;"
        " CREATE TRIGGER doze BEFORE DELETE ON sync_metadata.hosts FOR EACH ROW EXECUTE FUNCTION public.doze()"
    )
    app, fake, before = Hasty(app_on(database_url, tmp_path).settings), FakeNodes(), world.rows()

    with pytest.raises(Unavailable, match="took too long"):
        take_down(app, fake)

    assert world.rows() == before
    assert fake.done == ["stopped", "started again"]


def test_check_that_waits_for_too_long_is_no_answer(world: Registered, database_url: str, tmp_path: Path) -> None:
    stand_up(world)
    app = Hasty(app_on(database_url, tmp_path).settings)
    with connected(database_url) as other, other.transaction():
        other.execute("LOCK TABLE sync_metadata.client_deployments IN ACCESS EXCLUSIVE MODE")
        with pytest.raises((Conflict, Unavailable)):
            check(app, "prod", here())


def test_no_server_is_no_answer(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        check(app_on("postgresql://u:p@127.0.0.1:1/x", tmp_path), "prod", here())


def test_something_that_writes_rows_back_is_noticed_before_the_commit(app: App, world: Registered) -> None:
    stand_up(world)
    world.connection.execute(
        "CREATE FUNCTION public.again() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " INSERT INTO sync_metadata.hosts (hostname, cluster_name) VALUES ('zombie', OLD.cluster_name); RETURN NULL;"
        " END $$;"
        " CREATE TRIGGER again AFTER DELETE ON sync_metadata.hosts FOR EACH ROW EXECUTE FUNCTION public.again()"
    )
    before, fake = world.rows(), FakeNodes()

    with pytest.raises(Blocked, match="nothing was deleted"):
        take_down(app, fake)

    assert world.rows() == before


def test_deletion_that_somebody_swallows_is_noticed(app: App, world: Registered) -> None:
    stand_up(world)
    world.connection.execute(
        "CREATE FUNCTION public.keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        " CREATE TRIGGER keep BEFORE DELETE ON sync_metadata.sync_nodes FOR EACH ROW EXECUTE FUNCTION public.keep()"
    )
    before = world.rows()

    with pytest.raises(Blocked, match="nothing was deleted"):
        take_down(app, FakeNodes())

    assert world.rows() == before


# --- a user who may not see everything, a schema that is not ours yet


@pytest.fixture
def make_user(database_url: str) -> Iterator[Callable[..., str]]:
    """Returns a maker of users with attributes and grants, and what URL they come by; gone at the end."""
    made: list[str] = []

    def make(attributes: str = "", *grants: str) -> str:
        name = f"u{secrets.token_hex(5)}"
        with connected(database_url) as admin:
            admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x' " + attributes).format(sql.Identifier(name)))
            made.append(name)
            for grant in grants:
                admin.execute(sql.SQL("GRANT " + grant + " TO {}").format(sql.Identifier(name)))
        parts = urlsplit(database_url)
        return urlunsplit(parts._replace(netloc=f"{name}:x@{parts.hostname}:{parts.port}"))

    yield make
    with connected(database_url) as admin:
        for name in made:
            admin.execute(sql.SQL("REASSIGN OWNED BY {} TO CURRENT_USER").format(sql.Identifier(name)))
            admin.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


USAGE = "USAGE ON SCHEMA sync_metadata"
ALL = "SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA sync_metadata"


def test_user_who_may_not_read_gets_no_answer(world: Registered, make_user: Callable[..., str], tmp_path: Path) -> None:
    stand_up(world)
    before = world.rows()
    app = app_on(make_user("BYPASSRLS", USAGE, "SELECT ON sync_metadata.hosts"), tmp_path)

    with pytest.raises(Unavailable, match="does not allow"):
        check(app, "prod", here())

    assert world.rows() == before


def test_rows_that_policies_hide_are_no_zero(
    app: App, world: Registered, make_user: Callable[..., str], tmp_path: Path
) -> None:
    """The user may read every table and sees no client: the predecessor's check would have said that there is none."""
    stand_up(world)
    confirmed = confirm(check(app, "prod", here()))
    world.enable("c1")
    before, fake = world.rows(), FakeNodes()
    blind = app_on(make_user("", USAGE, ALL), tmp_path / "blind")

    decision = check(blind, "prod", here())
    with pytest.raises(Blocked, match="may not be deregistered"):
        deregister(blind, confirmed, fake.nodes(), silent)
    with blind.deregistration_store() as store, pytest.raises(Blocked):
        store.delete(confirmed, here())
    with blind.deregistration_store() as store, pytest.raises(Blocked):
        store.read("prod", here())

    assert [blocker.kind for blocker in decision.blockers] == ["hidden"]
    assert "client_deployments" in decision.blockers[0].what
    assert world.rows() == before
    assert fake.done == []


def test_owner_who_is_under_the_policies_too_is_no_exception(
    world: Registered, make_user: Callable[..., str], tmp_path: Path
) -> None:
    stand_up(world)
    url = make_user("", USAGE, ALL)
    owner = str(urlsplit(url).username)
    tables = [
        name
        for (name,) in world.connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'sync_metadata'")
    ]
    for table in tables:
        world.connection.execute(
            sql.SQL("ALTER TABLE {} OWNER TO {}").format(sql.Identifier("sync_metadata", table), sql.Identifier(owner))
        )
    app = app_on(url, tmp_path)

    assert check(app, "prod", here()).blockers == ()
    world.connection.execute("ALTER TABLE sync_metadata.client_deployments FORCE ROW LEVEL SECURITY")
    assert [blocker.kind for blocker in check(app, "prod", here()).blockers] == ["hidden"]


def test_policy_is_an_error_even_if_nobody_had_looked_for_it(
    world: Registered, make_user: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The second lock on the same door: the server itself refuses a query whose rows a policy would hide."""
    stand_up(world)
    blind = app_on(make_user("", USAGE, ALL), tmp_path)
    names = DeregistrationStore._names
    monkeypatch.setattr(
        DeregistrationStore, "_names", lambda self, query: () if query == "list_hidden" else names(self, query)
    )

    with pytest.raises(Unavailable, match="does not allow"):
        check(blind, "prod", here())


def test_half_adopted_schema_gets_no_answer(postgres: str, tmp_path: Path) -> None:
    with fresh_database(postgres, template="template1") as url, connected(url) as connection:
        connection.execute(PREDECESSOR.read_text(encoding="utf-8"))
        app = app_on(url, tmp_path)
        with pytest.raises(ConfigurationError) as error:
            check(app, "prod", Circumstances(lost_host=True))
        assert "database migrate" in error.value.hint

        migrate(Database(SecretStr(url)))
        connection.execute("DELETE FROM sync_metadata.schema_migrations WHERE version > 2")
        with pytest.raises(ConfigurationError, match="not up to this program"):
            check(app, "prod", Circumstances(lost_host=True))


def test_predecessors_cluster_goes_once_it_is_adopted_and_its_client_is_off(postgres: str, tmp_path: Path) -> None:
    with fresh_database(postgres, template="template1") as url, connected(url) as connection:
        connection.execute(PREDECESSOR.read_text(encoding="utf-8"))
        migrate(Database(SecretStr(url)))
        app, lost = app_on(url, tmp_path), Circumstances(lost_host=True)
        world, fake = Registered(connection), FakeNodes(circumstances=lost)

        assert [blocker.kind for blocker in check(app, "prod", lost).blockers] == ["enabled"]
        connection.execute("UPDATE sync_metadata.client_deployments SET sync_enabled = false")
        take_down(app, fake)

        assert world.count("hosts") == 0
        assert world.one("SELECT string_agg(client_name, ',') FROM sync_metadata.client_deployments") == "beta"
        assert world.one("SELECT count(*) FROM sync_metadata.sync_jobs WHERE client_name = 'acme-co'") == 1
