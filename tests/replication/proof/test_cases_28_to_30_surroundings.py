"""Nasty cases 28 to 30: clocks, many clients, and a long time. CLIENT_MANAGER_PROOF_SOAK_S asks for longer."""

import datetime
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from client_manager.errors import Blocked, Unavailable
from client_manager.replication.engine import Engine
from tests.replication.application import Application
from tests.replication.oracle import differences
from tests.replication.proof.child import start
from tests.replication.proof.pair import Pair, written
from tests.replication.proof.test_case_27_target import with_options
from tests.replication.proof.test_crash import FIRST_SEED, writing

SOAK_S = float(os.environ.get("CLIENT_MANAGER_PROOF_SOAK_S", "20"))
STRANGE = {
    "TimeZone": "Asia/Kathmandu",
    "DateStyle": "German,DMY",
    "IntervalStyle": "sql_standard",
    "extra_float_digits": "-3",
    "bytea_output": "escape",
    "standard_conforming_strings": "off",
    "default_transaction_isolation": "serializable",
    "search_path": "nowhere",
}


@pytest.mark.parametrize("hours", [-1, 1])
def test_case_28_a_clock_that_jumps_changes_nothing(
    pair: Pair, app: Application, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    pair.synced()
    jump, now = hours * 3600, time.time
    monkeypatch.setattr(time, "time", lambda: now() + jump)
    monkeypatch.setattr(time, "time_ns", lambda: int((now() + jump) * 1e9))
    app.run("UPDATE chat SET title = 'new' WHERE id = 'c7'")
    for path in (pair.source, Path(f"{pair.source}-wal")):
        os.utime(path, (now() + jump, now() + jump))
    assert written(pair.synced()) == (0, 1, 0)
    app.run("UPDATE chat SET title = 'newer' WHERE id = 'c7'")
    os.utime(pair.source, (now() - jump, now() - jump))
    assert written(pair.synced()) == (0, 1, 0)
    assert pair.verify(heal=False).equal


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Pacific/Apia", "UTC"])
def test_case_28_neither_zones_nor_styles_of_a_session_change_a_value(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    strange = pair.with_options(url=with_options(pair.url, **STRANGE))
    app = pair.application(
        "CREATE TABLE t (id DATETIME PRIMARY KEY, d DATE, f FLOAT, b BLOB, j JSON, n NUMERIC)", "journal_mode = wal"
    )
    moments = ["2026-03-29 02:30:00", "2026-10-25 02:30:00.000001", "1883-11-18 12:00:00", "2011-12-30 12:00:00"]
    rows = [(at, at[:10], 0.1 + 0.2, b"\\\x00\xff'", '{"a":"\\\\"}', 0.1) for at in moments]
    app.many("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)", rows[:2])
    strange.sync()
    pair.assert_equal()
    app.many("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)", rows[2:])
    app.run("UPDATE t SET f = 1.0 / 3, b = x'5c5c', id = '2026-03-29 02:30:00.5' WHERE id = ?", (moments[0],))
    strange.sync()
    pair.assert_equal()
    found = strange.verify(heal=False)
    assert found.equal, found.differences
    monkeypatch.delenv("TZ")
    time.tzset()


@pytest.mark.parametrize("column", ["id DATETIME PRIMARY KEY", "id INTEGER PRIMARY KEY"])
def test_case_28_epochs_mean_utc_wherever_the_node_is(pair: Pair, monkeypatch: pytest.MonkeyPatch, column: str) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    app = pair.application(f"CREATE TABLE t ({column}, at DATETIME)", "journal_mode = wal")
    app.run("INSERT INTO t VALUES ('2026-01-01 00:00:00', 0)" if "DATE" in column else "INSERT INTO t VALUES (1, 0)")
    pair.synced()
    monkeypatch.delenv("TZ")
    time.tzset()
    assert pair.sql("SELECT at FROM {}.t") == [(datetime.datetime(1970, 1, 1),)]  # noqa: DTZ001  as it stands there


@pytest.mark.parametrize("clients", [24])
def test_case_29_a_broken_and_a_locked_client_do_not_hold_the_others_up(
    pair: Pair, tmp_path: Path, clients: int
) -> None:
    sides = [
        pair.with_options(source=tmp_path / f"{n}.db", state=tmp_path / f"state{n}", schema=f"client-{n}")
        for n in range(clients)
    ]
    for n, side in enumerate(sides):
        with Application(side.source, "journal_mode = delete" if n == 1 else "journal_mode = wal") as app:
            app.script("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'x')")
        side.sync()
    sides[0].source.write_bytes(b"broken" * 1000)
    locker = sides[1].application()
    locker.script("INSERT INTO t VALUES (2, 'y'); BEGIN EXCLUSIVE")
    for side in sides[2:]:
        with Application(side.source) as app:
            app.run("INSERT INTO t VALUES (2, 'y')")
    open_before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    outcomes = [_outcome(side) for side in sides]
    assert outcomes == ["Blocked", "Unavailable", *[1] * (clients - 2)]
    assert len(os.listdir("/proc/self/fd")) <= open_before  # noqa: PTH208
    locker.run("COMMIT")
    assert _outcome(sides[1]) == 1
    assert not [line for side in sides[1:] for line in differences(side.source, side.url, side.schema)]
    locker.close()


def _outcome(side: Pair) -> object:
    try:
        return side.sync().inserted
    except (Blocked, Unavailable) as error:
        return type(error).__name__


def test_case_29_a_run_holds_few_connections(pair: Pair, app: Application) -> None:
    """A pooler's limit is 15 for each role and database; a full load of two streams takes at most 4."""
    del app
    most = 0

    def count(_table: str, _rows: int) -> None:
        nonlocal most
        [(now,)] = watching.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
        most = max(most, now)

    with psycopg.connect(pair.url, autocommit=True) as watching, pair.engine() as engine:
        engine._told = count
        engine.run()
    assert 1 <= most <= 4


def _files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208


def _resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _ran(engine: Engine) -> bool:
    """Run; False where the writer opened its closed database in that moment."""
    try:
        level = engine.run(confirmed=True).level
    except Unavailable:
        return False
    assert level in ("idle", "pages", "sql")
    return True


@pytest.mark.timeout(max(60, SOAK_S * 3))
def test_case_30_a_short_soak(pair: Pair) -> None:
    """One engine that stays, one that is killed at random moments, PostgreSQL's backends ended; verified on the way."""
    backends = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = "
    )
    with writing(pair.source, FIRST_SEED + 7, 50) as done:
        pair.sync()
        end, runs, busy, sizes, files, memory = time.monotonic() + SOAK_S, 0, 0, [], [], []
        with pair.engine() as engine:
            while time.monotonic() < end:
                runs += 1
                if runs % 40 == 0:
                    child = start(pair)
                    time.sleep(runs % 7 * 0.03)
                    child.send_signal(signal.SIGKILL)
                    child.communicate()
                    pair.sql(backends + "current_database()")
                busy += not _ran(engine)
                with suppress(FileNotFoundError):  # whoever is the last to close the database deletes it
                    sizes.append(Path(f"{pair.source}-wal").stat().st_size)
                files.append(_files(os.getpid()))
                memory.append(_resident_bytes(os.getpid()))
                if runs % 100 == 0:
                    found = engine.verify()
                    assert not pair.conflicts(), found.differences
    pair.synced(confirmed=True)
    half = len(files) // 2
    assert max(files[half:]) <= max(files[:half]) + 2
    assert max(memory[half:]) <= max(memory[:half]) + 30_000_000
    assert max(sizes) < 200_000_000
    assert done["COMMIT"] > SOAK_S * 10
    assert busy <= 2 * done["reopen"]
