"""Nasty case 27: what others do to the replica, and what the server refuses."""

import shutil
import threading
from collections.abc import Callable, Iterator
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
import pytest

from client_manager.errors import ClientManagerError, Conflict, Unavailable
from tests.replication.application import Application
from tests.replication.proof.child import in_child
from tests.replication.proof.pair import Pair, at_step, written

TAMPERED = {
    "changed": "UPDATE {}.chat SET title = 'edited' WHERE id = 'c7'",
    "extra": "INSERT INTO {}.chat (id, title) VALUES ('added', 'x')",
    "missing": "DELETE FROM {}.chat WHERE id = 'c7'",
}


@pytest.mark.parametrize(("kind", "statement"), TAMPERED.items(), ids=TAMPERED)
def test_case_27_a_row_that_somebody_changed_is_found_mended_and_told(
    pair: Pair, app: Application, kind: str, statement: str
) -> None:
    del app
    pair.synced()
    pair.sql(statement)
    found = pair.verify(heal=False)
    [difference] = found.differences
    assert not found.equal
    assert (difference.table, difference.kind, difference.strategy) == ("chat", kind, "source_wins")
    assert difference.key == ('["added"]' if kind == "extra" else '["c7"]')
    assert difference.column == ("title" if kind == "changed" else None)
    assert pair.differences()
    pair.verify()
    pair.assert_equal()
    [(table, record, _, source, target, strategy, resolved)] = pair.conflicts()
    assert (table, record, strategy) == ("chat", difference.key, "source_wins")
    assert resolved is not None
    assert (source is None, target is None) == (kind == "extra", kind == "missing")
    if kind == "changed":
        assert (source["title"], target["title"]) == ("title 7", "edited")


@pytest.mark.parametrize("strategy", ["source_wins", "target_wins", "newest_wins", "manual"])
@pytest.mark.parametrize("newer", ["source", "target"])
def test_case_27_strategies_do_what_their_names_say(pair: Pair, app: Application, strategy: str, newer: str) -> None:
    del app
    pair.synced()
    pair.sql("UPDATE sync_metadata.replication_state SET conflict_strategies = jsonb_build_object('*', 'source_wins', 'chat',"
             " %s::text)", strategy)  # fmt: skip
    pair.sql("UPDATE {}.chat SET title = 'edited', updated_at = %s WHERE id = 'c7'", 6 if newer == "source" else 8)
    pair.sql("UPDATE {}.tag SET meta = '[]' WHERE id = 't1'")
    pair.verify()
    kept = strategy in ("target_wins", "manual") or (strategy == "newest_wins" and newer == "target")
    assert pair.sql("SELECT title FROM {}.chat WHERE id = 'c7'") == [("edited" if kept else "title 7",)]
    assert pair.sql("SELECT meta::text FROM {}.tag WHERE id = 't1'") == [("{}",)]
    logged = {table: (how, resolved is None) for table, _, _, _, _, how, resolved in pair.conflicts()}
    assert logged == {"chat": (strategy, strategy == "manual"), "tag": ("source_wins", False)}
    pair.verify()
    assert len(pair.conflicts()) == (2 if strategy in ("target_wins", "manual", "source_wins") or not kept else 3)


def test_case_27_a_quarantined_original_that_somebody_changed_is_found(pair: Pair, app: Application) -> None:
    app.run("UPDATE chat SET chat = 'no json' WHERE id IN ('c7', 'c8', 'c9')")
    pair.synced()
    pair.sql("UPDATE sync_metadata.quarantine SET raw = 'other' WHERE row_key = '[\"c7\"]'")
    pair.sql("DELETE FROM sync_metadata.quarantine WHERE row_key = '[\"c8\"]'")
    assert len(pair.verify(heal=False).differences) == 2
    pair.verify()
    pair.assert_equal()


SHAPES = {
    "table dropped": "DROP TABLE {}.chat",
    "column dropped": "ALTER TABLE {}.chat DROP COLUMN title",
    "column added": "ALTER TABLE {}.chat ADD COLUMN more text",
    "type changed": "ALTER TABLE {}.chat ALTER title TYPE bytea USING 'x'",
    "key dropped": "ALTER TABLE {}.chat DROP CONSTRAINT chat_pkey",
    "table emptied": "TRUNCATE {}.chat",
    "table added": "CREATE TABLE {}.strange (id int)",
}


@pytest.mark.parametrize("statement", SHAPES.values(), ids=SHAPES)
def test_case_27_a_replica_of_another_shape_is_found_and_mended(pair: Pair, app: Application, statement: str) -> None:
    pair.synced()
    pair.sql(statement)
    assert not pair.verify(heal=False).equal
    pair.verify()
    pair.assert_equal()
    app.run("UPDATE chat SET title = 'new' WHERE id = 'c7'")
    assert written(pair.synced()) == (0, 1, 0)


def test_case_27_a_dropped_schema_is_loaded_anew(pair: Pair, app: Application) -> None:
    pair.synced()
    pair.sql("DROP SCHEMA {} CASCADE")
    assert pair.synced().level == "full"
    app.run("UPDATE chat SET title = 'new' WHERE id = 'c7'")
    assert written(pair.synced()) == (0, 1, 0)


def test_case_27_a_row_that_somebody_deleted_and_the_application_changes_comes_back(
    pair: Pair, app: Application
) -> None:
    pair.synced()
    pair.sql("DELETE FROM {}.chat WHERE id = 'c7'")
    app.run("UPDATE chat SET updated_at = 99 WHERE id IN ('c7', 'c8')")
    pair.synced()


def with_options(url: str, **options: str) -> str:
    parts = urlsplit(url)
    text = " ".join(f"-c {name}={value}" for name, value in options.items())
    return urlunsplit(parts._replace(query=f"options={quote(text)}"))


def with_user(url: str, user: str, password: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{parts.netloc.rpartition('@')[2]}"))


def trigger(pair: Pair, body: str) -> None:
    pair.sql(f"CREATE OR REPLACE FUNCTION public.trouble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body};"
             " RETURN coalesce(NEW, OLD); END $$")  # fmt: skip
    pair.sql("CREATE TRIGGER trouble BEFORE INSERT OR UPDATE OR DELETE ON {}.chat FOR EACH ROW"
             " EXECUTE FUNCTION public.trouble()")  # fmt: skip


@pytest.mark.parametrize(
    ("state", "error"), [("53100", Unavailable), ("40001", Conflict), ("40P01", Conflict), ("53200", Unavailable),
                         ("57014", Unavailable), ("25006", Unavailable)]
)  # fmt: skip
def test_case_27_what_the_server_refuses_for_itself_is_no_fault_of_a_row(
    pair: Pair, app: Application, state: str, error: type[ClientManagerError]
) -> None:
    pair.synced()
    trigger(pair, f"RAISE EXCEPTION 'trouble' USING ERRCODE = '{state}'")
    app.run("UPDATE chat SET title = 'changed' WHERE id = 'c7'")
    app.run("INSERT INTO chat (id, chat) VALUES ('new', 'no json')")
    with pytest.raises(error):
        pair.sync()
    assert (pair.generation(), pair.quarantine()) == (1, [])
    pair.sql("DROP TRIGGER trouble ON {}.chat")
    assert written(pair.synced()) == (1, 1, 0)


def test_case_27_the_servers_statement_timeout_does_not_count_for_a_run(pair: Pair, app: Application) -> None:
    pair.synced()
    trigger(pair, "PERFORM pg_sleep(0.2)")
    app.run("UPDATE chat SET title = 'changed' WHERE updated_at < 4")
    hurried = pair.with_options(
        url=with_options(pair.url, statement_timeout="100", idle_in_transaction_session_timeout="50")
    )
    assert written(hurried.sync()) == (0, 4, 0)


@pytest.fixture
def role(pair: Pair) -> Iterator[Callable[[str], str]]:
    """A role that owns what it makes, as a sync node's; returns its URL for a password."""
    name = f"node_{urlsplit(pair.url).path[1:]}"
    pair.sql(f"CREATE ROLE {name} LOGIN BYPASSRLS PASSWORD 'first'")
    pair.sql(f"GRANT ALL ON SCHEMA sync_metadata TO {name}")
    pair.sql(f"GRANT ALL ON ALL TABLES IN SCHEMA sync_metadata TO {name}")
    pair.sql(f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA sync_metadata TO {name}")
    pair.sql(f"GRANT CREATE ON DATABASE {urlsplit(pair.url).path[1:]} TO {name}")
    yield lambda password: with_user(pair.url, name, password)
    pair.sql(f"DROP OWNED BY {name} CASCADE")
    pair.sql(f"DROP ROLE {name}")


def test_case_27_a_role_that_loses_delete(pair: Pair, app: Application, role: Callable[[str], str]) -> None:
    node = pair.with_options(url=role("first"))
    node.sync()
    name = urlsplit(node.url).username
    pair.sql(f"REVOKE DELETE ON {{}}.chat FROM {name}")
    app.run("DELETE FROM chat WHERE id = 'c7'")
    app.run("UPDATE chat SET title = 'new' WHERE id = 'c8'")
    with pytest.raises(Unavailable) as caught:
        node.sync()
    assert caught.value.hint
    assert pair.sql("SELECT title FROM {}.chat WHERE id IN ('c7', 'c8') ORDER BY id") == [("title 7",), ("title 8",)]
    pair.sql(f"GRANT DELETE ON {{}}.chat TO {name}")
    assert written(node.sync()) == (0, 1, 1)
    pair.assert_equal()


def test_case_29_a_password_that_is_rotated_while_it_runs(
    pair: Pair, app: Application, role: Callable[[str], str]
) -> None:
    node = pair.with_options(url=role("first"))
    node.sync()
    app.run("UPDATE chat SET title = 'new' WHERE id = 'c8'")
    rotate = f"ALTER ROLE {urlsplit(node.url).username} PASSWORD 'second'"
    with at_step("claimed", lambda: pair.sql(rotate)):
        assert written(node.sync()) == (0, 1, 0)
    with pytest.raises(Unavailable) as caught:
        node.sync()
    assert "first" not in f"{caught.value.what} {caught.value.why} {caught.value.hint}"
    assert pair.with_options(url=role("second")).sync().level == "idle"
    pair.assert_equal()


def test_case_27_a_deadlock_with_a_reporting_query(pair: Pair, app: Application) -> None:
    pair.synced()
    app.script("UPDATE chat SET title = 'new' WHERE id = 'c1'; UPDATE user SET name = 'new' WHERE id = 'u1'")
    errors: list[str] = []
    with psycopg.connect(pair.url) as report:
        report.execute(f'LOCK TABLE {pair.schema}."user" IN SHARE MODE')

        def wait_for_the_other() -> None:
            try:
                report.execute(f"LOCK TABLE {pair.schema}.chat IN ACCESS EXCLUSIVE MODE")
                report.commit()
            except psycopg.errors.DeadlockDetected as error:
                errors.append(type(error).__name__)
                report.rollback()

        thread = threading.Thread(target=wait_for_the_other)
        with at_step("claimed", lambda: None):
            running = threading.Thread(target=lambda: _try(pair, errors))
            running.start()
            while not pair.sql("SELECT 1 FROM pg_locks WHERE NOT granted"):
                pass
            thread.start()
            running.join(30)
            thread.join(30)
    assert len(errors) <= 1
    pair.synced()


def _try(pair: Pair, errors: list[str]) -> None:
    try:
        pair.sync()
    except Conflict as error:
        errors.append(type(error).__name__)


@pytest.mark.parametrize("file_bytes", [20_000, 120_000])
@pytest.mark.parametrize("full", [True, False], ids=["full", "incremental"])
def test_case_27_the_local_disk_is_full(pair: Pair, app: Application, file_bytes: int, *, full: bool) -> None:
    if not full:
        pair.synced()
    app.run("UPDATE chat SET title = title || hex(randomblob(1000))")
    outcome = in_child(pair, file_bytes=file_bytes)
    assert outcome.error is not None, outcome
    assert outcome.error in ("ClientManagerError", "Unavailable", "Blocked", "Conflict"), outcome.text
    assert pair.generation() == (0 if full else 1)
    assert pair.synced().level == ("full" if full else "pages")


def test_case_27_a_table_of_the_clients_name_that_is_not_ours_is_not_replaced(pair: Pair, app: Application) -> None:
    del app
    pair.sql("CREATE SCHEMA {}")
    pair.sql("CREATE TABLE {}.precious AS SELECT 1 AS n")
    with pytest.raises(ClientManagerError):
        pair.sync()
    assert pair.sql("SELECT n FROM {}.precious") == [(1,)]
    shutil.rmtree(pair.state, ignore_errors=True)
    pair.sync(confirmed=True)
    pair.assert_equal()
