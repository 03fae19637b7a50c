"""Nasty cases 1 to 5: what rows can do between two runs."""

import pytest

from tests.replication.application import Application
from tests.replication.proof.pair import Pair, written


def test_case_01_a_deleted_row_goes(pair: Pair, app: Application) -> None:
    pair.synced()
    app.run("DELETE FROM chat WHERE id = 'c7'")
    assert written(pair.synced()) == (0, 0, 1)


@pytest.mark.parametrize("between", ["DELETE FROM chat WHERE id = 'c7'", "DELETE FROM chat"])
def test_case_01_a_row_deleted_and_inserted_again_is_the_new_one(pair: Pair, app: Application, between: str) -> None:
    pair.synced()
    with app.transaction():
        app.run(between)
        app.run("INSERT INTO chat (id, title, chat) VALUES ('c7', 'new', '1')")
    pair.synced(confirmed=True)
    assert pair.sql("SELECT title, chat::text FROM {}.chat WHERE id = 'c7'") == [("new", "1")]


def test_case_01_a_row_that_came_and_went_between_two_runs_is_not_sent(pair: Pair, app: Application) -> None:
    pair.synced()
    app.run("INSERT INTO chat (id) VALUES ('brief')")
    app.run("DELETE FROM chat WHERE id = 'brief'")
    assert written(pair.synced()) == (0, 0, 0)


def test_case_02_a_value_that_went_there_and_back_is_not_sent(pair: Pair, app: Application) -> None:
    pair.synced()
    for title in ("B", "title 7"):
        app.run("UPDATE chat SET title = ? WHERE id = 'c7'", (title,))
    assert written(pair.synced()) == (0, 0, 0)


def test_case_02_a_value_that_went_there_and_back_across_a_failover_does_not_stay(pair: Pair, app: Application) -> None:
    """The second node's folder still says A when the replica says B already."""
    other = pair.with_options(state=pair.state.with_name("other"))
    pair.synced()
    app.run("INSERT INTO user VALUES ('u', 'n', 1)")
    other.synced()
    app.run("UPDATE chat SET title = 'B' WHERE id = 'c7'")
    pair.synced()
    app.run("UPDATE chat SET title = 'title 7' WHERE id = 'c7'")
    assert other.synced().level == "reconcile"
    assert pair.sql("SELECT title FROM {}.chat WHERE id = 'c7'") == [("title 7",)]


def test_case_03_a_changed_key_moves_its_row(pair: Pair, app: Application) -> None:
    pair.synced()
    app.run("UPDATE chat SET id = 'moved' WHERE id = 'c7'")
    result = pair.synced()
    assert (result.inserted, result.deleted) == (1, 1)


def test_case_03_two_rows_swap_their_keys(pair: Pair, app: Application) -> None:
    pair.synced()
    with app.transaction():
        for now, then in (("c1", "x"), ("c2", "c1"), ("x", "c2")):
            app.run("UPDATE chat SET id = ? WHERE id = ?", (then, now))
    pair.synced()
    assert pair.sql("SELECT title FROM {}.chat WHERE id IN ('c1', 'c2') ORDER BY id") == [("title 2",), ("title 1",)]


def test_case_03_two_rows_swap_their_unique_values(pair: Pair, app: Application) -> None:
    pair.synced()
    with app.transaction():
        for key, name in (("t1", "x"), ("t2", "n1"), ("t1", "n2")):
            app.run("UPDATE tag SET name = ? WHERE id = ?", (name, key))
    assert written(pair.synced()) == (0, 2, 0)


def test_case_03_the_keys_of_a_whole_table_move_up_by_one(pair: Pair) -> None:
    app = pair.application("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", "journal_mode = wal")
    app.many("INSERT INTO t VALUES (?, ?)", [(n, f"v{n}") for n in range(500)])
    pair.synced()
    app.run("UPDATE t SET id = -id - 1")
    app.run("UPDATE t SET id = -id")
    assert pair.synced().level == "pages"


def test_case_04_insert_or_replace_removes_another_row_by_its_unique_name(pair: Pair, app: Application) -> None:
    pair.synced()
    app.run("INSERT OR REPLACE INTO tag VALUES ('new', 'n7', 'u0', NULL)")
    assert written(pair.synced()) == (1, 0, 1)


def test_case_05_vacuum_sends_nothing(pair: Pair, app: Application) -> None:
    app.run("DELETE FROM chat WHERE updated_at % 3 = 0")
    pair.synced()
    app.run("VACUUM")
    assert written(pair.synced()) == (0, 0, 0)


def test_case_05_vacuum_that_renumbers_rowids_sends_only_what_changed_besides(pair: Pair, app: Application) -> None:
    app.run("DELETE FROM chat WHERE updated_at % 3 = 0")
    pair.synced()
    app.run("DELETE FROM user WHERE id = 'u1'")
    app.run("VACUUM")
    app.run("UPDATE chat SET title = 'changed' WHERE id = 'c1'")
    assert written(pair.synced()) == (0, 1, 1)


def test_a_wide_row_is_updated_by_its_changed_column_only(pair: Pair, app: Application) -> None:
    app.run("UPDATE chat SET chat = '\"' || hex(randomblob(500000)) || '\"' WHERE id = 'c7'")
    pair.synced()
    app.run("UPDATE chat SET updated_at = 99 WHERE id = 'c7'")
    assert pair.synced().bytes < 1000
