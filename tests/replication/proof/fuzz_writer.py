"""An application that does everything to its database: ``python fuzz_writer.py PATH SEED`` until its input ends.

Told ``--quiet`` it only makes the database. Its last line says what it did.
"""

import json
import random
import sqlite3
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable

SCHEMA = """
CREATE TABLE IF NOT EXISTS chat (id VARCHAR(255) PRIMARY KEY, title TEXT, chat JSON, archived BOOLEAN, updated_at BIGINT);
CREATE TABLE IF NOT EXISTS tag (id TEXT, user_id TEXT, name TEXT UNIQUE, meta JSON, PRIMARY KEY (id, user_id));
CREATE TABLE IF NOT EXISTS file (id INTEGER PRIMARY KEY, data BLOB, at DATETIME);
CREATE TABLE IF NOT EXISTS link (a TEXT, b TEXT, n INTEGER, PRIMARY KEY (a, b)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS event (kind TEXT, n BIGINT, body TEXT);
CREATE TABLE IF NOT EXISTS legacy (id VARCHAR(255) NOT NULL UNIQUE, v TEXT);
CREATE INDEX IF NOT EXISTS chat_updated_at ON chat (updated_at);
"""
JSONS = ("60", "0.5", "null", '"s"', '{"a": [1, 2]}', "true", "not json", '"\\u0000"', "NaN", "")
MOMENTS = ("2026-01-02 03:04:05", "2026-01-02 03:04:05.000000", 1700000000, None, "2024-13-45", "2026-01-02T03:04:05Z")


class Writer:
    """One connection, one source of chance."""

    def __init__(self, path: str, seed: int) -> None:
        self.draw = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.path = path
        self.open()
        self.connection.executescript(SCHEMA)

    def open(self) -> None:
        draw = self.draw
        self.connection = sqlite3.connect(self.path, isolation_level=None, timeout=20, check_same_thread=False)
        self.connection.execute(f"PRAGMA page_size = {draw.choice((512, 1024, 4096, 4096, 8192))}")
        self.connection.execute(f"PRAGMA auto_vacuum = {draw.choice((0, 0, 0, 1, 2))}")
        self.connection.execute("PRAGMA journal_mode = wal")
        self.connection.execute("PRAGMA synchronous = off")
        self.connection.execute(f"PRAGMA wal_autocheckpoint = {draw.choice((0, 30, 200, 1000))}")
        self.connection.execute(f"PRAGMA cache_size = {draw.choice((5, 50, 2000))}")
        self.connection.execute("PRAGMA journal_size_limit = 10000000")

    def text(self) -> str:
        size = self.draw.choices((self.draw.randint(0, 60), self.draw.randint(60, 3000), self.draw.randint(3000, 40000)),
                                 (70, 25, 5))[0]  # fmt: skip
        return "".join(self.draw.choices("abcdefgh\u00e9\\\n'", k=min(size, 60))) * (size // 60 + 1)

    def key(self, prefix: str, many: int = 150) -> str:
        return f"{prefix}{self.draw.randint(0, many)}"

    def run(self, statement: str, *values: object) -> None:
        self.connection.execute(statement, values)

    def transaction(self) -> None:
        """One transaction of some statements, sometimes taken back; sometimes an upheaval after it."""
        draw = self.draw
        self.run("BEGIN IMMEDIATE")
        for action in draw.choices(list(ACTIONS), list(ACTIONS.values()), k=draw.choice((1, 1, 1, 2, 5, 40))):
            if draw.random() < 0.1:
                self.run("SAVEPOINT s")
                action(self)
                self.run("ROLLBACK TO s")
            action(self)
        end = "COMMIT" if draw.random() < 0.93 else "ROLLBACK"
        self.run(end)
        self.done[end] += 1
        if draw.random() < 0.05:
            upheaval = draw.choices(list(UPHEAVALS), list(UPHEAVALS.values()))[0]
            self.done[upheaval.__name__] += 1
            upheaval(self)


def put_chat(w: Writer) -> None:
    w.run(
        "INSERT OR REPLACE INTO chat (id, title, chat, archived, updated_at) VALUES (?, ?, ?, ?, ?)",
        w.key("c"), w.text(), w.draw.choice((*JSONS, json.dumps({"x": w.text()}))),
        w.draw.choice((0, 1, 1, None, "true", 2)), w.draw.choice((1, 2**62, 3.5, "x")),
    )  # fmt: skip


def change_chat(w: Writer) -> None:
    column, value = w.draw.choice((("title", w.text()), ("updated_at", w.draw.randint(0, 9)), ("archived", None)))
    w.run(f"UPDATE chat SET {column} = ? WHERE id = ?", value, w.key("c"))


def change_inside(w: Writer) -> None:
    at = w.draw.randint(1, 20000)
    w.run("UPDATE chat SET title = substr(title, 1, ?) || '#' || substr(title, ?) WHERE id = ? AND length(title) > ?",
          at, at + 2, w.key("c"), at + 2)  # fmt: skip


def drop_chat(w: Writer) -> None:
    w.run("DELETE FROM chat WHERE id = ?", w.key("c"))


def move_chat(w: Writer) -> None:
    w.run("UPDATE OR REPLACE chat SET id = ? WHERE id = ?", w.key("c"), w.key("c"))


def put_tag(w: Writer) -> None:
    w.run("INSERT OR REPLACE INTO tag VALUES (?, ?, ?, ?)",
          w.draw.choice((w.key("t"), w.key("t"), None)), w.key("u", 2), w.key("n"), w.draw.choice(JSONS))  # fmt: skip


def drop_tags(w: Writer) -> None:
    w.run("DELETE FROM tag WHERE name = ? OR (id IS NULL AND rowid % 3 = 0)", w.key("n"))


def swap_tags(w: Writer) -> None:
    a, b = w.key("n"), w.key("n")
    if a != b:
        w.run("UPDATE OR IGNORE tag SET name = 'swap' WHERE name = ?", a)
        w.run("UPDATE OR IGNORE tag SET name = ? WHERE name = ?", a, b)
        w.run("UPDATE OR IGNORE tag SET name = ? WHERE name = 'swap'", b)


def put_file(w: Writer) -> None:
    w.run("INSERT INTO file (data, at) VALUES (?, ?)",
          w.draw.choice((w.draw.randbytes(w.draw.randint(0, 9000)), "text", 5)), w.draw.choice(MOMENTS))  # fmt: skip


def drop_files(w: Writer) -> None:
    first = w.draw.randint(1, 400)
    w.run("DELETE FROM file WHERE id BETWEEN ? AND ?", first, first + w.draw.randint(0, 30))


def move_files(w: Writer) -> None:
    w.run("UPDATE OR REPLACE file SET id = ? WHERE id = ?", w.draw.randint(1, 10**12), w.draw.randint(1, 400))


def put_link(w: Writer) -> None:
    w.run("INSERT OR REPLACE INTO link VALUES (?, ?, ?)", w.key("a", 20), w.key("b", 20), w.draw.randint(0, 9))


def drop_links(w: Writer) -> None:
    w.run("DELETE FROM link WHERE a = ?", w.key("a", 20))


def put_event(w: Writer) -> None:
    w.run("INSERT INTO event VALUES (?, ?, ?)", w.key("k", 3), w.draw.choice((1, 2, 3.5)), w.key("same", 2))


def drop_event(w: Writer) -> None:
    w.run("DELETE FROM event WHERE rowid IN (SELECT rowid FROM event LIMIT 3 OFFSET ?)", w.draw.randint(0, 50))


def put_legacy(w: Writer) -> None:
    w.run("INSERT OR REPLACE INTO legacy VALUES (?, ?)", w.key("l"), w.text())


ACTIONS: dict[Callable[[Writer], None], int] = {
    put_chat: 20, change_chat: 20, change_inside: 6, drop_chat: 6, move_chat: 3, put_tag: 12, drop_tags: 4, swap_tags: 4,
    put_file: 8, drop_files: 3, move_files: 2, put_link: 8, drop_links: 2, put_event: 6, drop_event: 4, put_legacy: 5,
}  # fmt: skip


def vacuum(w: Writer) -> None:
    w.run("VACUUM")


def truncate(w: Writer) -> None:
    w.run("PRAGMA wal_checkpoint(TRUNCATE)")


def checkpoint(w: Writer) -> None:
    w.run(f"PRAGMA wal_checkpoint({w.draw.choice(('PASSIVE', 'FULL', 'RESTART'))})")


def incremental_vacuum(w: Writer) -> None:
    w.run("PRAGMA incremental_vacuum(20)")


def add_column(w: Writer) -> None:
    if "extra" not in _columns(w, "chat"):
        w.run(f"ALTER TABLE chat ADD COLUMN extra {w.draw.choice(('TEXT', 'BOOLEAN DEFAULT 1', 'JSON DEFAULT 60'))}")
    else:
        w.run("ALTER TABLE chat DROP COLUMN extra")


def rename_table(w: Writer) -> None:
    w.connection.executescript("BEGIN IMMEDIATE; DROP TABLE IF EXISTS old; ALTER TABLE legacy RENAME TO old;" + SCHEMA
                               + "INSERT INTO legacy SELECT id, v FROM old WHERE rowid % 2; COMMIT")  # fmt: skip


def rebuild_table(w: Writer) -> None:
    w.connection.executescript(
        "BEGIN IMMEDIATE; CREATE TABLE _alembic_tmp_tag (id TEXT, user_id TEXT, name TEXT UNIQUE, meta JSON,"
        " PRIMARY KEY (id, user_id)); INSERT INTO _alembic_tmp_tag SELECT * FROM tag; DROP TABLE tag;"
        " ALTER TABLE _alembic_tmp_tag RENAME TO tag; COMMIT"
    )


def empty_table(w: Writer) -> None:
    w.run(f"DELETE FROM {w.draw.choice(('event', 'link', 'legacy'))}")


def new_index(w: Writer) -> None:
    w.run("DROP INDEX IF EXISTS chat_updated_at")
    w.run("CREATE INDEX chat_updated_at ON chat (updated_at, title)")


def reopen(w: Writer) -> None:
    w.connection.close()
    w.open()


UPHEAVALS: dict[Callable[[Writer], None], int] = {
    vacuum: 3, truncate: 6, checkpoint: 6, incremental_vacuum: 2, add_column: 2, rename_table: 1, rebuild_table: 2,
    empty_table: 1, new_index: 1, reopen: 2,
}  # fmt: skip


def _columns(w: Writer, table: str) -> set[str]:
    return {name for (name,) in w.connection.execute("SELECT name FROM pragma_table_info(?)", (table,))}


def _wait_for_the_end(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


def main(path: str, seed: int, commits_a_second: float) -> None:
    writer = Writer(path, seed)
    for _ in range(60):
        writer.transaction()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    ended = threading.Event()
    threading.Thread(target=_wait_for_the_end, args=(ended,), daemon=True).start()
    while not ended.is_set():
        begun = time.perf_counter()
        writer.transaction()
        ended.wait(max(0.0, writer.draw.expovariate(commits_a_second) - (time.perf_counter() - begun)))
    writer.connection.close()
    sys.stdout.write(json.dumps(writer.done) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
