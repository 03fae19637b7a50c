"""Databases that older versions of Open WebUI wrote, and their upgrades in place between two runs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from client_manager.models.replication import RunResult
from tests.replication.application import Application
from tests.replication.conftest import Tenant
from tests.replication.proof.pair import written

# As peewee declares: no PRIMARY KEY beside AutoField, BooleanField and BigIntegerField are INTEGER.
PEEWEE = """
CREATE TABLE "migratehistory" ("id" INTEGER NOT NULL PRIMARY KEY, "name" VARCHAR(255) NOT NULL,
    "migrated_at" DATETIME NOT NULL);
CREATE TABLE "auth" ("id" VARCHAR(255) NOT NULL, "email" VARCHAR(255) NOT NULL, "password" TEXT NOT NULL,
    "active" INTEGER NOT NULL);
CREATE UNIQUE INDEX "auth_id" ON "auth" ("id");
CREATE TABLE "chat" ("id" VARCHAR(255) NOT NULL, "user_id" VARCHAR(255) NOT NULL, "title" TEXT NOT NULL,
    "chat" TEXT NOT NULL, "share_id" VARCHAR(255), "archived" INTEGER NOT NULL, "created_at" INTEGER NOT NULL,
    "updated_at" INTEGER NOT NULL);
CREATE UNIQUE INDEX "chat_id" ON "chat" ("id");
CREATE UNIQUE INDEX "chat_share_id" ON "chat" ("share_id");
CREATE TABLE "chatidtag" ("id" VARCHAR(255) NOT NULL, "tag_name" VARCHAR(255) NOT NULL,
    "chat_id" VARCHAR(255) NOT NULL, "user_id" VARCHAR(255) NOT NULL, "timestamp" INTEGER NOT NULL);
CREATE TABLE "document" ("id" INTEGER NOT NULL PRIMARY KEY, "collection_name" VARCHAR(255) NOT NULL,
    "name" VARCHAR(255) NOT NULL, "content" TEXT, "timestamp" INTEGER NOT NULL);
CREATE UNIQUE INDEX "document_collection_name" ON "document" ("collection_name");
CREATE UNIQUE INDEX "document_name" ON "document" ("name");
CREATE TABLE "model" ("id" TEXT NOT NULL, "user_id" TEXT NOT NULL, "base_model_id" TEXT, "name" TEXT NOT NULL,
    "meta" TEXT NOT NULL, "params" TEXT NOT NULL);
CREATE UNIQUE INDEX "model_id" ON "model" ("id");
CREATE TABLE "tag" ("id" VARCHAR(255) NOT NULL, "name" VARCHAR(255) NOT NULL, "user_id" VARCHAR(255) NOT NULL,
    "data" TEXT);
CREATE UNIQUE INDEX "tag_id" ON "tag" ("id");
CREATE TABLE "user" ("id" VARCHAR(255) NOT NULL, "name" VARCHAR(255) NOT NULL, "email" VARCHAR(255) NOT NULL,
    "role" VARCHAR(255) NOT NULL, "api_key" VARCHAR(255), "settings" TEXT, "last_active_at" INTEGER NOT NULL);
CREATE UNIQUE INDEX "user_api_key" ON "user" ("api_key");
CREATE UNIQUE INDEX "user_id" ON "user" ("id");

INSERT INTO migratehistory VALUES (1, '001_initial_schema', '2024-04-02 09:10:11.120000'),
    (2, '002_add_local_sharing', '2024-04-02 09:10:11.654321'), (3, '003_add_auth_api_key', '2024-04-02 09:10:12');
INSERT INTO auth VALUES ('u1', 'ada@example.test', '$2b$12$x', 1), ('u2', 'bob@example.test', '$2b$12$y', 0);
INSERT INTO user VALUES ('u1', 'Ada', 'ada@example.test', 'admin', 'sk-1', '{"ui": {"models": ["a"]}}', 1712000000),
    ('u2', 'Bøb', 'bob@example.test', 'user', NULL, NULL, 1712000001);
INSERT INTO chat VALUES ('c1', 'u1', 'One', '{"messages": [1,  2]}', 's1', 0, 1712000000, 1712000000),
    ('c2', 'u1', 'Two', 'no json', NULL, 1, 1712000001, 1712000001),
    ('c3', 'u2', 'Three', '{"messages": []}', NULL, 0, 1712000002, 1712000002);
INSERT INTO chatidtag VALUES ('x1', 'Work', 'c1', 'u1', 1712000000), ('x2', 'pinned', 'c2', 'u1', 1712000001);
INSERT INTO document (collection_name, name, timestamp) VALUES ('h1', 'a.pdf', 1712000000), ('h2', 'b.pdf', 1712000001);
INSERT INTO model VALUES ('m1', 'u1', NULL, 'Model', '{"profile": null}', '{}');
INSERT INTO tag VALUES ('t1', 'Work', 'u1', NULL), ('t2', 'pinned', 'u1', NULL);
"""
PEEWEE_TYPES = {
    ("migratehistory", "migrated_at"): "timestamp without time zone",
    ("auth", "active"): "bigint",
    ("chat", "id"): "text",
    ("chat", "chat"): "text",
    ("chat", "archived"): "bigint",
    ("chatidtag", "timestamp"): "bigint",
    ("user", "settings"): "text",
}
PEEWEE_KEYS = {
    "migratehistory": ["id"],
    "auth": ["id"],
    "chat": ["id"],
    "document": ["id"],
    "model": ["id"],
    "tag": ["id"],
    "user": ["id"],
}

# As Alembic declares on the way from revision 242a2047eae0 to 4ace53fd72c8.
ALEMBIC = """
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num));
CREATE TABLE chat (id VARCHAR NOT NULL, user_id VARCHAR, title TEXT, created_at BIGINT, updated_at BIGINT,
    share_id TEXT, archived BOOLEAN, chat JSON, pinned BOOLEAN, meta JSON DEFAULT '{}' NOT NULL, folder_id TEXT,
    PRIMARY KEY (id), UNIQUE (share_id));
CREATE TABLE config (id INTEGER NOT NULL, data JSON NOT NULL, version INTEGER NOT NULL,
    created_at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, updated_at DATETIME DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (id));
CREATE TABLE folder (id TEXT NOT NULL, parent_id TEXT, user_id TEXT NOT NULL, name TEXT NOT NULL, items JSON, meta JSON,
    is_expanded BOOLEAN NOT NULL, created_at DATETIME DEFAULT (CURRENT_TIMESTAMP) NOT NULL,
    updated_at DATETIME DEFAULT (CURRENT_TIMESTAMP) NOT NULL, PRIMARY KEY (id, user_id));
CREATE TABLE memory (id VARCHAR NOT NULL, user_id VARCHAR, content TEXT, updated_at BIGINT, created_at BIGINT,
    PRIMARY KEY (id));
CREATE TABLE tag (id VARCHAR NOT NULL, name VARCHAR, user_id VARCHAR NOT NULL, meta JSON,
    CONSTRAINT pk_id_user_id PRIMARY KEY (id, user_id));

INSERT INTO alembic_version VALUES ('af906e964978');
INSERT INTO chat VALUES
    ('c1', 'u1', 'One', 1729600000, 1729600000, 's1', 0, '{"messages": [1,  2]}', 1, '{"tags": ["work"]}', 'f1'),
    ('c2', 'u1', 'Two', 1729600001, 1729600001, NULL, 1, 'null', NULL, '{}', NULL),
    ('c3', 'u2', NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{}', NULL);
INSERT INTO config VALUES (1, '{"version": 0, "ui": {"enable_signup": false}, "rag": {"top_k": 3}}', 0,
    '2024-10-01 08:00:00', '2024-10-23 03:00:00.500000');
INSERT INTO folder VALUES ('f1', NULL, 'u1', 'Work', 'null', NULL, 1, '2024-10-20 11:12:13', '2024-10-20 11:12:13'),
    ('f1', NULL, 'u2', 'Home', '{"chat_ids": []}', NULL, 0, '2024-10-21 11:12:13', '2024-10-23 03:00:00.000000');
INSERT INTO memory VALUES ('m1', 'u1', 'likes tea', 1729600000, 1729600000), ('m2', 'u2', '', NULL, NULL);
INSERT INTO tag VALUES ('work', 'Work', 'u1', NULL), ('work', 'work', 'u2', '{}'), ('home', 'Home', 'u1', 'null');
"""
ALEMBIC_TYPES = {
    ("alembic_version", "version_num"): "text",
    ("chat", "chat"): "json",
    ("chat", "archived"): "boolean",
    ("config", "id"): "bigint",
    ("config", "data"): "json",
    ("config", "created_at"): "timestamp without time zone",
    ("folder", "updated_at"): "timestamp without time zone",
}
ALEMBIC_KEYS = {
    "alembic_version": ["version_num"],
    "chat": ["id"],
    "config": ["id"],
    "folder": ["id", "user_id"],
    "memory": ["id"],
    "tag": ["id", "user_id"],
}

BATCH = (
    "CREATE TABLE _alembic_tmp_chat (id VARCHAR NOT NULL, user_id VARCHAR, title TEXT NOT NULL, created_at BIGINT,"
    " updated_at BIGINT, archived BOOLEAN, chat JSON, meta JSON DEFAULT '{}' NOT NULL, PRIMARY KEY (id))",
    "INSERT INTO _alembic_tmp_chat SELECT id, user_id, coalesce(title, ''), created_at, updated_at, archived,"
    " chat, meta FROM chat",
    "DROP TABLE chat",
    "ALTER TABLE _alembic_tmp_chat RENAME TO chat",
)


@dataclass(frozen=True)
class Upgrade:
    """A change of the declarations: what it makes of a table, what a query then finds, and an update of one row."""

    before: str
    script: str
    table: str
    types: dict[str, str]
    query: str
    rows: list[tuple[Any, ...]]
    update: str


UPGRADES = {
    "columns with defaults are added": Upgrade(
        PEEWEE,
        """
        ALTER TABLE chat ADD COLUMN pinned BOOLEAN;
        ALTER TABLE chat ADD COLUMN meta JSON DEFAULT '{}' NOT NULL;
        ALTER TABLE chat ADD COLUMN kind VARCHAR DEFAULT 'context' NOT NULL;
        ALTER TABLE chat ADD COLUMN is_active BOOLEAN DEFAULT 1 NOT NULL;
        UPDATE chat SET pinned = 1, meta = '{"tags":  ["work"]}' WHERE id = 'c2';
        """,
        "chat",
        {
            "id": "text",
            "user_id": "text",
            "title": "text",
            "chat": "text",
            "share_id": "text",
            "archived": "bigint",
            "created_at": "bigint",
            "updated_at": "bigint",
            "pinned": "boolean",
            "meta": "json",
            "kind": "text",
            "is_active": "boolean",
        },
        "SELECT id, pinned, meta::text, kind, is_active FROM acme.chat ORDER BY id",
        [
            ("c1", None, "{}", "context", True),
            ("c2", True, '{"tags":  ["work"]}', "context", True),
            ("c3", None, "{}", "context", True),
        ],
        "UPDATE chat SET is_active = 0 WHERE id = 'c1'",
    ),
    "text becomes JSON by way of another column": Upgrade(
        PEEWEE,
        """
        ALTER TABLE chat RENAME COLUMN chat TO old_chat;
        ALTER TABLE chat ADD COLUMN chat JSON;
        UPDATE chat SET chat = CASE WHEN json_valid(old_chat) THEN json(old_chat) ELSE 'null' END;
        ALTER TABLE chat DROP COLUMN old_chat;
        """,
        "chat",
        {
            "id": "text",
            "user_id": "text",
            "title": "text",
            "share_id": "text",
            "archived": "bigint",
            "created_at": "bigint",
            "updated_at": "bigint",
            "chat": "json",
        },
        "SELECT id, chat::text FROM acme.chat ORDER BY id",
        [("c1", '{"messages":[1,2]}'), ("c2", "null"), ("c3", '{"messages":[]}')],
        "UPDATE chat SET chat = '[]' WHERE id = 'c1'",
    ),
    "a table without a key gets one by a copy": Upgrade(
        PEEWEE,
        """
        CREATE TABLE _alembic_tmp_chatidtag (id VARCHAR(255) NOT NULL, tag_name VARCHAR(255), chat_id VARCHAR(255),
            user_id VARCHAR(255), timestamp BIGINT, CONSTRAINT pk_chatidtag_id PRIMARY KEY (id));
        INSERT INTO _alembic_tmp_chatidtag SELECT * FROM chatidtag;
        DROP TABLE chatidtag;
        ALTER TABLE _alembic_tmp_chatidtag RENAME TO chatidtag;
        """,
        "chatidtag",
        {"id": "text", "tag_name": "text", "chat_id": "text", "user_id": "text", "timestamp": "bigint"},
        "SELECT * FROM acme.chatidtag ORDER BY id",
        [("x1", "Work", "c1", "u1", 1712000000), ("x2", "pinned", "c2", "u1", 1712000001)],
        "UPDATE chatidtag SET tag_name = 'other' WHERE id = 'x1'",
    ),
    "dates become numbers by a copy": Upgrade(
        ALEMBIC,
        """
        CREATE TABLE _alembic_tmp_folder (id TEXT NOT NULL, parent_id TEXT, user_id TEXT NOT NULL, name TEXT NOT NULL,
            items JSON, meta JSON, is_expanded BOOLEAN NOT NULL, created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL,
            PRIMARY KEY (id, user_id));
        INSERT INTO _alembic_tmp_folder SELECT id, parent_id, user_id, name, items, meta, is_expanded,
            CAST(created_at AS BIGINT), strftime('%s', updated_at) FROM folder;
        DROP TABLE folder;
        ALTER TABLE _alembic_tmp_folder RENAME TO folder;
        UPDATE alembic_version SET version_num = '4ace53fd72c8';
        """,
        "folder",
        {
            "id": "text",
            "parent_id": "text",
            "user_id": "text",
            "name": "text",
            "items": "json",
            "meta": "json",
            "is_expanded": "boolean",
            "created_at": "bigint",
            "updated_at": "bigint",
        },
        "SELECT id, user_id, items::text, created_at, updated_at FROM acme.folder ORDER BY user_id",
        [("f1", "u1", "null", 2024, 1729422733), ("f1", "u2", '{"chat_ids": []}', 2024, 1729652400)],
        "UPDATE folder SET updated_at = 1 WHERE user_id = 'u2'",
    ),
    "one row of settings becomes many, the old table kept": Upgrade(
        ALEMBIC,
        """
        ALTER TABLE config RENAME TO config_legacy;
        CREATE TABLE config ("key" TEXT NOT NULL, value JSON NOT NULL, updated_at BIGINT, PRIMARY KEY ("key"));
        INSERT INTO config VALUES ('ui.enable_signup', 'false', 1729700000), ('rag.top_k', '3', 1729700000),
            ('rag.relevance_threshold', '0.5', NULL);
        """,
        "config",
        {"key": "text", "value": "json", "updated_at": "bigint"},
        "SELECT key, value::text, l.id, l.data->'rag'->>'top_k', l.updated_at::text"
        " FROM acme.config, acme.config_legacy l ORDER BY key",
        [
            ("rag.relevance_threshold", "0.5", 1, "3", "2024-10-23 03:00:00.5"),
            ("rag.top_k", "3", 1, "3", "2024-10-23 03:00:00.5"),
            ("ui.enable_signup", "false", 1, "3", "2024-10-23 03:00:00.5"),
        ],
        "UPDATE config SET value = '5' WHERE key = 'rag.top_k'",
    ),
    "a downgrade drops columns": Upgrade(
        ALEMBIC,
        """
        ALTER TABLE chat DROP COLUMN folder_id;
        ALTER TABLE chat DROP COLUMN meta;
        UPDATE alembic_version SET version_num = '242a2047eae0';
        """,
        "chat",
        {
            "id": "text",
            "user_id": "text",
            "title": "text",
            "created_at": "bigint",
            "updated_at": "bigint",
            "share_id": "text",
            "archived": "boolean",
            "chat": "json",
            "pinned": "boolean",
        },
        "SELECT id, chat::text, pinned FROM acme.chat ORDER BY id",
        [("c1", '{"messages": [1,  2]}', True), ("c2", "null", None), ("c3", None, None)],
        "UPDATE chat SET pinned = 0 WHERE id = 'c1'",
    ),
}


@pytest.fixture(params=["delete", "wal"])
def app(tenant: Tenant, request: pytest.FixtureRequest) -> Iterator[Application]:
    """The application; older versions leave the database without a write-ahead log unless told otherwise."""
    with Application(tenant.path, f"journal_mode = {request.param}") as found:
        yield found


def test_a_database_of_the_peewee_era(tenant: Tenant, app: Application) -> None:
    app.script(PEEWEE)
    result = _synced(tenant)
    assert (result.level, result.tables, written(result)) == ("full", 8, (17, 0, 0))
    assert (result.quarantined, result.converted) == (0, 0)
    assert _keys(tenant) == PEEWEE_KEYS
    assert {place: kind for place, kind in _types(tenant).items() if place in PEEWEE_TYPES} == PEEWEE_TYPES
    app.script(
        """
        INSERT INTO chat VALUES ('c4', 'u2', 'Four', '{}', NULL, 0, 1712000003, 1712000003);
        UPDATE chat SET chat = '{"messages": [1, 2, 3]}', share_id = NULL WHERE id = 'c1';
        DELETE FROM chat WHERE id = 'c2';
        UPDATE tag SET id = 'T1' WHERE id = 't1';
        INSERT OR REPLACE INTO user SELECT 'u3', 'Cy', email, role, api_key, settings, 0 FROM user WHERE id = 'u1';
        UPDATE document SET name = 'c.pdf' WHERE id = 2;
        """
    )
    assert written(_synced(tenant)) == (3, 2, 3)


def test_rows_without_a_key(tenant: Tenant, app: Application) -> None:
    """Nothing but their number tells the same rows apart."""
    app.script(PEEWEE)
    app.run("INSERT INTO chatidtag SELECT 'same', 'same', 'c1', 'u1', 0 FROM chat")
    _synced(tenant)
    app.script(
        """
        DELETE FROM chatidtag WHERE rowid = (SELECT max(rowid) FROM chatidtag);
        UPDATE chatidtag SET tag_name = 'changed' WHERE rowid = (SELECT max(rowid) FROM chatidtag);
        INSERT INTO chatidtag SELECT * FROM chatidtag WHERE id = 'x1';
        """
    )
    _synced(tenant)
    assert tenant.sql("SELECT id, tag_name, count(*) FROM acme.chatidtag GROUP BY 1, 2 ORDER BY 1, 2") == [
        ("same", "changed", 1),
        ("same", "same", 1),
        ("x1", "Work", 2),
        ("x2", "pinned", 1),
    ]


def test_a_database_of_the_alembic_era(tenant: Tenant, app: Application) -> None:
    app.script(ALEMBIC)
    result = _synced(tenant)
    assert (result.level, result.tables, written(result)) == ("full", 6, (12, 0, 0))
    assert (result.quarantined, result.converted) == (0, 1)
    assert _keys(tenant) == ALEMBIC_KEYS
    assert {place: kind for place, kind in _types(tenant).items() if place in ALEMBIC_TYPES} == ALEMBIC_TYPES
    app.script(
        """
        UPDATE config SET data = json_set(data, '$.rag.top_k', 5), updated_at = '2024-10-24 00:00:00.000001';
        DELETE FROM tag WHERE id = 'work' AND user_id = 'u2';
        UPDATE tag SET name = 'At work' WHERE id = 'work';
        INSERT INTO tag VALUES ('home', 'Home', 'u2', 60);
        UPDATE folder SET updated_at = '2024-10-24 00:00:00.000002';
        INSERT INTO chat (id, chat) VALUES ('c4', '{}');
        """
    )
    result = _synced(tenant)
    assert (written(result), result.converted) == ((2, 4, 1), 0)


@pytest.mark.parametrize("upgrade", UPGRADES.values(), ids=UPGRADES)
def test_an_upgrade_in_place_between_two_runs(tenant: Tenant, app: Application, upgrade: Upgrade) -> None:
    app.script(upgrade.before)
    _synced(tenant)
    app.script(upgrade.script)
    assert _synced(tenant).level == "sql"
    types = {column: kind for (table, column), kind in _types(tenant).items() if table == upgrade.table}
    assert types == upgrade.types
    assert tenant.sql(upgrade.query) == upgrade.rows
    app.run(upgrade.update)
    assert written(_synced(tenant)) == (0, 1, 0)


@pytest.mark.parametrize("loaded", [True, False], ids=["after a run", "before the first run"])
def test_a_copy_that_a_broken_migration_left_is_no_table_of_the_replica(
    tenant: Tenant, app: Application, *, loaded: bool
) -> None:
    app.script(ALEMBIC)
    if loaded:
        _synced(tenant)
    for statement in BATCH[:2]:
        app.run(statement)
    _synced(tenant)
    assert _keys(tenant) == ALEMBIC_KEYS
    app.run("UPDATE chat SET title = 'while it is there' WHERE id = 'c1'")
    assert written(_synced(tenant)) == (0, 1, 0)
    app.run("DROP TABLE _alembic_tmp_chat")
    for statement in BATCH:
        app.run(statement)
    _synced(tenant)
    assert tenant.sql("SELECT id, title FROM acme.chat ORDER BY id") == [
        ("c1", "while it is there"),
        ("c2", "Two"),
        ("c3", ""),
    ]


def _synced(tenant: Tenant) -> RunResult:
    """Run; then the oracle judges, and the engine itself."""
    result = tenant.synced()
    found = tenant.verify(heal=False)
    assert found.equal, found.differences
    return result


def _types(tenant: Tenant) -> dict[tuple[str, str], str]:
    listed = tenant.sql(
        "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'acme'"
    )
    return {(table, column): kind for table, column, kind in listed}


def _keys(tenant: Tenant) -> dict[str, list[str]]:
    listed = tenant.sql(
        "SELECT table_name, array_agg(column_name::text ORDER BY ordinal_position)"
        " FROM information_schema.key_column_usage WHERE table_schema = 'acme' GROUP BY 1"
    )
    return dict(listed)
