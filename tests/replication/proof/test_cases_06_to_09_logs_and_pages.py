"""Nasty cases 6 to 9: what the application's log and pages can do between two runs."""

from pathlib import Path

import pytest

from client_manager.replication.engine import Options
from tests.replication.application import Application
from tests.replication.oracle import assert_equal
from tests.replication.proof.pair import Pair, at_step, written


def log_of(pair: Pair) -> Path:
    return Path(f"{pair.source}-wal")


def test_case_06_the_application_restarts_and_its_last_close_deletes_the_log(pair: Pair, app: Application) -> None:
    pair.synced()
    app.run("UPDATE chat SET title = 'last words' WHERE id = 'c7'")
    app.close()
    assert not log_of(pair).exists()
    assert written(pair.synced()) == (0, 1, 0)
    again = pair.application("UPDATE chat SET title = 'first words' WHERE id = 'c8'")
    assert written(pair.synced()) == (0, 1, 0)
    again.close()
    assert written(pair.synced()) == (0, 0, 0)


def test_case_06_the_application_is_killed_and_leaves_its_log(pair: Pair, app: Application) -> None:
    pair.synced()
    app.run("UPDATE chat SET title = 'last words' WHERE id = 'c7'")
    app.kill()
    assert log_of(pair).stat().st_size
    assert written(pair.synced()) == (0, 1, 0)
    pair.application("UPDATE chat SET title = 'first words' WHERE id = 'c8'")
    assert written(pair.synced()) == (0, 1, 0)


@pytest.mark.parametrize("mode", ["PASSIVE", "FULL", "RESTART", "TRUNCATE"])
def test_case_06_a_checkpoint_between_two_runs(pair: Pair, app: Application, mode: str) -> None:
    pair.synced()
    for n in range(3):
        app.run("UPDATE chat SET title = 'before' WHERE id = ?", (f"c{n}",))
    app.run(f"PRAGMA wal_checkpoint({mode})")
    app.run("UPDATE chat SET title = 'after' WHERE id = 'c9'")
    assert written(pair.synced()) == (0, 4, 0)


def test_case_06_the_log_is_restarted_while_a_run_reads_its_snapshot(pair: Pair, app: Application) -> None:
    pair.synced()
    app.run("UPDATE chat SET title = 'first' WHERE id = 'c7'")

    def restart() -> None:
        app.run("UPDATE chat SET title = 'second' WHERE id = 'c8'")
        app.run("PRAGMA busy_timeout = 0")
        app.run("PRAGMA wal_checkpoint(TRUNCATE)")
        app.run("UPDATE chat SET title = 'third' WHERE id = 'c9'")

    with at_step("claimed", restart):
        pair.sync()
    assert pair.sql("SELECT title FROM {}.chat WHERE id IN ('c7', 'c8') ORDER BY id") == [("first",), ("title 8",)]
    assert written(pair.synced()) == (0, 2, 0)


def test_case_06_a_run_leaves_log_and_database_to_the_application(pair: Pair, app: Application) -> None:
    app.run("UPDATE chat SET title = 'in the log' WHERE id = 'c7'")
    before = pair.source.read_bytes(), log_of(pair).read_bytes()
    pair.synced()
    assert (pair.source.read_bytes(), log_of(pair).read_bytes()) == before


def test_case_07_a_log_of_the_same_size_with_other_content_is_noticed(pair: Pair, app: Application) -> None:
    """Litestream 1037: a large transaction spills into the log, is taken back, and a small one overwrites its frames."""
    app.run("PRAGMA wal_autocheckpoint = 0")
    app.run("PRAGMA cache_size = 5")
    pair.synced()
    app.run("BEGIN")
    app.run("UPDATE chat SET title = title || hex(randomblob(2000))")
    app.run("ROLLBACK")
    size = log_of(pair).stat().st_size
    for n in range(4):
        app.run("UPDATE chat SET title = 'small' WHERE id = ?", (f"c{n}",))
        assert log_of(pair).stat().st_size == size
        assert written(pair.synced()) == (0, 1, 0)


def test_case_07_a_log_with_the_same_number_of_frames_is_noticed(pair: Pair, app: Application) -> None:
    app.run("PRAGMA wal_checkpoint(TRUNCATE)")
    app.run("UPDATE chat SET title = 'one' WHERE id = 'c1'")
    pair.synced()
    size = log_of(pair).stat().st_size
    app.run("PRAGMA wal_checkpoint(TRUNCATE)")
    app.run("UPDATE chat SET title = 'two' WHERE id = 'c1'")
    assert log_of(pair).stat().st_size == size
    assert written(pair.synced()) == (0, 1, 0)


@pytest.mark.parametrize("auto_vacuum", [0, 1, 2])
@pytest.mark.parametrize("page_size", [512, 4096, 65536])
def test_case_08_page_sizes_and_auto_vacuum(pair: Pair, page_size: int, auto_vacuum: int) -> None:
    app = pair.application("", f"page_size = {page_size}", f"auto_vacuum = {auto_vacuum}", "journal_mode = wal")
    app.script("CREATE TABLE a (id INTEGER PRIMARY KEY, v TEXT); CREATE TABLE b (id TEXT PRIMARY KEY, v BLOB);")
    pair.options = Options(audit_every=2)
    app.many("INSERT INTO a VALUES (?, ?)", [(n, "x" * (n * 7 % 5000)) for n in range(800)])
    app.many("INSERT INTO b VALUES (?, ?)", [(f"k{n}", bytes(n * 3)) for n in range(300)])
    pair.synced()
    steps = (
        "DELETE FROM a WHERE id % 3 = 0",
        "UPDATE a SET v = v || 'y' WHERE id % 50 = 1",
        "PRAGMA incremental_vacuum",
        "DELETE FROM b",
        "INSERT INTO b SELECT 'n' || id, randomblob(9000) FROM a WHERE id < 40",
        "VACUUM",
        "UPDATE b SET id = 'moved' WHERE id = 'n1'",
    )
    for step in steps:
        app.run(step)
        assert pair.synced().missed == 0, step


@pytest.mark.parametrize("page_size", [8192, 512])
def test_case_08_a_new_page_size_after_vacuum(pair: Pair, app: Application, page_size: int) -> None:
    pair.synced()
    app.script(f"PRAGMA journal_mode = delete; PRAGMA page_size = {page_size}; VACUUM; PRAGMA journal_mode = wal;")
    app.run("UPDATE chat SET title = 'new' WHERE id = 'c7'")
    assert written(pair.synced()) == (0, 1, 0)
    app.run("UPDATE chat SET title = 'newer' WHERE id = 'c7'")
    result = pair.synced()
    assert (result.level, written(result)) == ("pages", (0, 1, 0))


def test_case_08_rows_beyond_the_lock_page_of_one_gigabyte(pair: Pair) -> None:
    """The page that holds byte 2**30 is never used; what is numbered beyond it must not be off by one."""
    app = pair.application(
        """
        CREATE TABLE filler (v BLOB); CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT);
        INSERT INTO filler SELECT zeroblob(33000000) FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n
            WHERE i < 33) SELECT i FROM n);
        INSERT INTO t SELECT value, hex(randomblob(20000)) FROM
            (WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 60) SELECT value FROM n);
        DELETE FROM filler;
        """,
        "page_size = 65536",
        "journal_mode = off",
        "synchronous = off",
    )
    app.run("PRAGMA journal_mode = wal")
    assert pair.source.stat().st_size > 2**30 + 65536
    pair.sync()
    app.run("UPDATE t SET v = substr(v, 1, 30000) || 'x' || substr(v, 30002) WHERE id IN (1, 30, 60)")
    app.run("INSERT INTO t VALUES (61, 'new')")
    result = pair.sync()
    assert (result.level, written(result)) == ("pages", (1, 3, 0))
    app.run("PRAGMA wal_checkpoint(TRUNCATE)")
    app.run("DELETE FROM t WHERE id = 59")
    assert written(pair.sync()) == (0, 0, 1)
    app.close()
    assert_equal(pair.source, pair.url, pair.schema, in_place=True)


def test_case_09_a_row_of_50_megabytes(pair: Pair, app: Application) -> None:
    app.run("INSERT INTO chat (id, chat) VALUES ('big', ?)", ('{"x": "' + "y" * 50_000_000 + '"}',))
    pair.sync()
    app.run("UPDATE chat SET chat = substr(chat, 1, 25000000) || 'z' || substr(chat, 25000002) WHERE id = 'big'")
    assert written(pair.synced()) == (0, 1, 0)


@pytest.mark.parametrize("at", [5_000, 50_000, 99_000])
def test_case_09_a_change_of_the_same_length_inside_an_overflow_page(pair: Pair, app: Application, at: int) -> None:
    app.run("UPDATE chat SET title = ? WHERE id = 'c7'", ("x" * 100_000,))
    pair.synced()
    app.run("UPDATE chat SET title = substr(title, 1, ?) || 'y' || substr(title, ?) WHERE id = 'c7'", (at, at + 2))
    result = pair.synced()
    assert (result.level, written(result)) == ("pages", (0, 1, 0))


def test_case_09_a_large_table_becomes_empty(pair: Pair) -> None:
    app = pair.application("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); CREATE TABLE u (v TEXT); INSERT INTO u"
                           " VALUES ('stays')", "journal_mode = wal")  # fmt: skip
    app.many("INSERT INTO t VALUES (?, ?)", [(n, "x" * 500) for n in range(60_000)])
    pair.sync()
    app.run("DELETE FROM t")
    assert written(pair.synced(confirmed=True)) == (0, 0, 60_000)
    app.run("VACUUM")
    assert written(pair.synced()) == (0, 0, 0)


def test_case_07_committed_frames_without_salts_are_frames(pair: Pair) -> None:
    """SQLite (3.40 and others) leaves salts and checksum 0 in frames that were spilled before a ROLLBACK TO."""
    app = pair.application("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", "journal_mode = wal")
    app.run("PRAGMA wal_autocheckpoint = 0")
    app.many("INSERT INTO t VALUES (?, ?)", [(n, "x" * 3000) for n in range(30)])
    pair.synced()
    app.run("UPDATE t SET v = 'first' || substr(v, 6) WHERE id IN (1, 20)")
    app.script(
        """
        PRAGMA cache_size = 5;
        BEGIN IMMEDIATE;
        SAVEPOINT s;
        UPDATE t SET v = 'a' || substr(v, 2) WHERE id BETWEEN 4 AND 14;
        UPDATE t SET v = 'b' || substr(v, 2) WHERE id BETWEEN 24 AND 30;
        UPDATE t SET v = 'c' || substr(v, 2) WHERE id BETWEEN 16 AND 28;
        ROLLBACK TO s;
        COMMIT;
        UPDATE t SET v = 'second' || substr(v, 7) WHERE id IN (2, 21);
        """
    )
    frames = range(32, log_of(pair).stat().st_size, 24 + 4096)
    assert any(log_of(pair).read_bytes()[at + 8 : at + 24] == bytes(16) for at in frames)
    assert written(pair.sync()) == (0, 4, 0)
    # In place: a copy of file and log would be recovered, which stops at the first frame without salts.
    assert_equal(pair.source, pair.url, pair.schema, in_place=True)
    assert_equal(pair.state / "shadow.db", pair.url, pair.schema)


def test_case_06_a_log_without_a_frame_is_not_an_empty_database(pair: Pair, app: Application) -> None:
    """The application has been restarted and has only read; the log's index says 0 pages."""
    pair.synced()
    app.run("UPDATE chat SET title = 'before' WHERE id = 'c7'")
    app.close()
    again = pair.application("SELECT count(*) FROM chat")
    assert written(pair.synced()) == (0, 1, 0)
    assert_equal(pair.state / "shadow.db", pair.url, pair.schema)
    again.run("UPDATE chat SET title = 'after' WHERE id = 'c7'")
    result = pair.synced()
    assert (result.level, written(result)) == ("pages", (0, 1, 0))
