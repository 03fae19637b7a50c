"""Nasty cases 22 to 26: runs that are cut off, overtaken, or deceived about what was committed."""

import os
import shutil

import psycopg
import pytest

from client_manager.errors import ClientManagerError, Conflict, Unavailable
from tests.replication.application import Application
from tests.replication.proof.child import in_child, outcome, start
from tests.replication.proof.crash_runs import FULL_LABELS
from tests.replication.proof.pair import Pair, at_step, written
from tests.replication.proof.proxy import road_to

INCREMENTAL_LABELS = ("pending written", "claimed", "before commit", "after commit", "page written", "shadow written",
                      "shadow stamped")  # fmt: skip


def dies_at(pair: Pair, label: str, **arguments: bool) -> None:
    """Run in a fork that ends at once at a step."""
    child = os.fork()
    if child == 0:
        with at_step(label, lambda: os._exit(9)):
            pair.sync(**arguments)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9, label


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("label", INCREMENTAL_LABELS)
def test_case_22_a_run_that_ends_at_a_step_is_finished_by_the_next(pair: Pair, app: Application, label: str) -> None:
    pair.synced()
    app.run("UPDATE chat SET title = 'changed' WHERE id = 'c7'")
    app.run("DELETE FROM tag WHERE id = 't1'")
    dies_at(pair, label)
    committed = label in INCREMENTAL_LABELS[3:]
    assert pair.generation() == (2 if committed else 1)
    result = pair.synced()
    assert written(result) == ((0, 0, 0) if committed else (0, 1, 1))
    assert result.level in ("idle", "pages")
    app.run("UPDATE chat SET title = 'again' WHERE id = 'c7'")
    assert written(pair.synced()) == (0, 1, 0)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("first", [True, False], ids=["first", "again"])
@pytest.mark.parametrize("label", FULL_LABELS)
def test_case_22_a_full_load_that_ends_at_a_step_is_finished_by_the_next(
    pair: Pair, app: Application, label: str, *, first: bool
) -> None:
    if not first:
        pair.synced()
    app.run("UPDATE chat SET title = 'changed' WHERE id = 'c7'")
    dies_at(pair, label, full=True)
    assert pair.synced().level in ({"full", "idle"} if first else {"idle", "pages"})
    app.run("UPDATE chat SET title = 'again' WHERE id = 'c7'")
    assert written(pair.synced()) == (0, 1, 0)
    assert pair.sql("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'acme%%'") == [("acme",)]


@pytest.mark.parametrize("broken", ["before", "after"])
@pytest.mark.parametrize("full", [False, True], ids=["incremental", "full"])
def test_case_23_the_connection_is_lost_during_commit(pair: Pair, app: Application, broken: str, *, full: bool) -> None:
    if not full:
        pair.synced()
    app.run("UPDATE chat SET title = 'changed' WHERE id = 'c7'")
    with road_to(pair.url) as (road, url):
        afar = pair.with_options(url=url)
        with at_step("before commit", lambda: setattr(road, "break_at", broken)), pytest.raises(Unavailable):
            afar.sync()
        assert pair.generation() == (not full) + (broken == "after")
        result = afar.sync()
    assert result.level != "full" or (full and broken == "before")
    if not full:
        assert written(result) == ((0, 1, 0) if broken == "before" else (0, 0, 0))
    pair.assert_equal()
    app.run("UPDATE chat SET title = 'again' WHERE id = 'c7'")
    assert written(pair.synced()) == (0, 1, 0)


def overtake(pair: Pair, term: int = 9) -> None:
    """Another node becomes leader and writes the fence; where the client's row is held, it waits as it must."""
    with psycopg.connect(pair.url, autocommit=True) as connection:
        connection.execute("SET lock_timeout = '100ms'")
        connection.execute("UPDATE sync_metadata.replication_state SET fence = %s WHERE client_name = %s",
                           (term, pair.schema))  # fmt: skip


@pytest.mark.parametrize("full", [False, True], ids=["incremental", "full"])
def test_case_24_a_leader_that_was_overtaken_writes_nothing(pair: Pair, app: Application, *, full: bool) -> None:
    pair.sync(term=3)
    app.run("UPDATE chat SET title = 'changed' WHERE id = 'c7'")
    with at_step("pending written", lambda: overtake(pair)), pytest.raises(Conflict):
        pair.sync(term=3, full=full)
    assert pair.generation() == 1
    assert pair.sql("SELECT title FROM {}.chat WHERE id = 'c7'") == [("title 7",)]
    with pytest.raises(Conflict):
        pair.sync(term=3)
    assert written(pair.synced(term=9)) == (0, 1, 0)


@pytest.mark.parametrize("label", ["claimed", "before commit"])
def test_case_24_once_claimed_the_next_leader_waits(pair: Pair, app: Application, label: str) -> None:
    pair.sync(term=3)
    app.run("UPDATE chat SET title = 'changed' WHERE id = 'c7'")

    def refused() -> None:
        with pytest.raises(psycopg.errors.LockNotAvailable):
            overtake(pair)

    with at_step(label, refused):
        assert written(pair.sync(term=3)) == (0, 1, 0)
    overtake(pair)
    pair.synced(term=9)


@pytest.mark.parametrize("label", ["after commit", "page written", "shadow written", "shadow stamped"])
def test_case_24_a_leader_that_is_overtaken_after_its_commit_does_no_harm(
    pair: Pair, app: Application, label: str
) -> None:
    """The other node has its own folder; the old one ends its shadow and finds the fence at its next run."""
    other = pair.with_options(state=pair.state.with_name("other"))
    pair.sync(term=3)
    app.run("UPDATE chat SET title = 'changed' WHERE id = 'c7'")

    def take_over() -> None:
        app.run("UPDATE chat SET title = 'of the next' WHERE id = 'c8'")
        assert other.sync(term=9).level == "reconcile"

    child = start(pair, term=3, pause_at=label)
    assert child.stdout
    assert child.stdout.readline() == "paused\n"
    take_over()
    assert outcome(child).error is None
    pair.assert_equal()
    with pytest.raises(Conflict):
        pair.sync(term=3)
    app.run("UPDATE chat SET title = 'again' WHERE id = 'c7'")
    assert pair.synced(term=10).level == "reconcile"


def test_case_25_two_runs_on_one_folder_exclude_each_other(pair: Pair, app: Application) -> None:
    pair.synced()
    app.run("UPDATE chat SET title = 'changed' WHERE id = 'c7'")
    child = start(pair, pause_at="claimed")
    assert child.stdout
    assert child.stdout.readline() == "paused\n"
    with pytest.raises(Conflict):
        pair.sync()
    assert outcome(child).written == [0, 1, 0]
    assert written(pair.synced()) == (0, 0, 0)


@pytest.mark.parametrize("label", ["pending written", "claimed"])
def test_case_25_two_runs_on_two_folders_write_one_after_the_other(pair: Pair, app: Application, label: str) -> None:
    other = pair.with_options(state=pair.state.with_name("other"))
    pair.synced()
    other.synced()
    app.run("UPDATE chat SET title = 'changed' WHERE id = 'c7'")
    child = start(other, pause_at=label)
    assert child.stdout
    assert child.stdout.readline() == "paused\n"
    if label == "pending written":
        assert written(pair.sync()) == (0, 1, 0)
        assert outcome(child).error == "Fenced"
    else:
        assert outcome(child).written == [0, 1, 0]
    pair.assert_equal()
    app.run("UPDATE chat SET title = 'again' WHERE id = 'c7'")
    for node in (other, pair):
        node.sync()
        app.run("UPDATE chat SET updated_at = updated_at + 1 WHERE id = 'c7'")
        assert node.synced().level == "pages"


def keep(pair: Pair) -> None:
    """Remember what PostgreSQL holds now, as a standby does that lags behind."""
    pair.sql("DROP SCHEMA IF EXISTS kept CASCADE")
    pair.sql("CREATE SCHEMA kept")
    for table in ("chat", "user", "tag", "config"):
        pair.sql(f'CREATE TABLE kept."{table}" AS TABLE {{}}."{table}"')
    pair.sql("CREATE TABLE kept.state AS TABLE sync_metadata.replication_state")
    pair.sql("CREATE TABLE kept.quarantine AS TABLE sync_metadata.quarantine")


def lose_the_last_commits(pair: Pair) -> None:
    """Fail over to that standby."""
    for table in ("chat", "user", "tag", "config"):
        pair.sql(f'TRUNCATE {{}}."{table}"')
        pair.sql(f'INSERT INTO {{}}."{table}" SELECT * FROM kept."{table}"')
    pair.sql("TRUNCATE sync_metadata.replication_state, sync_metadata.quarantine")
    pair.sql("INSERT INTO sync_metadata.replication_state SELECT * FROM kept.state")
    pair.sql("INSERT INTO sync_metadata.quarantine OVERRIDING SYSTEM VALUE SELECT * FROM kept.quarantine")
    pair.sql("DROP SCHEMA kept CASCADE")


@pytest.mark.parametrize("lost", [1, 2, 5])
def test_case_26_a_server_that_lost_the_last_commits_gets_them_again(pair: Pair, app: Application, lost: int) -> None:
    pair.synced()
    keep(pair)
    for n in range(lost):
        app.run("UPDATE chat SET title = ?, chat = 'no json' WHERE id = ?", (f"lost {n}", f"c{n}"))
        app.run("DELETE FROM tag WHERE id = ?", (f"t{n}",))
        pair.synced()
    lose_the_last_commits(pair)
    assert pair.differences()
    result = pair.synced()
    assert (result.level, result.updated, result.deleted, result.generation) == ("reconcile", lost, lost, 2)


def test_case_26_generations_that_meet_again_are_not_taken_for_each_other(pair: Pair, app: Application) -> None:
    """After the loss another node has written until the number is the same as this node's; the rows are not."""
    other = pair.with_options(state=pair.state.with_name("other"))
    pair.synced()
    keep(pair)
    app.run("UPDATE chat SET title = 'lost' WHERE id = 'c1'")
    pair.synced()
    lose_the_last_commits(pair)
    app.run("UPDATE chat SET title = 'title 1' WHERE id = 'c1'")
    app.run("UPDATE chat SET title = 'of the other' WHERE id = 'c2'")
    other.synced()
    assert other.generation() == 2
    app.run("UPDATE chat SET title = 'title 2' WHERE id = 'c2'")
    pair.synced()


def test_case_26_the_server_restarts_between_two_runs(pair: Pair, app: Application) -> None:
    """Every backend is gone; a run that is under way fails as unavailable, and the next one does it."""
    pair.synced()
    app.run("UPDATE chat SET title = 'changed' WHERE id = 'c7'")
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname ="
    with at_step("claimed", lambda: pair.sql(f"{end} current_database()")), pytest.raises(ClientManagerError) as caught:
        pair.sync()
    assert isinstance(caught.value, Unavailable)
    assert written(pair.synced()) == (0, 1, 0)


def test_case_26_state_that_is_newer_than_the_server_is_dropped(pair: Pair, app: Application) -> None:
    pair.synced()
    app.run("UPDATE chat SET title = 'changed' WHERE id = 'c7'")
    pair.synced()
    pair.sql("DROP SCHEMA {} CASCADE")
    pair.sql("DELETE FROM sync_metadata.replication_state")
    assert pair.synced().level == "full"
    shutil.rmtree(pair.state)
    assert pair.synced().level == "reconcile"
    assert in_child(pair).level == "idle"
