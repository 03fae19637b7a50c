"""A tenant's SQLite database while its application is stopped."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from client_manager.errors import ClientManagerError
from client_manager.gateways import webui_database

ROWS = "CREATE TABLE config (key TEXT PRIMARY KEY, value JSON)"
DOCUMENT = "CREATE TABLE config (id INTEGER PRIMARY KEY, data JSON NOT NULL, version INTEGER)"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def _run(data: Path, *statements: str | tuple[str, tuple[object, ...]]) -> None:
    with closing(sqlite3.connect(data / "webui.db")) as connection, connection:
        for statement in statements:
            connection.execute(*((statement,) if isinstance(statement, str) else statement))


def _chats(data: Path) -> list[str]:
    with closing(sqlite3.connect(data / "webui.db")) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM chat ORDER BY id")]


def _one(data: Path, query: str) -> object:
    with closing(sqlite3.connect(data / "webui.db")) as connection:
        (value,) = connection.execute(query).fetchone()
        return value


def _run_and_die(data: Path, *statements: str) -> None:
    """Change a database as an application does that is killed: the change is in the WAL only."""
    with closing(sqlite3.connect(data / "webui.db")) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA wal_autocheckpoint=0")
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        files = {path.name: path.read_bytes() for path in data.iterdir()}
    for path in data.iterdir():
        path.unlink()
    for name, content in files.items():
        (data / name).write_bytes(content)
    assert (data / "webui.db-wal").stat().st_size > 0


def test_copy_holds_what_is_in_the_wal_only(data: Path, tmp_path: Path) -> None:
    _run_and_die(data, "CREATE TABLE chat (id TEXT)", "INSERT INTO chat VALUES ('in the wal')")

    assert webui_database.copy_aside(data, tmp_path / "kept" / "webui.db")

    assert _chats(tmp_path / "kept") == ["in the wal"]
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["webui.db"]


def test_copy_is_for_its_owner_only(data: Path, tmp_path: Path) -> None:
    _run(data, "CREATE TABLE chat (id TEXT)")
    webui_database.copy_aside(data, tmp_path / "copy")

    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600


def test_copy_replaces_half_a_copy_of_an_earlier_try(data: Path, tmp_path: Path) -> None:
    _run(data, "CREATE TABLE chat (id TEXT)", "INSERT INTO chat VALUES ('a')")
    (tmp_path / "webui.db.part").write_bytes(b"half")

    webui_database.copy_aside(data, tmp_path / "webui.db")

    assert _chats(tmp_path) == ["a"]
    assert not (tmp_path / "webui.db.part").exists()


def test_copy_of_no_database_is_none(data: Path, tmp_path: Path) -> None:
    assert webui_database.copy_aside(data, tmp_path / "copy") is False
    assert not (tmp_path / "copy").exists()


def test_copy_of_what_is_no_database_is_refused(data: Path, tmp_path: Path) -> None:
    (data / "webui.db").write_bytes(b"no database" * 100)

    with pytest.raises(ClientManagerError, match=r"webui\.db cannot be read or written"):
        webui_database.copy_aside(data, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def _migrate(data: Path) -> None:
    """Change a database as a new version does that is killed meanwhile."""
    _run_and_die(data, "DELETE FROM chat", "CREATE TABLE migrated (id TEXT)")
    (data / "webui.db-journal").write_bytes(b"left over")


def test_put_back_takes_a_migration_back(data: Path, tmp_path: Path) -> None:
    _run_and_die(data, "CREATE TABLE chat (id TEXT)", "INSERT INTO chat VALUES ('in the wal')")
    webui_database.copy_aside(data, tmp_path / "copy")
    _migrate(data)

    webui_database.put_back(data, tmp_path / "copy")

    assert _chats(data) == ["in the wal"]
    assert _one(data, "SELECT count(*) FROM sqlite_master WHERE name = 'migrated'") == 0
    assert _one(data, "PRAGMA integrity_check") == "ok"
    assert [path.name for path in data.iterdir()] == ["webui.db"]


def test_put_back_twice_is_the_same(data: Path, tmp_path: Path) -> None:
    _run(data, "CREATE TABLE chat (id TEXT)", "INSERT INTO chat VALUES ('a')")
    webui_database.copy_aside(data, tmp_path / "copy")
    _migrate(data)

    webui_database.put_back(data, tmp_path / "copy")
    webui_database.put_back(data, tmp_path / "copy")

    assert _chats(data) == ["a"]


@pytest.mark.parametrize("ruin", [b"", b"no database at all" * 1000, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_put_back_replaces_a_database_that_was_ruined(data: Path, tmp_path: Path, ruin: bytes) -> None:
    _run(data, "CREATE TABLE chat (id TEXT)", "INSERT INTO chat VALUES ('a')")
    webui_database.copy_aside(data, tmp_path / "copy")
    (data / "webui.db").write_bytes(ruin)

    webui_database.put_back(data, tmp_path / "copy")

    assert _chats(data) == ["a"]


def test_put_back_makes_a_database_that_was_deleted(data: Path, tmp_path: Path) -> None:
    _run(data, "CREATE TABLE chat (id TEXT)", "INSERT INTO chat VALUES ('a')")
    webui_database.copy_aside(data, tmp_path / "copy")
    (data / "webui.db").unlink()

    webui_database.put_back(data, tmp_path / "copy")

    assert _chats(data) == ["a"]


def test_put_back_keeps_whose_the_file_is(data: Path, tmp_path: Path) -> None:
    _run(data, "CREATE TABLE chat (id TEXT)")
    webui_database.copy_aside(data, tmp_path / "copy")
    (data / "webui.db").chmod(0o664)
    before = (data / "webui.db").stat()

    webui_database.put_back(data, tmp_path / "copy")

    after = (data / "webui.db").stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


def test_put_back_without_a_copy_leaves_the_database(data: Path, tmp_path: Path) -> None:
    _run(data, "CREATE TABLE chat (id TEXT)", "INSERT INTO chat VALUES ('a')")

    webui_database.put_back(data, tmp_path / "none")

    assert _chats(data) == ["a"]


def _follow(data: Path) -> list[str]:
    """Let the public URL follow, and return what was asked."""
    asked = []

    def follow(url: str) -> str:
        asked.append(url)
        return url.replace("old.test", "new.test")

    webui_database.follow_public_url(data, follow)
    return asked


def test_public_url_in_a_row_follows_alone(data: Path) -> None:
    others = [("webui.name", json.dumps("https://old.test")), ("ui.link", json.dumps("https://old.test/x"))]
    _run(data, ROWS, ("INSERT INTO config VALUES ('webui.url', ?)", (json.dumps("https://old.test"),)))
    _run(data, *(("INSERT INTO config VALUES (?, ?)", row) for row in others))

    _follow(data)

    with closing(sqlite3.connect(data / "webui.db")) as connection:
        rows = dict(connection.execute("SELECT key, value FROM config"))
    assert rows == {"webui.url": json.dumps("https://new.test"), **dict(others)}


def test_public_url_in_a_document_follows_alone(data: Path) -> None:
    document = {
        "version": 0,
        "webui": {"url": "https://old.test", "name": "old.test"},
        "ui": {"url": "https://old.test"},
    }
    _run(data, DOCUMENT, ("INSERT INTO config (data, version) VALUES (?, 0)", (json.dumps(document),)))

    _follow(data)

    after = json.loads(str(_one(data, "SELECT data FROM config")))
    assert after == {**document, "webui": {"url": "https://new.test", "name": "old.test"}}


@pytest.mark.parametrize("value", [None, "null", "true", '{"url": "https://old.test"}', "[]"])
def test_row_that_holds_no_url_is_left(data: Path, value: str | None) -> None:
    _run(data, ROWS, ("INSERT INTO config VALUES ('webui.url', ?)", (value,)))

    assert _follow(data) == []
    assert _one(data, "SELECT value FROM config") == value


def test_row_that_holds_a_number_is_left(data: Path) -> None:
    _run(data, ROWS, "INSERT INTO config VALUES ('webui.url', '7')")  # a JSON column makes a number of it

    assert _follow(data) == []


@pytest.mark.parametrize("value", ["null", "[]", "{}", '{"webui": null}', '{"webui": "x"}', '{"webui": {"url": null}}'])
def test_document_that_holds_no_url_is_left(data: Path, value: str) -> None:
    _run(data, DOCUMENT, ("INSERT INTO config (data, version) VALUES (?, 0)", (value,)))

    assert _follow(data) == []
    assert _one(data, "SELECT data FROM config") == value


def _no_database(data: Path) -> None:
    del data


def _no_table(data: Path) -> None:
    _run(data, "CREATE TABLE chat (id TEXT)")


def _empty_table(data: Path) -> None:
    _run(data, ROWS)


def _other_table(data: Path) -> None:
    _run(data, "CREATE TABLE config (id TEXT)")


@pytest.mark.parametrize("make", [_no_database, _no_table, _empty_table, _other_table])
def test_database_without_a_public_url_is_left(data: Path, make: Callable[[Path], None]) -> None:
    make(data)
    before = [path.name for path in data.iterdir()]

    assert _follow(data) == []
    assert [path.name for path in data.iterdir()] == before


def test_public_url_that_is_no_json_is_told(data: Path) -> None:
    _run(data, ROWS, "INSERT INTO config VALUES ('webui.url', 'https://old.test')")

    with pytest.raises(ClientManagerError, match="cannot be read or written"):
        _follow(data)


def test_public_url_is_all_or_nothing(data: Path) -> None:
    _run(data, DOCUMENT, ("INSERT INTO config (data) VALUES (?)", ('{"webui": {"url": "https://old.test"}}',)))
    _run(data, "INSERT INTO config (data) VALUES ('{')")

    with pytest.raises(ClientManagerError):
        _follow(data)

    assert "old.test" in str(_one(data, "SELECT data FROM config WHERE id = 1"))
