"""Nasty cases 19 to 21: files that are not what they were, or not what they should be."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from client_manager.errors import Blocked, ClientManagerError, Unavailable
from tests.replication.application import Application
from tests.replication.proof.child import in_child
from tests.replication.proof.pair import TABLES, Pair, written

NOBODY = 65534


def contents(pair: Pair) -> list[Any]:
    return pair.sql("SELECT id, title FROM {}.chat ORDER BY id")


@pytest.mark.parametrize("mode", ["delete", "truncate", "persist"])
def test_case_19_an_application_on_a_rollback_journal(pair: Pair, app: Application, mode: str) -> None:
    app.run(f"PRAGMA journal_mode = {mode}")
    pair.synced()
    app.run("UPDATE chat SET title = 'new' WHERE id = 'c7'")
    result = pair.synced()
    assert (result.level, written(result)) == ("pages", (0, 1, 0))
    assert written(pair.synced()) == (0, 0, 0)


def test_case_19_a_transaction_under_way_on_a_rollback_journal_is_not_seen(pair: Pair, app: Application) -> None:
    app.run("PRAGMA journal_mode = delete")
    app.run("PRAGMA cache_size = 5")
    pair.synced()
    app.run("BEGIN IMMEDIATE")
    app.run("UPDATE chat SET title = 'not yet' WHERE id = 'c7'")
    assert written(pair.sync()) == (0, 0, 0)
    app.run("COMMIT")
    assert written(pair.synced()) == (0, 1, 0)


def test_case_19_a_writer_that_holds_the_database_is_waited_for_and_not_for_ever(pair: Pair, app: Application) -> None:
    app.run("PRAGMA journal_mode = delete")
    pair.synced()
    app.run("UPDATE chat SET title = 'new' WHERE id = 'c7'")
    app.run("BEGIN EXCLUSIVE")
    with pytest.raises(Unavailable):
        pair.sync()
    assert pair.status() == "source_busy"
    app.run("COMMIT")
    pair.synced()
    assert pair.status() == "ok"


def test_case_19_a_hot_journal_of_a_killed_application_is_not_read_over(pair: Pair, app: Application) -> None:
    """The file holds half a transaction; only its journal says so. To roll it back is the application's to do."""
    app.run("PRAGMA journal_mode = delete")
    app.run("PRAGMA cache_size = 5")
    pair.synced()
    before = contents(pair)
    app.run("UPDATE chat SET title = title || 'x' WHERE id = 'c1'")
    app.run("BEGIN IMMEDIATE")
    app.run("UPDATE chat SET title = hex(randomblob(3000))")
    app.kill()
    assert Path(f"{pair.source}-journal").stat().st_size
    try:
        pair.sync(confirmed=True)
    except ClientManagerError:
        assert contents(pair) == before
    else:
        assert contents(pair) == [(key, title + "x" * (key == "c1")) for key, title in before]
    pair.application().run("SELECT count(*) FROM chat")
    pair.synced()


def test_case_19_the_application_switches_between_log_and_journal(pair: Pair, app: Application) -> None:
    for n, mode in enumerate(["delete", "wal", "delete", "wal", "wal", "delete"]):
        app.run(f"PRAGMA journal_mode = {mode}")
        app.run("UPDATE chat SET title = ? WHERE id = 'c7'", (f"title of turn {n}",))
        pair.synced()


def nothing(source: Path) -> None:
    source.unlink()


def zero_bytes(source: Path) -> None:
    source.write_bytes(b"")


def encrypted(source: Path) -> None:
    """SQLCipher writes no header: the whole file is noise."""
    source.write_bytes(os.urandom(40960))


def no_table(source: Path) -> None:
    source.unlink()
    with Application(source, "journal_mode = wal", "user_version = 1"):
        pass


def header_only(source: Path) -> None:
    os.truncate(source, 100)


def folder(source: Path) -> None:
    source.unlink()
    source.mkdir()


def cut_short(source: Path) -> None:
    os.truncate(source, source.stat().st_size // 2)


SPOILT = {
    nothing: "source_missing",
    zero_bytes: "source_missing",
    encrypted: "source_corrupt",
    no_table: "source_missing",
    header_only: "source_corrupt",
    cut_short: "source_corrupt",
    folder: None,
}


@pytest.mark.parametrize(("spoil", "status"), SPOILT.items(), ids=lambda value: getattr(value, "__name__", ""))
@pytest.mark.parametrize("first", [False, True], ids=["later", "first"])
def test_cases_19_to_21_what_is_no_database_stops_the_client(
    pair: Pair, app: Application, spoil: Callable[[Path], None], status: str | None, *, first: bool
) -> None:
    before = [] if first else (pair.synced(), contents(pair))[1]
    app.close()
    good = pair.source.read_bytes()
    spoil(pair.source)
    with pytest.raises(ClientManagerError) as caught:
        pair.sync()
    assert caught.value.hint
    if status:
        assert isinstance(caught.value, Blocked)
        assert pair.status() == status
    assert pair.sql("SELECT count(*) FROM pg_namespace WHERE nspname = %s", pair.schema) == [(0 if first else 1,)]
    if not first:
        assert contents(pair) == before
    if pair.source.is_dir():
        pair.source.rmdir()
    pair.source.write_bytes(good)
    pair.synced(confirmed=True)
    assert pair.status() == "ok"


@pytest.fixture
def strange(pair: Pair) -> Iterator[Pair]:
    """A client whose folder another user may look into, and whose state is that user's."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="proof-") as name:
        Path(name).chmod(0o755)
        (Path(name) / "state").mkdir()
        os.chown(Path(name) / "state", NOBODY, NOBODY)
        found = pair.with_options(source=Path(name) / "webui.db", state=Path(name) / "state")
        found.application(TABLES + "INSERT INTO chat (id, title) VALUES ('c7', 'x');", "journal_mode = wal")
        yield found
        pair.close()


def test_case_19_another_user_may_not_read_the_file(strange: Pair) -> None:
    strange.source.chmod(0o600)
    outcome = in_child(strange, uid=NOBODY)
    assert (outcome.error, strange.status()) == ("Blocked", "source_missing")


def test_case_19_a_folder_that_the_engine_may_not_write(strange: Pair) -> None:
    """The log's index is there already while the application runs, and is not needed when it does not."""
    pair = strange
    for path in [pair.source, *pair.source.parent.glob("webui.db-*")]:
        path.chmod(0o644)
    app = pair.application()
    assert in_child(pair, uid=NOBODY).level == "full"
    app.run("UPDATE chat SET title = 'new' WHERE id = 'c7'")
    assert in_child(pair, uid=NOBODY).level == "pages"
    pair.assert_equal()
    app.close()
    assert in_child(pair, uid=NOBODY).error is None
    pair.assert_equal()


def test_case_20_an_older_backup_in_its_place_needs_a_confirmation(pair: Pair, app: Application) -> None:
    pair.synced()
    app.close()
    backup = pair.source.read_bytes()
    with Application(pair.source) as later:
        later.run("DELETE FROM chat WHERE updated_at > 200")
        later.run("INSERT INTO user VALUES ('new', 'n', 1)")
        pair.synced()
    before = contents(pair)
    pair.source.write_bytes(backup)
    with pytest.raises(Blocked):
        pair.sync()
    assert (pair.status(), contents(pair)) == ("source_replaced", before)
    pair.synced(confirmed=True)
    assert pair.status() == "ok"
    assert pair.sql("SELECT count(*) FROM {}.chat") == [(300,)]


def test_case_20_another_tenants_database_in_its_place_needs_a_confirmation(
    pair: Pair, app: Application, tmp_path: Path
) -> None:
    pair.synced()
    before = contents(pair)
    app.close()
    with Application(tmp_path / "other.db", "journal_mode = wal") as other:
        other.script(TABLES)
        other.many("INSERT INTO chat (id, title) VALUES (?, 'of another')", [(f"o{n}",) for n in range(300)])
    (tmp_path / "other.db").rename(pair.source)
    with pytest.raises(Blocked):
        pair.sync()
    assert (pair.status(), contents(pair)) == ("source_replaced", before)
    pair.synced(confirmed=True)


def test_case_20_the_same_database_in_a_new_file_is_no_replacement(pair: Pair, app: Application) -> None:
    pair.synced()
    app.close()
    shutil.copy(pair.source, copy := pair.source.with_name("copy"))
    copy.rename(pair.source)
    assert written(pair.synced()) == (0, 0, 0)


@pytest.mark.parametrize("statement", ["DELETE FROM {}", "DELETE FROM {} WHERE id > 1200", "DROP TABLE {}"])
def test_case_20_mass_deletes_need_a_confirmation(pair: Pair, statement: str) -> None:
    app = pair.application(
        "CREATE TABLE t (id INTEGER PRIMARY KEY); CREATE TABLE other (id TEXT)", "journal_mode = wal"
    )
    app.many("INSERT INTO t VALUES (?)", [(n,) for n in range(3000)])
    app.run("INSERT INTO other VALUES ('x')")
    pair.synced()
    app.run(statement.format("t"))
    app.run("INSERT INTO other VALUES ('y')")
    with pytest.raises(Blocked):
        pair.sync()
    assert pair.status() == "needs_confirmation"
    assert pair.sql("SELECT (SELECT count(*) FROM {}.t), (SELECT count(*) FROM {}.other)") == [(3000, 1)]
    pair.synced(confirmed=True)
    assert pair.status() == "ok"


def test_case_20_an_emptied_database_needs_a_confirmation(pair: Pair, app: Application) -> None:
    pair.synced()
    before = contents(pair)
    with app.transaction():
        for table in ("chat", "user", "tag", "config"):
            app.run(f"DELETE FROM {table}")
    with pytest.raises(Blocked):
        pair.sync()
    assert (pair.status(), contents(pair)) == ("needs_confirmation", before)
    pair.synced(confirmed=True)


def test_case_20_deletes_below_the_guard_go_through(pair: Pair) -> None:
    app = pair.application("CREATE TABLE t (id INTEGER PRIMARY KEY)", "journal_mode = wal")
    app.many("INSERT INTO t VALUES (?)", [(n,) for n in range(10_000)])
    pair.synced()
    app.run("DELETE FROM t WHERE id % 4 = 0")
    assert written(pair.synced()) == (0, 0, 2500)


def test_case_20_a_reconciliation_is_guarded_too(pair: Pair) -> None:
    """Without a baseline the same loss must not go through by another door."""
    app = pair.application("CREATE TABLE t (id INTEGER PRIMARY KEY); CREATE TABLE u (id)", "journal_mode = wal")
    app.many("INSERT INTO t VALUES (?)", [(n,) for n in range(3000)])
    pair.synced()
    app.run("DELETE FROM t WHERE id > 5")
    shutil.rmtree(pair.state)
    with pytest.raises(Blocked):
        pair.sync()
    assert pair.sql("SELECT count(*) FROM {}.t") == [(3000,)]
    pair.synced(confirmed=True)


@pytest.mark.parametrize("table", ["t", "u"])
def test_case_20_a_reconciliation_does_not_drop_a_large_table_unasked(pair: Pair, table: str) -> None:
    app = pair.application("CREATE TABLE t (id INTEGER PRIMARY KEY); CREATE TABLE u (id)", "journal_mode = wal")
    for name in "tu":
        app.many(f"INSERT INTO {name} VALUES (?)", [(n,) for n in range(3000)])
    pair.synced()
    app.run(f"DROP TABLE {table}")
    shutil.rmtree(pair.state)
    with pytest.raises(Blocked):
        pair.sync()
    assert pair.sql("SELECT count(*) FROM {}." + table) == [(3000,)]
    pair.synced(confirmed=True)


@pytest.mark.parametrize("page", [1, 2, 5, 9])
def test_case_21_a_corrupt_page_of_the_source_is_not_mirrored(pair: Pair, app: Application, page: int) -> None:
    pair.synced()
    before = contents(pair)
    app.run("UPDATE chat SET title = title || 'x' WHERE updated_at < 150")
    app.close()
    good = pair.source.read_bytes()
    with pair.source.open("r+b") as file:
        file.seek((page - 1) * 4096 + (100 if page == 1 else 0))
        file.write(os.urandom(200))
    with pytest.raises(Blocked):
        pair.sync()
    assert (pair.status(), contents(pair)) == ("source_corrupt", before)
    pair.source.write_bytes(good)
    pair.synced()


def garbage(state: Path) -> None:
    with (state / "shadow.db").open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(8192))


def quiet_garbage(state: Path) -> None:
    """Bits that rot change no time stamp."""
    found = (state / "shadow.db").stat()
    garbage(state)
    os.utime(state / "shadow.db", ns=(found.st_atime_ns, found.st_mtime_ns))


def shadow_deleted(state: Path) -> None:
    (state / "shadow.db").unlink()


def shadow_empty(state: Path) -> None:
    os.truncate(state / "shadow.db", 0)


def stamp_deleted(state: Path) -> None:
    (state / "shadow.json").unlink()


def stamp_cut_short(state: Path) -> None:
    os.truncate(state / "shadow.json", 20)


def owners_garbage(state: Path) -> None:
    for path in state.glob("owner.map*"):
        path.write_bytes(os.urandom(path.stat().st_size))


def owners_cut_short(state: Path) -> None:
    for path in state.glob("owner.map*"):
        os.truncate(path, path.stat().st_size // 2)


def everything_deleted(state: Path) -> None:
    shutil.rmtree(state)


def leftovers(state: Path) -> None:
    for name in ("pending.2", "pending.3", "pending.9", "pending.3.writing", "shadow.new", "copy.db", "copy.db-wal"):
        (state / name).write_bytes(os.urandom(5000))


@pytest.mark.parametrize(
    "spoil",
    [garbage, quiet_garbage, shadow_deleted, shadow_empty, stamp_deleted, stamp_cut_short, owners_garbage,
     owners_cut_short, everything_deleted, leftovers],
    ids=lambda spoil: spoil.__name__,
)  # fmt: skip
def test_case_21_spoilt_state_is_noticed_or_does_no_harm(
    pair: Pair, app: Application, spoil: Callable[[Path], None]
) -> None:
    pair.synced()
    app.run("UPDATE chat SET title = 'second' WHERE updated_at % 40 = 0")
    pair.synced()
    spoil(pair.state)
    app.run("UPDATE chat SET title = 'third' WHERE updated_at % 30 = 0")
    app.run("DELETE FROM chat WHERE updated_at % 50 = 1")
    assert pair.synced().level != "full"
    app.run("UPDATE chat SET title = 'fourth' WHERE updated_at % 20 = 0")
    pair.synced()
    assert pair.verify(heal=False).equal


def test_case_21_a_shadow_of_an_older_generation_is_noticed(pair: Pair, app: Application) -> None:
    pair.synced()
    old = shutil.copytree(pair.state, pair.state.with_name("old"), copy_function=shutil.copy2)
    app.run("UPDATE chat SET title = 'second' WHERE id = 'c7'")
    pair.synced()
    app.run("UPDATE chat SET title = 'title 7' WHERE id = 'c7'")
    shutil.rmtree(pair.state)
    old.rename(pair.state)
    assert pair.synced().level == "reconcile"
