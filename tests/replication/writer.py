"""An application that writes without mercy, in a process of its own: ``python writer.py DATABASE SEED``.

It ends when its standard input does, and says then how much it has committed.
"""

import random
import sqlite3
import sys
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

PAGE_SIZES = (512, 1024, 4096, 4096, 65536)


def create(path: Path, seed: int) -> None:
    """Make the database that the writer works on."""
    draw = random.Random(seed)
    app = sqlite3.connect(path, isolation_level=None)
    app.execute(f"PRAGMA page_size = {draw.choice(PAGE_SIZES)}")
    app.execute(f"PRAGMA auto_vacuum = {draw.choice((0, 0, 1, 2))}")
    app.execute("PRAGMA journal_mode = wal")
    app.executescript(
        """
        CREATE TABLE chat (id TEXT PRIMARY KEY, title TEXT, chat JSON, archived BOOLEAN, updated_at BIGINT);
        CREATE TABLE tag (id VARCHAR(50), user_id TEXT, name TEXT COLLATE NOCASE UNIQUE, PRIMARY KEY (id, user_id));
        CREATE TABLE file (id INTEGER PRIMARY KEY, data BLOB, hash TEXT);
        CREATE TABLE log (line TEXT, at DATETIME);
        CREATE TABLE pair (a TEXT, b TEXT, v TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;
        CREATE INDEX chat_updated_at ON chat (updated_at);
        """
    )
    app.close()


class Writer:
    """Random transactions on one connection."""

    def __init__(self, path: Path, seed: int) -> None:
        self.draw = random.Random(seed)
        self.app = sqlite3.connect(path, isolation_level=None, timeout=20)
        self.app.execute("PRAGMA synchronous = off")
        self.app.execute(f"PRAGMA wal_autocheckpoint = {self.draw.choice((20, 200, 1000))}")
        self.app.execute(f"PRAGMA cache_size = {self.draw.choice((10, 2000))}")
        self.committed = 0
        self.columns = 0

    def text(self) -> str:
        size = self.draw.choice((0, 5, 60, 400, 3000, 30_000))
        return "".join(self.draw.choices('abcdefé\n\\"', k=min(size, 50))) * max(1, size // 50)

    def key(self, kind: str, many: int) -> str:
        return f"{kind}{self.draw.randrange(many)}"

    def transaction(self) -> None:
        """Some statements, then COMMIT, or ROLLBACK."""
        self.app.execute("BEGIN IMMEDIATE")
        for _ in range(self.draw.choice((1, 1, 1, 4, 30))):
            self.draw.choice(_STATEMENTS)(self)
        if self.draw.random() < 0.93:
            self.app.execute("COMMIT")
            self.committed += 1
        else:
            self.app.execute("ROLLBACK")
        self._upheaval()

    def _upheaval(self) -> None:
        lot = self.draw.random()
        if lot < 0.004:
            self.app.execute("VACUUM")
        elif lot < 0.012:
            self.app.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        elif lot < 0.015:
            self.columns += 1
            self.app.execute(f"ALTER TABLE chat ADD COLUMN extra_{self.draw.getrandbits(40)} TEXT DEFAULT 'new'")
        elif lot < 0.017:
            self._drop_a_column()
        elif lot < 0.019:
            self.app.execute("DROP TABLE IF EXISTS side")
            self.app.execute("CREATE TABLE side AS SELECT id, title FROM chat")

    def _drop_a_column(self) -> None:
        extra = [name for (_, name, *_) in self.app.execute("PRAGMA table_info(chat)") if name.startswith("extra_")]
        if extra:
            self.app.execute(f"ALTER TABLE chat DROP COLUMN {extra[0]}")

    def add_chat(self) -> None:
        self.app.execute(
            "INSERT OR REPLACE INTO chat (id, title, chat, archived, updated_at) VALUES (?, ?, ?, ?, ?)",
            (self.key("c", 300), self.text(), '{"x": "%s"}' % ("y" * self.draw.randrange(20_000)), 0, 1),
        )

    def touch_chat(self) -> None:
        self.app.execute("UPDATE chat SET updated_at = updated_at + 1 WHERE id = ?", (self.key("c", 300),))

    def change_a_byte(self) -> None:
        self.app.execute(
            "UPDATE chat SET chat = substr(chat, 1, length(chat) - 3) || ? || substr(chat, -2) WHERE id = ?",
            (self.draw.choice("abc"), self.key("c", 300)),
        )

    def delete_chat(self) -> None:
        self.app.execute("DELETE FROM chat WHERE id = ?", (self.key("c", 300),))

    def rename_chat(self) -> None:
        self.app.execute("UPDATE OR IGNORE chat SET id = ? WHERE id = ?", (self.key("c", 300), self.key("c", 300)))

    def replace_tag(self) -> None:
        self.app.execute(
            "INSERT OR REPLACE INTO tag VALUES (?, ?, ?)", (self.key("t", 40), self.key("u", 3), self.key("N", 60))
        )

    def add_file(self) -> None:
        blob = self.draw.randbytes(self.draw.choice((0, 10, 5000)))
        name = uuid.UUID(bytes=self.draw.randbytes(16)).hex
        self.app.execute("INSERT INTO file (data, hash) VALUES (?, ?)", (blob, name))

    def delete_files(self) -> None:
        at = self.draw.randrange(1, 400)
        self.app.execute("DELETE FROM file WHERE id BETWEEN ? AND ?", (at, at + self.draw.choice((0, 3, 40))))

    def move_file(self) -> None:
        self.app.execute("UPDATE OR IGNORE file SET id = id + 1000 WHERE id = ?", (self.draw.randrange(1, 400),))

    def add_line(self) -> None:
        self.app.execute("INSERT INTO log VALUES (?, '2026-01-02 03:04:05')", (self.key("line", 5),))

    def delete_line(self) -> None:
        self.app.execute("DELETE FROM log WHERE rowid = (SELECT min(rowid) FROM log)")

    def set_pair(self) -> None:
        self.app.execute(
            "INSERT OR REPLACE INTO pair VALUES (?, ?, ?)", (self.key("a", 9), self.key("b", 9), self.text())
        )

    def delete_pair(self) -> None:
        self.app.execute("DELETE FROM pair WHERE a = ?", (self.key("a", 9),))


_STATEMENTS: tuple[Callable[[Writer], None], ...] = (
    *[Writer.add_chat] * 4,
    *[Writer.touch_chat] * 4,
    *[Writer.change_a_byte] * 3,
    Writer.delete_chat,
    Writer.rename_chat,
    *[Writer.replace_tag] * 3,
    *[Writer.add_file] * 3,
    Writer.delete_files,
    Writer.move_file,
    *[Writer.add_line] * 2,
    Writer.delete_line,
    *[Writer.set_pair] * 2,
    Writer.delete_pair,
)


def _wait_for_the_end(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


def main() -> None:
    path, seed = Path(sys.argv[1]), int(sys.argv[2])
    ended = threading.Event()
    threading.Thread(target=_wait_for_the_end, args=(ended,), daemon=True).start()
    writer = Writer(path, seed)
    while not ended.is_set():
        writer.transaction()
        ended.wait(writer.draw.random() * 0.01)
    print(writer.committed)  # noqa: T201
    writer.app.close()


if __name__ == "__main__":
    main()
