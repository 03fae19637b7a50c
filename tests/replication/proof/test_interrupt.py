"""A run asks between its steps whether to go on; wherever it is told not to, nothing of it takes effect."""

import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID

import psycopg
import pytest
from pydantic import SecretStr

from client_manager.errors import Cancelled
from client_manager.gateways.database import Database
from client_manager.replication.engine import Engine, Options
from client_manager.replication.trouble import Fenced
from tests.replication.application import Application
from tests.replication.proof.pair import Pair, at_step

MOST_CALLS = 1000


class Interrupt:
    """Raises at the nth call, and at every one after it."""

    def __init__(self, at: int, error: Callable[[], Exception]) -> None:
        self.at = at
        self.calls = 0
        self.error = error
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            self.calls += 1
            due = self.calls >= self.at
        if due:
            raise self.error()


def cancelled() -> Exception:
    return Cancelled("Cancelled by the operator.")


def fenced() -> Exception:
    return Fenced("This node leads no more.")


def content(pair: Pair) -> list[Any]:
    """What others see of the replica, its declaration included."""
    with psycopg.connect(pair.url) as connection:
        tables = connection.execute(
            "SELECT relname, array_agg(attname::text || ' ' || atttypid::regtype ORDER BY attnum) FROM pg_class"
            " JOIN pg_namespace n ON n.oid = relnamespace JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0"
            " AND NOT attisdropped WHERE nspname = %s AND relkind = 'r' GROUP BY relname ORDER BY relname",
            [pair.schema],
        ).fetchall()
        rows = [
            connection.execute(f'SELECT md5(string_agg(t::text, \'|\' ORDER BY t::text)) FROM {pair.schema}."{name}" t')
            .fetchall()
            for name, _ in tables
        ]  # fmt: skip
        state = connection.execute("SELECT generation, mark FROM sync_metadata.replication_state").fetchall()
        kept = connection.execute("SELECT count(*) FROM sync_metadata.quarantine WHERE client_name = %s", [pair.schema])
        return [tables, rows, state, kept.fetchall()]


def interrupted_everywhere(run: Callable[[Interrupt], Any], pair: Pair, *, every: int = 1) -> int:
    """Interrupt a run at its questions in turn, and let it come to its end; return how many questions it asks then."""
    before = content(pair)
    for at in range(1, MOST_CALLS, every):
        interrupt = Interrupt(at, cancelled if at % 2 else fenced)
        try:
            run(interrupt)
        except (Cancelled, Fenced):
            assert content(pair) == before, f"interrupted at question {at}"
        else:
            assert interrupt.calls < at
            pair.assert_equal()
            return interrupt.calls
    raise AssertionError(f"more than {MOST_CALLS} questions")


CHANGES = {
    "rows": "UPDATE chat SET title = 'new', chat = 'no JSON' WHERE id IN ('c1', 'c2'); DELETE FROM chat WHERE id = 'c3';",
    "a table more": "CREATE TABLE note (id TEXT PRIMARY KEY); INSERT INTO note VALUES ('n');",
    "a column more": "ALTER TABLE chat ADD COLUMN pinned BOOLEAN; UPDATE chat SET pinned = 1;",
    "a table less": "DROP TABLE config;",
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_incremental_run_takes_no_effect_wherever_it_is_interrupted(
    pair: Pair, app: Application, change: str
) -> None:
    pair.synced()
    app.script(CHANGES[change])
    assert interrupted_everywhere(lambda interrupt: pair.sync(interrupt=interrupt), pair) >= 3


def test_a_reconciliation_takes_no_effect_wherever_it_is_interrupted(pair: Pair, app: Application) -> None:
    pair.synced()
    app.script(CHANGES["rows"])
    (pair.state / "shadow.db").unlink()
    assert interrupted_everywhere(lambda interrupt: pair.sync(interrupt=interrupt), pair) >= 3


def test_a_load_takes_no_effect_wherever_it_is_interrupted(pair: Pair, app: Application) -> None:
    """Each goes on where the one before was cut off, and so asks less."""
    pair.synced()
    app.script(CHANGES["rows"])
    assert interrupted_everywhere(lambda interrupt: pair.sync(interrupt=interrupt, full=True), pair, every=3) >= 3


def test_a_drop_asks_in_its_transaction_after_everything_is_written(pair: Pair, app: Application) -> None:
    """It writes no batch, so that nothing but the last question before COMMIT stands between it and the replica."""
    pair.synced()
    app.script(CHANGES["a table less"])
    stop = Interrupt(MOST_CALLS, cancelled)

    def now() -> None:
        stop.at = 0

    with at_step("claimed", now), pytest.raises(Cancelled):
        pair.sync(interrupt=stop)
    assert pair.sql("SELECT count(*) FROM {}.config") == [(4,)]


def test_all_streams_of_a_load_end_soon(pair: Pair, app: Application) -> None:
    """The one that is told to, and the others in the middle of their COPY."""
    app.many("INSERT INTO chat (id, title) VALUES (?, ?)", [(f"x{n}", "t" * 4000) for n in range(8000)])
    app.many("INSERT INTO user VALUES (?, ?, ?)", [(f"x{n}", "t" * 4000, n) for n in range(8000)])
    stop = Interrupt(MOST_CALLS, cancelled)

    def now() -> None:
        stop.at = 0

    with at_step("chunk loaded", now) as reached, pytest.raises(Cancelled):
        pair.sync(interrupt=stop)
    assert reached.count("chunk loaded") <= 2  # one stream's, and at most what the other had just ended
    assert pair.sql("SELECT count(*) FROM pg_namespace WHERE nspname = %s", pair.schema) == [(0,)]
    pair.synced()


def test_a_stream_asks_in_the_middle_of_its_copy(pair: Pair, app: Application) -> None:
    app.many("INSERT INTO chat (id, title) VALUES (?, ?)", [(f"x{n}", "t" * 4000) for n in range(3000)])
    stop = Interrupt(MOST_CALLS, cancelled)

    def some_rows_are_in(_table: str, _rows: int) -> None:
        stop.at = 0

    engine = Engine(
        pair.source,
        pair.schema,
        database=Database(SecretStr(pair.url)),
        state_dir=pair.state,
        options=Options(streams=1),
        progress=some_rows_are_in,
    )
    with engine, at_step("chunk loaded", lambda: None) as reached, pytest.raises(Cancelled):
        engine.run(interrupt=stop)
    assert "chunk loaded" not in reached


def test_a_cancelled_run_leaves_a_cancelled_job_and_a_deposed_one_none(pair: Pair, app: Application) -> None:
    pair.synced()
    app.script(CHANGES["rows"])
    with pytest.raises(Fenced):
        pair.sync(interrupt=Interrupt(3, fenced))
    jobs = "SELECT status, error_message FROM sync_metadata.sync_jobs ORDER BY completed_at"
    assert pair.sql(jobs) == [("success", None)]
    with pytest.raises(Cancelled):
        pair.sync(interrupt=Interrupt(3, cancelled))
    assert pair.sql(jobs) == [("success", None), ("cancelled", "Cancelled by the operator.")]
    assert pair.status() == "ok"


def test_a_verification_ends_where_it_is_interrupted(pair: Pair, app: Application) -> None:
    app.many("INSERT INTO chat (id) VALUES (?)", [(f"x{n}",) for n in range(2000)])
    pair.synced()
    pair.sql("UPDATE {}.chat SET title = 'theirs' WHERE id = 'c1'")
    assert interrupted_everywhere(lambda interrupt: pair.verify(interrupt=interrupt), pair, every=3) >= 6


def running_job(pair: Pair, sync_type: str = "incremental") -> UUID:
    [(job_id,)] = pair.sql(
        "INSERT INTO sync_metadata.sync_jobs (client_name, status, sync_type, triggered_by, term, metadata)"
        """ VALUES (%s, 'running', %s, 'the operator', 1, '{"by": "node"}') RETURNING job_id""",
        pair.schema,
        sync_type,
    )
    found: UUID = job_id
    return found


@pytest.mark.parametrize(("kind", "rows"), [("full", 374), ("incremental", 1)])
def test_a_run_works_off_the_job_that_it_is_given(pair: Pair, app: Application, kind: str, rows: int) -> None:
    pair.synced()
    app.run("UPDATE chat SET title = 'new' WHERE id = 'c7'")
    job = running_job(pair, kind)
    pair.synced(full=kind == "full", job_id=job)
    assert pair.sql(
        "SELECT status, rows_synced, tables_total > 0, tables_synced > 0, completed_at IS NOT NULL, triggered_by"
        " FROM sync_metadata.sync_jobs WHERE job_id = %s",
        job,
    ) == [("success", rows, True, True, True, "the operator")]
    assert pair.sql("SELECT count(*) FROM sync_metadata.sync_jobs") == [(2,)]


@pytest.mark.usefixtures("app")
def test_a_job_that_finds_nothing_to_do_succeeds(pair: Pair) -> None:
    pair.synced()
    job = running_job(pair)
    assert pair.sync(job_id=job).level == "idle"
    assert pair.sql("SELECT status, rows_synced FROM sync_metadata.sync_jobs WHERE job_id = %s", job) == [
        ("success", 0)
    ]


@pytest.mark.usefixtures("app")
def test_a_job_that_somebody_has_ended_is_not_worked_off(pair: Pair) -> None:
    job = running_job(pair, "full")
    pair.sql("UPDATE sync_metadata.sync_jobs SET status = 'failed', error_message = 'orphan' WHERE job_id = %s", job)
    with pytest.raises(Fenced):
        pair.sync(full=True, job_id=job)
    assert pair.generation() == 0
    assert pair.sql("SELECT status, error_message FROM sync_metadata.sync_jobs") == [("failed", "orphan")]
