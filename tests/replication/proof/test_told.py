"""What a run leaves behind for the operator when it finds its own fault, or fails."""

from pathlib import Path

import pytest

from client_manager.errors import Blocked, ClientManagerError
from client_manager.replication.candidates import CandidateSearch
from client_manager.replication.engine import Options
from tests.replication.application import Application
from tests.replication.proof.pair import Pair

JOBS = "SELECT status, sync_type, error_message FROM sync_metadata.sync_jobs WHERE client_name = 'acme' ORDER BY completed_at"


def test_what_the_search_by_pages_misses_is_written_and_logged_with_both_rows(
    pair: Pair, app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.options = Options(audit_every=0)
    pair.synced()
    app.run("UPDATE chat SET title = 'now' WHERE id = 'c7'")
    app.run("DELETE FROM chat WHERE id = 'c8'")
    app.run("INSERT INTO chat (id, title) VALUES ('c900', 'new')")
    app.run("INSERT INTO tag (id, user_id, name) VALUES (NULL, 'u1', 'no key')")
    monkeypatch.setattr(CandidateSearch, "run", lambda *_: {})
    assert pair.synced().missed == 4
    found = {record: (source, target) for _, record, _, source, target, _, resolved in pair.conflicts() if resolved}
    assert set(found) == {'["c7"]', '["c8"]', '["c900"]', '[null,"u1"]'}
    changed, gone, new = found['["c7"]'], found['["c8"]'], found['["c900"]']
    assert (changed[0]["title"], changed[1]["title"]) == ("now", "title 7")
    assert (gone[0], gone[1]["title"]) == (None, "title 8")
    assert (new[0]["title"], new[1]) == ("new", None)


def test_rows_without_a_key_are_not_missed_where_nothing_of_them_changed(pair: Pair, app: Application) -> None:
    app.run("INSERT INTO tag (id, user_id, name) VALUES (NULL, 'u1', 'no key')")
    pair.options = Options(audit_every=0)
    pair.synced()
    app.run("UPDATE chat SET title = 'now' WHERE id = 'c7'")
    assert pair.synced().missed == 0
    app.run("UPDATE tag SET name = 'another' WHERE id IS NULL")
    app.run("INSERT INTO tag (id, user_id, name) VALUES (NULL, 'u2', 'one more')")
    assert pair.synced().missed == 0
    assert pair.conflicts() == []


def test_a_run_that_fails_leaves_a_failed_job_that_says_why(pair: Pair, app: Application) -> None:
    pair.synced()
    app.script("DROP TABLE tag; CREATE TABLE tag (id TEXT PRIMARY KEY, big TEXT);")
    app.many("INSERT INTO tag VALUES (?, '')", [(f"x{n}",) for n in range(1100)])
    pair.synced(confirmed=True)
    app.run("DELETE FROM tag")
    with pytest.raises(Blocked):
        pair.sync()
    assert pair.sql(JOBS)[-1] == ("failed", "incremental", "1100 of 1100 rows of tag are gone")
    pair.synced(confirmed=True)
    assert [status for status, _, _ in pair.sql(JOBS)] == ["success", "success", "failed", "success"]


def test_a_first_load_that_cannot_begin_leaves_a_failed_job(pair: Pair, tmp_path: Path) -> None:
    lost = pair.with_options(source=tmp_path / "nowhere.db")
    with pytest.raises(ClientManagerError):
        lost.sync()
    assert pair.sql(JOBS) == [("failed", "full", f"{tmp_path / 'nowhere.db'} does not exist")]


def test_an_error_that_is_not_ours_is_named_by_its_type_only(
    pair: Pair, app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.synced()
    app.run("UPDATE chat SET title = 'now' WHERE id = 'c7'")

    def broken(*_: object) -> None:
        raise KeyError("a tenant's words")

    monkeypatch.setattr(CandidateSearch, "run", broken)
    with pytest.raises(KeyError):
        pair.sync()
    assert pair.sql(JOBS)[-1] == ("failed", "incremental", "KeyError")
