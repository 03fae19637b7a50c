"""A database that Open WebUI 0.12.4 wrote: all of it arrives, its edits do, and it comes back from the replica."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
import pytest
from psycopg.types.string import TextLoader

from tests.replication.application import Application
from tests.replication.conftest import Tenant
from tests.replication.proof.pair import written

# Numbers of rows: inserted, updated, deleted.
EDITS: dict[str, tuple[str, tuple[int, int, int]]] = {
    "a chat is begun": (
        """
        INSERT INTO chat (id, user_id, title, chat, created_at, updated_at, archived, pinned, meta)
            SELECT 'new-chat', id, 'Größen 数据', '{"messages": [],  "n": 1e2}', 1800000000, 1800000000, 0, 0, '{}'
            FROM user WHERE email = 'user0@example.test';
        INSERT INTO chat_message (id, chat_id, role, content, done, created_at) VALUES
            ('new-chat-1', 'new-chat', 'user', '"Hi\\u0000"', 1, 1800000000),
            ('new-chat-2', 'new-chat', 'assistant', '""', 0, 1800000001);
        INSERT INTO tag (id, name, user_id) SELECT 'new', 'New', id FROM user WHERE email = 'user0@example.test';
        UPDATE user SET last_active_at = 1800000000 WHERE email = 'user0@example.test';
        """,
        (4, 1, 0),
    ),
    "a chat goes on, its answer written in pieces": (
        """
        INSERT INTO chat_message (id, chat_id, role, content, done)
            SELECT 'piecemeal', id, 'assistant', '"It"', 0 FROM chat WHERE title LIKE 'Chat 1 %';
        UPDATE chat_message SET content = '"It is"' WHERE id = 'piecemeal';
        UPDATE chat_message SET content = '"It is so."', done = 1 WHERE id = 'piecemeal';
        UPDATE chat SET chat = json_set(chat, '$.title', 'So'), current_message_id = 'piecemeal',
            updated_at = 1800000002 WHERE title LIKE 'Chat 1 %';
        """,
        (1, 1, 0),
    ),
    "chats are archived": (
        "UPDATE chat SET archived = 1, updated_at = 1800000003 WHERE title LIKE 'Chat 2_ %'",
        (0, 10, 0),
    ),
    "a shared chat of 8 messages is deleted": (
        """
        DELETE FROM shared_chat WHERE chat_id = (SELECT id FROM chat WHERE title LIKE 'Chat 13 %');
        DELETE FROM chat_message WHERE chat_id = (SELECT id FROM chat WHERE title LIKE 'Chat 13 %');
        DELETE FROM chat WHERE title LIKE 'Chat 13 %';
        """,
        (0, 0, 10),
    ),
    "settings are saved": (
        """
        UPDATE config SET value = '"https://chat.example.test"' WHERE key = 'webui.url';
        UPDATE config SET value = '90' WHERE key = 'code_execution.jupyter.timeout';
        UPDATE config SET value = '0.25' WHERE key = 'rag.relevance_threshold';
        UPDATE config SET value = 'null' WHERE key = 'rag.top_k';
        INSERT INTO config VALUES ('new.setting', '[]', 1800000004);
        """,
        (1, 4, 0),
    ),
    "a tag that 6 users have gets another key": ("UPDATE tag SET id = 'work' WHERE id = 'tag_0'", (6, 0, 6)),
    "one folder is opened, one deleted": (
        "UPDATE folder SET is_expanded = 1 WHERE name = 'Folder 1'; DELETE FROM folder WHERE name = 'Folder 0'",
        (0, 1, 1),
    ),
    "a row is replaced": (
        "INSERT OR REPLACE INTO memory (id, user_id, content)"
        " SELECT id, user_id, 'instead' FROM memory WHERE content = 'remember 3'",
        (0, 1, 0),
    ),
    "all notes are deleted": ("DELETE FROM note", (0, 0, 12)),
    "nothing has another value": ("UPDATE user SET name = name, updated_at = updated_at + 0", (0, 0, 0)),
    "a row came and went": (
        "INSERT INTO memory (id, content) VALUES ('brief', ''); DELETE FROM memory WHERE id = 'brief'",
        (0, 0, 0),
    ),
    "edits were taken back": ("SAVEPOINT s; DELETE FROM user; UPDATE config SET value = 0; ROLLBACK TO s", (0, 0, 0)),
}

TYPES = {
    ("alembic_version", "version_num"): "text",
    ("auth", "active"): "boolean",
    ("auth", "mfa"): "json",
    ("auth", "password"): "text",
    ("calendar_event", "start_at"): "bigint",
    ("chat", "archived"): "boolean",
    ("chat", "chat"): "json",
    ("chat", "created_at"): "bigint",
    ("chat", "id"): "text",
    ("chat", "meta"): "json",
    ("chat", "title"): "text",
    ("config", "key"): "text",
    ("config", "value"): "json",
    ("config_old", "created_at"): "timestamp without time zone",
    ("config_old", "id"): "bigint",
    ("config_old", "version"): "bigint",
    ("function", "valves"): "text",
    ("group", "permissions"): "json",
    ("model", "is_active"): "boolean",
    ("model", "params"): "text",
    ("note", "updated_at"): "bigint",
    ("prompt", "command"): "text",
    ("user", "date_of_birth"): "date",
    ("user", "settings"): "json",
    ("user", "username"): "text",
}

KEYS = {
    "chat": ["id"],
    "config": ["key"],
    "config_old": ["id"],
    "document": ["collection_name"],
    "folder": ["id", "user_id"],
    "group": ["id"],
    "tag": ["id", "user_id"],
}

# SQLite takes any value in any column. 9 of these do not fit, and 4 fit in another form only.
ODD = """
UPDATE user SET date_of_birth = '1990-02-03' WHERE email = 'user0@example.test';
UPDATE user SET date_of_birth = '03.02.1990' WHERE email = 'user1@example.test';
UPDATE user SET date_of_birth = 634003200 WHERE email = 'user2@example.test';
UPDATE chat SET archived = 2 WHERE title LIKE 'Chat 3 %';
UPDATE chat SET archived = 'true' WHERE title LIKE 'Chat 4 %';
UPDATE chat SET created_at = 1.5 WHERE title LIKE 'Chat 5 %';
UPDATE chat SET updated_at = 'soon' WHERE title LIKE 'Chat 6 %';
UPDATE chat SET meta = '{"tags": [NaN]}' WHERE title LIKE 'Chat 7 %';
UPDATE chat SET tasks = 0.1 + 0.2 WHERE title LIKE 'Chat 8 %';
UPDATE chat SET title = CAST(x'61ff62' AS TEXT) WHERE title LIKE 'Chat 9 %';
UPDATE chat SET title = 'a' || char(0) || 'b' WHERE title LIKE 'Chat 10 %';
UPDATE chat SET summary = x'00ff' WHERE title LIKE 'Chat 11 %';
INSERT INTO config_old VALUES (1, '{}', 0, '2024-10-23 03:00:00', '2024-10-23 03:00:00.250000'),
                              (2, '"x"', -1, 1729652400, '2024-10-23T03:00:00Z');
INSERT INTO memory (id, user_id, content) VALUES ('k' || char(0), NULL, 'its key has no place');
"""

Bound: TypeAlias = tuple[str, object]
Key: TypeAlias = tuple[object, ...]


def test_every_row_of_every_table_arrives(real_tenant: Tenant) -> None:
    with closing(sqlite3.connect(real_tenant.path)) as source:
        here = {table: _count(source, table) for table in _tables(source)}
    result = real_tenant.synced()
    tables = {name for (name,) in real_tenant.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'acme'")}
    there = {table: real_tenant.sql(f'SELECT count(*) FROM acme."{table}"')[0][0] for table in tables}
    assert there == here
    assert (len(here), here["config"], here["chat_message"], sum(here.values())) == (48, 378, 1213, 1861)
    assert (result.level, result.tables, written(result)) == ("full", 48, (1861, 0, 0))
    assert (result.quarantined, result.converted) == (0, 0)


def test_json_arrives_byte_for_byte(real_tenant: Tenant) -> None:
    """Bare numbers, which SQLite does not store as text, among it."""
    real_tenant.run()
    compared = 0
    with closing(sqlite3.connect(real_tenant.path)) as source:
        for table, columns in _json_columns(source).items():
            key = _list(_key(source, table))
            blobs = ", ".join(f'CAST("{column}" AS BLOB)' for column in columns)
            here = source.execute(f'SELECT {key}, {blobs} FROM "{table}"').fetchall()
            texts = ", ".join(f"convert_to(\"{column}\"::text, 'UTF8')" for column in columns)
            there = real_tenant.sql(f'SELECT {key}, {texts} FROM acme."{table}"')
            assert sorted(there) == sorted(here), table
            compared += sum(isinstance(value, bytes) for row in there for value in row)
    assert compared == 12104


def test_the_types_are_those_that_the_declarations_ask_for(real_tenant: Tenant) -> None:
    real_tenant.run()
    listed = real_tenant.sql(
        "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'acme'"
    )
    types = {(table, column): kind for table, column, kind in listed}
    assert {place: types.get(place) for place in TYPES} == TYPES


def test_the_keys_are_those_of_the_source(real_tenant: Tenant) -> None:
    real_tenant.run()
    listed = real_tenant.sql(
        "SELECT table_name, array_agg(column_name::text ORDER BY ordinal_position)"
        " FROM information_schema.key_column_usage WHERE table_schema = 'acme' GROUP BY 1"
    )
    keys = dict(listed)
    assert {table: keys.get(table) for table in KEYS} == KEYS
    assert len(keys) == 48


def test_each_edit_writes_its_rows_and_no_other(real_tenant: Tenant) -> None:
    with Application(real_tenant.path, "journal_mode = wal") as app:
        real_tenant.run()
        counted = {}
        for edit, (script, _) in EDITS.items():
            app.script(f"BEGIN IMMEDIATE; {script}; COMMIT")
            counted[edit] = written(real_tenant.run())
        assert counted == {edit: rows for edit, (_, rows) in EDITS.items()}
        assert written(real_tenant.synced()) == (0, 0, 0)


@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
def test_all_edits_arrive_in_one_run(real_tenant: Tenant, journal_mode: str) -> None:
    with Application(real_tenant.path, f"journal_mode = {journal_mode}") as app:
        real_tenant.run()
        for script, _ in EDITS.values():
            app.script(f"BEGIN IMMEDIATE; {script}; COMMIT")
        result = real_tenant.synced()
    assert (result.level, written(result)) == ("pages", (12, 18, 29))
    assert real_tenant.sql(
        "SELECT value::text FROM acme.config WHERE key IN"
        " ('webui.url', 'code_execution.jupyter.timeout', 'rag.relevance_threshold', 'rag.top_k') ORDER BY key"
    ) == [("90",), ("0.25",), ("null",), ('"https://chat.example.test"',)]
    assert real_tenant.sql("SELECT chat::text FROM acme.chat WHERE id = 'new-chat'") == [
        ('{"messages": [],  "n": 1e2}',)
    ]
    assert real_tenant.verify(heal=False).equal


@pytest.mark.parametrize(
    ("script", "kept"), [("", (0, 0)), (ODD, (9, 4))], ids=["as Open WebUI wrote it", "with values that do not fit"]
)
def test_the_replica_gives_every_value_back_as_it_was(
    real_tenant: Tenant, tmp_path: Path, script: str, kept: tuple[int, int]
) -> None:
    with Application(real_tenant.path) as app:
        app.script(script)
    result = real_tenant.run()
    assert (result.quarantined, result.converted) == kept
    with closing(sqlite3.connect(real_tenant.path)) as source, closing(sqlite3.connect(tmp_path / "back.db")) as back:
        _give_back(real_tenant, source, back)
        for table in _tables(source):
            assert _contents(back, table) == _contents(source, table), table
        assert back.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def _tables(source: sqlite3.Connection) -> list[str]:
    listed = source.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'"
    )
    return [name for (name,) in listed]


def _count(source: sqlite3.Connection, table: str) -> int:
    return int(source.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0])


def _columns(source: sqlite3.Connection, table: str) -> list[str]:
    return [name for (name,) in source.execute("SELECT name FROM pragma_table_info(?)", (table,))]


def _key(source: sqlite3.Connection, table: str) -> list[str]:
    return [name for (name,) in source.execute("SELECT name FROM pragma_table_info(?) WHERE pk ORDER BY pk", (table,))]


def _json_columns(source: sqlite3.Connection) -> dict[str, list[str]]:
    query = "SELECT name FROM pragma_table_info(?) WHERE type = 'JSON'"
    found = {table: [name for (name,) in source.execute(query, (table,))] for table in _tables(source)}
    return {table: columns for table, columns in found.items() if columns}


def _list(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _contents(database: sqlite3.Connection, table: str) -> Counter[tuple[str, ...]]:
    """Return the rows with each value's storage class and bytes."""
    columns = ", ".join(
        f'typeof("{name}") || \' \' || iif(typeof("{name}") = \'real\', quote("{name}"), hex("{name}"))'
        for name in _columns(database, table)
    )
    return Counter(database.execute(f'SELECT {columns} FROM "{table}"'))


def _give_back(tenant: Tenant, source: sqlite3.Connection, back: sqlite3.Connection) -> None:
    """Write what the replica and ``quarantine`` hold into a database that is declared as the source is."""
    for (declaration,) in source.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type = 'index'"):
        back.execute(declaration)
    with psycopg.connect(tenant.url) as replica:
        replica.adapters.register_loader("json", TextLoader)
        for table in _tables(source):
            for row in _rows(replica, tenant.schema, source, table):
                marks = ", ".join(mark for mark, _ in row.values())
                values = [value for _, value in row.values()]
                back.execute(f'INSERT INTO "{table}" ({_list(list(row))}) VALUES ({marks})', values)
    back.commit()


def _rows(
    replica: psycopg.Connection[Any], schema: str, source: sqlite3.Connection, table: str
) -> Iterator[dict[str, Bound]]:
    """Yield the rows of the replica, the originals in their places, then those that have no place in it."""
    columns, key = _columns(source, table), _key(source, table)
    values, rows = _originals(replica, schema, table)
    for found in replica.execute(f'SELECT {_list(columns)} FROM "{schema}"."{table}"'.encode()):
        row = dict(zip(columns, found, strict=True))
        row_key = tuple(row[name] for name in key)
        yield {name: _stored(value) for name, value in row.items()} | values.pop(row_key, {})
    assert not values, "quarantine keeps originals of rows that are not there"
    yield from rows


def _originals(
    replica: psycopg.Connection[Any], schema: str, table: str
) -> tuple[dict[Key, dict[str, Bound]], list[dict[str, Bound]]]:
    """Return the values that are kept, by key and column, and the rows that are kept whole."""
    values: dict[Key, dict[str, Bound]] = {}
    rows = []
    for key, column, kind, raw in replica.execute(
        "SELECT row_key, column_name, sqlite_type, raw FROM sync_metadata.quarantine"
        " WHERE client_name = %s AND table_name = %s",
        (schema, table),
    ):
        if column is None:
            rows.append({name: _original(part, bytes.fromhex(text)) for name, part, text in json.loads(raw)})
        else:
            values.setdefault(tuple(json.loads(key)), {})[column] = _original(kind, raw)
    return values, rows


def _original(kind: str, raw: bytes) -> Bound:
    """Return a mark and its parameter; a text need not be UTF-8, so it goes as bytes."""
    match kind:
        case "null":
            return "?", None
        case "integer":
            return "?", int(raw)
        case "real":
            return "?", float(raw)
        case "blob":
            return "?", raw
        case _:
            return "CAST(? AS TEXT)", raw


def _stored(value: object) -> Bound:
    match value:
        case datetime():
            return "?", value.isoformat(" ")
        case date():
            return "?", value.isoformat()
        case _:
            return "?", value
