"""Nasty cases 17 and 18: orphans, and migrations of the application between and during runs."""

import pytest

from client_manager.errors import ClientManagerError, Unavailable
from tests.replication.application import Application
from tests.replication.proof.pair import Pair, at_step, written

# What Alembic's batch_alter_table does, each statement in one transaction (sync-engine.md fact 4).
BATCH = (
    "CREATE TABLE _alembic_tmp_chat (id VARCHAR(255) NOT NULL, user_id TEXT, title TEXT NOT NULL, chat JSON,"
    " archived BOOLEAN, updated_at BIGINT, pinned BOOLEAN, PRIMARY KEY (id))",
    "INSERT INTO _alembic_tmp_chat (id, user_id, title, chat, archived, updated_at)"
    " SELECT id, user_id, title, chat, archived, updated_at FROM chat",
    "DROP TABLE chat",
    "ALTER TABLE _alembic_tmp_chat RENAME TO chat",
)


def test_case_17_orphans_arrive(pair: Pair) -> None:
    app = pair.application(
        """
        CREATE TABLE parent (id TEXT PRIMARY KEY);
        CREATE TABLE child (id TEXT PRIMARY KEY, parent_id TEXT NOT NULL REFERENCES parent (id) ON DELETE CASCADE);
        INSERT INTO parent VALUES ('p'); INSERT INTO child VALUES ('c', 'p'), ('orphan', 'nobody');
        """,
        "journal_mode = wal",
    )
    pair.synced()
    app.run("DELETE FROM parent")
    assert written(pair.synced()) == (0, 0, 1)


def test_case_18_batch_alter_table_in_one_transaction(pair: Pair, app: Application) -> None:
    pair.synced()
    with app.transaction():
        for statement in BATCH:
            app.run(statement)
    pair.synced()
    app.run("UPDATE chat SET pinned = 1 WHERE id = 'c7'")
    assert written(pair.synced()) == (0, 1, 0)


@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
def test_case_18_batch_alter_table_is_waited_for_where_the_table_is_gone(
    pair: Pair, app: Application, *, first: bool
) -> None:
    if not first:
        pair.synced()
    for statement in BATCH[:3]:
        app.run(statement)
    with pytest.raises(Unavailable):
        pair.sync()
    assert pair.status() == "source_migrating"
    app.run(BATCH[3])
    pair.synced()
    assert pair.status() == "ok"


@pytest.mark.parametrize("done", [1, 2])
def test_case_18_the_unfinished_copy_of_a_table_is_not_replicated(pair: Pair, app: Application, done: int) -> None:
    pair.synced()
    for statement in BATCH[:done]:
        app.run(statement)
    pair.synced()


def test_case_18_batch_alter_table_during_a_run(pair: Pair, app: Application) -> None:
    pair.synced()
    app.run("UPDATE chat SET title = 'before' WHERE id = 'c7'")

    def migrate() -> None:
        with app.transaction():
            for statement in BATCH:
                app.run(statement)

    with at_step("claimed", migrate):
        assert written(pair.sync()) == (0, 1, 0)
    pair.synced()


CHANGES = {
    "add": ["ALTER TABLE chat ADD COLUMN pinned BOOLEAN", "UPDATE chat SET pinned = 1 WHERE id = 'c7'"],
    "add with a default": ["ALTER TABLE chat ADD COLUMN share TEXT NOT NULL DEFAULT 'no'"],
    "add json with a default": ["ALTER TABLE chat ADD COLUMN meta JSON DEFAULT '{}'"],
    "drop": ["ALTER TABLE chat DROP COLUMN title"],
    "drop and add": ["ALTER TABLE chat DROP COLUMN title", "ALTER TABLE chat ADD COLUMN title BIGINT"],
    "rename column": ["ALTER TABLE chat RENAME COLUMN title TO heading"],
    "swap columns": [
        "ALTER TABLE chat RENAME COLUMN title TO x",
        "ALTER TABLE chat RENAME COLUMN user_id TO title",
        "ALTER TABLE chat RENAME COLUMN x TO user_id",
    ],
    "rename key": ["ALTER TABLE chat RENAME COLUMN id TO uuid"],
    "rename table": ["ALTER TABLE chat RENAME TO conversation"],
    "config to config_old": [
        "ALTER TABLE config RENAME TO config_old",
        "CREATE TABLE config (id INTEGER PRIMARY KEY, data JSON)",
        "INSERT INTO config VALUES (1, '{}')",
    ],
    "swap tables": [
        "ALTER TABLE chat RENAME TO x",
        "ALTER TABLE user RENAME TO chat",
        "ALTER TABLE x RENAME TO user",
    ],
    "new table": ["CREATE TABLE note (id TEXT PRIMARY KEY)", "INSERT INTO note VALUES ('n')"],
    "new empty table": ["CREATE TABLE note (id TEXT PRIMARY KEY)"],
    "drop table": ["DROP TABLE tag"],
    "drop and make the same": [
        "DROP TABLE tag",
        "CREATE TABLE tag (id VARCHAR(255), name VARCHAR(255) UNIQUE, user_id VARCHAR(255), meta JSON,"
        " PRIMARY KEY (id, user_id))",
        "INSERT INTO tag VALUES ('t1', 'other', 'u1', NULL)",
    ],
    "other type": [
        "ALTER TABLE chat RENAME TO x",
        "CREATE TABLE chat (id VARCHAR(255) PRIMARY KEY, updated_at DATETIME, archived BIGINT, chat TEXT)",
        "INSERT INTO chat SELECT id, updated_at, archived, chat FROM x",
        "DROP TABLE x",
    ],
    "other key": [
        "ALTER TABLE tag RENAME TO x",
        "CREATE TABLE tag (id VARCHAR(255) PRIMARY KEY, name TEXT, user_id TEXT, meta JSON)",
        "INSERT INTO tag SELECT * FROM x",
        "DROP TABLE x",
    ],
    "without rowid": [
        "ALTER TABLE tag RENAME TO x",
        "CREATE TABLE tag (id TEXT, name TEXT, user_id TEXT, meta JSON, PRIMARY KEY (id, user_id)) WITHOUT ROWID",
        "INSERT INTO tag SELECT * FROM x",
        "DROP TABLE x",
    ],
    "indexes and views": [
        "CREATE INDEX chat_title ON chat (title)",
        "CREATE VIEW titles AS SELECT title FROM chat",
        "CREATE TRIGGER t AFTER INSERT ON chat BEGIN UPDATE user SET name = 'triggered' WHERE id = 'u1'; END",
        "INSERT INTO chat (id) VALUES ('fires')",
    ],
    "search": [
        "CREATE VIRTUAL TABLE found USING fts5 (body)",
        "INSERT INTO found VALUES ('some words to be found')",
        "INSERT INTO found VALUES ('more words')",
        "DELETE FROM found WHERE rowid = 1",
    ],
    "generated columns": [
        "CREATE TABLE g (id INTEGER PRIMARY KEY, a TEXT, b TEXT AS (upper(a)) VIRTUAL, c TEXT AS (lower(a)) STORED)",
        "INSERT INTO g (a) VALUES ('Aa'), ('Bb')",
        "UPDATE g SET a = 'Cc' WHERE id = 1",
    ],
    "internal tables": [
        "CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT)",
        "INSERT INTO counted DEFAULT VALUES",
        "ANALYZE",
        "CREATE TABLE _litestream_seq (id INTEGER)",
    ],
    "no more table but one": ["DROP TABLE tag", "DROP TABLE config", "DROP TABLE user"],
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_case_18_the_declarations_change_between_two_runs(pair: Pair, app: Application, changes: list[str]) -> None:
    pair.synced()
    for change in changes:
        app.run(change)
    pair.synced(confirmed=True)
    assert pair.verify(heal=False).equal
    assert written(pair.synced()) == (0, 0, 0)


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_case_18_the_declarations_change_and_every_step_is_a_run(
    pair: Pair, app: Application, changes: list[str]
) -> None:
    app.run("UPDATE chat SET chat = 'no json' WHERE id IN ('c7', 'c8')")
    pair.synced()
    for change in changes:
        app.run(change)
        pair.synced(confirmed=True)


def test_case_18_a_downgrade_gives_the_old_shape_back(pair: Pair, app: Application) -> None:
    pair.synced()
    app.run("ALTER TABLE chat ADD COLUMN pinned BOOLEAN DEFAULT 1")
    pair.synced()
    app.run("ALTER TABLE chat DROP COLUMN pinned")
    pair.synced()
    assert pair.sql(
        "SELECT count(*) FROM pg_attribute WHERE attrelid = '{}.chat'::regclass AND attnum > 0 AND NOT attisdropped"
    ) == [(6,)]


def test_case_18_views_of_others_on_a_table_that_changes_are_not_dropped(pair: Pair, app: Application) -> None:
    pair.synced()
    pair.sql("CREATE SCHEMA report")
    pair.sql("CREATE VIEW report.titles AS SELECT title FROM {}.chat")
    app.run("ALTER TABLE chat DROP COLUMN title")
    with pytest.raises(ClientManagerError) as caught:
        pair.sync()
    assert "titles" in f"{caught.value.what} {caught.value.why}"
    assert pair.sql("SELECT count(*) FROM report.titles") == [(300,)]
    pair.sql("DROP SCHEMA report CASCADE")
    pair.synced()
