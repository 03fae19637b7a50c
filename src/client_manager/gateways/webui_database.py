"""A client's SQLite database while its application is stopped: copied, put back, moved to another domain, read."""

import json
import os
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from client_manager.errors import ClientManagerError
from client_manager.gateways import client_files

FILE: Final = "webui.db"
_SIDE_FILES: Final = ("-wal", "-shm", "-journal")
_TABLES: Final = (
    "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!' ORDER BY 1"
)
_INSERT_CHAT: Final = """
INSERT INTO chat (id, user_id, title, created_at, updated_at, archived, chat, pinned, meta)
SELECT :id, id, :title, :now, :now, 0, :chat, 0, '{}' FROM user ORDER BY created_at, id LIMIT 1
"""


def copy_aside(data: Path, copy: Path) -> bool:
    """Copy the database as one consistent file; return False where there is none."""
    source = data / FILE
    with client_files.disk_errors(source):
        if not source.exists():
            return False
    client_files.make_folder(copy.parent)
    beside = copy.with_name(f"{copy.name}.part")
    with client_files.disk_errors(copy), _errors(source):
        beside.unlink(missing_ok=True)
        beside.touch(mode=0o600)
        with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(beside)) as target:
            original.backup(target)
        descriptor = os.open(beside, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        beside.replace(copy)
    return True


def put_back(data: Path, copy: Path) -> None:
    """Make the copy the database again; the other container must be gone. Safe to repeat."""
    target = data / FILE
    with client_files.disk_errors(target), _errors(target):
        if not copy.exists():
            return
        for side in _SIDE_FILES:
            target.with_name(target.name + side).unlink(missing_ok=True)
        with closing(sqlite3.connect(copy)) as original:
            original.execute("PRAGMA schema_version")  # fails while there is still something to lose
            if target.exists():
                os.truncate(target, 0)  # SQLite does not write over what it cannot read; the file stays whose it is
            with closing(sqlite3.connect(target)) as restored:
                original.backup(restored)


def drop_copy(copy: Path) -> None:
    """Delete the copy."""
    with client_files.disk_errors(copy):
        copy.unlink(missing_ok=True)


def follow_public_url(data: Path, follow: Callable[[str], str]) -> None:
    """Pass the application's own copy of its public URL through ``follow``.

    Since the environment is read at the first start only, the copy in ``config`` would keep the old domain. Up to 0.9
    that table held one JSON document, since 0.10 it holds a row per key.
    """
    with _errors(data / FILE):
        if not (data / FILE).exists():
            return
        with closing(sqlite3.connect(data / FILE)) as connection, connection:
            columns = {row[1] for row in connection.execute("PRAGMA table_info(config)")}
            if {"key", "value"} <= columns:
                _follow_row(connection, follow)
            elif "data" in columns:
                _follow_document(connection, follow)


def _follow_row(connection: sqlite3.Connection, follow: Callable[[str], str]) -> None:
    for (value,) in connection.execute("SELECT value FROM config WHERE key = 'webui.url'").fetchall():
        url = json.loads(value) if isinstance(value, str) else None
        if isinstance(url, str):
            connection.execute("UPDATE config SET value = ? WHERE key = 'webui.url'", (json.dumps(follow(url)),))


def _follow_document(connection: sqlite3.Connection, follow: Callable[[str], str]) -> None:
    for rowid, text in connection.execute("SELECT rowid, data FROM config").fetchall():
        document = json.loads(text)
        webui = document.get("webui") if isinstance(document, dict) else None
        if isinstance(webui, dict) and isinstance(webui.get("url"), str):
            webui["url"] = follow(webui["url"])
            connection.execute("UPDATE config SET data = ? WHERE rowid = ?", (json.dumps(document), rowid))


def counts(data: Path) -> dict[str, int]:
    """Return table -> how many rows it has; looks only."""
    with _errors(data / FILE), closing(sqlite3.connect(f"{(data / FILE).as_uri()}?mode=ro", uri=True)) as connection:
        names = [str(name) for (name,) in connection.execute(_TABLES)]
        return {name: int(connection.execute(_count(name)).fetchone()[0]) for name in names}


def write_chat(data: Path, title: str) -> str:
    """Write a chat of the first user's, as the application would, and return its id."""
    chat, now = str(uuid.uuid4()), int(time.time())
    content = json.dumps({"id": "", "title": title, "models": ["none"], "messages": []})
    with _errors(data / FILE), closing(sqlite3.connect(data / FILE)) as connection, connection:
        connection.execute(_INSERT_CHAT, {"id": chat, "title": title, "now": now, "chat": content})
    return chat


def _count(table: str) -> str:
    quoted = table.replace('"', '""')
    return f'SELECT count(*) FROM "{quoted}"'  # noqa: S608  quoted


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, ValueError) as error:
        raise ClientManagerError(
            f"The database {path} cannot be read or written.",
            why=str(error),
            hint="Check that the disk is not full and that nothing else has it open.",
        ) from error
