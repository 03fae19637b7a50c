"""Open WebUI as the engine meets it: a process that holds the database open in WAL mode and changes rows in it."""

import json
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

CHANGED_ROWS: Final = 383
_REWRITTEN, _READ, _SEEN, _SENT, _DELETED = 40, 100, 103, 100, 40
_RowKeys = dict[str, list[str]]


class Application:
    """One connection of the application; the benchmark's own process plays it, the engine lives in another."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = wal")
        self._connection.execute("PRAGMA synchronous = normal")
        self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        self._round = 0

    def close(self) -> None:
        """Close the connection, as the application's end does."""
        self._connection.close()

    def change(self) -> tuple[_RowKeys, list[str]]:
        """Change 383 rows in one transaction; return the ids of the written rows by table, and of the deleted messages.

        A tenth of a chat's cost is its new message, but the application rewrites the chat's whole JSON.
        """
        self._round += 1
        chats = self._ids("chat", _REWRITTEN + _READ)
        users = self._ids("user", _SEEN)
        doomed = self._ids("chat_message", _DELETED)
        sent = [str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self._round}/{number}")) for number in range(_SENT)]
        self._connection.execute("BEGIN IMMEDIATE")
        for chat in chats[:_REWRITTEN]:
            self._rewrite(chat)
        self._set("chat", "last_read_at = coalesce(last_read_at, 0) + 1", chats[_REWRITTEN:])
        self._set("user", "last_active_at = coalesce(last_active_at, 0) + 1", users)
        self._connection.executemany(
            "INSERT INTO chat_message(id, chat_id, user_id, role, content, created_at, updated_at)"
            " VALUES (?, ?, ?, 'user', ?, 1, 1)",
            [(one, chats[0], users[0], json.dumps("a new message " * 60)) for one in sent],
        )
        self._connection.executemany("DELETE FROM chat_message WHERE id = ?", [(one,) for one in doomed])
        self._connection.execute("COMMIT")
        return {"chat": chats, "user": users, "chat_message": sent}, doomed

    def read_chats(self, count: int) -> list[str]:
        """Change one narrow column of many wide rows; return their ids."""
        chats = self._ids("chat", count)
        self._connection.execute("BEGIN IMMEDIATE")
        self._set("chat", "last_read_at = coalesce(last_read_at, 0) + 7", chats)
        self._connection.execute("COMMIT")
        return chats

    def send_attachment(self, size_bytes: int) -> None:
        """Add one very large row."""
        body = json.dumps({"history": "0123456789abcdef" * (size_bytes // 16)})
        self._connection.execute(
            "INSERT INTO chat(id, user_id, title, chat) VALUES ('large', 'u', 'large', ?)", (body,)
        )

    def largest_chat_bytes(self) -> int:
        """Return the size of the largest chat, which is the largest row."""
        (size,) = self._connection.execute("SELECT max(length(CAST(chat AS BLOB))) FROM chat").fetchone()
        return int(size)

    def keep_log(self, *, kept: bool) -> None:
        """Leave the log as it is, or checkpoint after a commit when it holds 1,000 pages, as SQLite does by itself."""
        self._connection.execute(f"PRAGMA wal_autocheckpoint = {0 if kept else 1000}")

    def reset_log(self) -> None:
        """Checkpoint as the application itself does at times: the log is empty afterwards."""
        busy, *_ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise RuntimeError("a reader held up the application's checkpoint")

    def _ids(self, table: str, count: int) -> list[str]:
        """Return rows spread over the whole table, others in every round."""
        total = self._connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]  # noqa: S608
        count = min(count, total)
        step = total // count
        found = self._connection.execute(
            f'SELECT id FROM (SELECT id, row_number() OVER (ORDER BY rowid) AS n FROM "{table}")'  # noqa: S608
            " WHERE n % ? = ? LIMIT ?",
            (step, self._round % step, count),
        )
        return [str(one) for (one,) in found]

    def _set(self, table: str, assignment: str, ids: list[str]) -> None:
        self._connection.executemany(
            f'UPDATE "{table}" SET {assignment} WHERE id = ?',  # noqa: S608
            [(one,) for one in ids],
        )

    def _rewrite(self, chat: str) -> None:
        (body,) = self._connection.execute("SELECT chat FROM chat WHERE id = ?", (chat,)).fetchone()
        content = json.loads(body)
        content.setdefault("history", {}).setdefault("messages", {})[f"new{self._round}"] = {
            "content": "one more " * 30
        }
        self._connection.execute(
            "UPDATE chat SET chat = ?, updated_at = updated_at + 1 WHERE id = ?", (json.dumps(content), chat)
        )


@contextmanager
def opened(source: Path, copy: Path | None = None) -> Iterator[Application]:
    """Be the application on a database, or on a copy of it."""
    path = source
    if copy is not None:
        for left in copy.parent.glob(f"{copy.name}*"):
            left.unlink()
        path = Path(shutil.copyfile(source, copy))
    application = Application(path)
    try:
        yield application
    finally:
        application.close()
