"""Rows that somebody has changed in a replica: seen, decided, and carried out by the leader."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from client_manager.app import App
from client_manager.client_sync.conflicts import conflicts, decide, resolve, show
from client_manager.client_sync.strategies import set_strategies, strategies
from client_manager.client_sync.verify import queue_verification, verified, verify
from client_manager.errors import Blocked, Cancelled, ClientManagerError, Conflict, InvalidInput, NotFound
from client_manager.gateways.conflict_store import ConflictStore
from client_manager.gateways.database import Database
from client_manager.models.operation import JournalEntry, Progress
from client_manager.replication.engine import Engine
from client_manager.replication.trouble import Fenced
from client_manager.settings import Settings
from tests.node.machine import Machine, Node, running
from tests.node.nodes import add_host
from tests.replication.oracle import assert_equal
from tests.waiting import until

DEADLINE_S = 60


def quiet(_: Progress) -> None:
    pass


@pytest.fixture
def machine(database_url: str, tmp_path: Path) -> Iterator[Machine]:
    found = Machine(database_url, tmp_path / "openwebui", add_host(database_url))
    found.data_root.mkdir()
    yield found
    for client in found.clients.values():
        client.app.close()


@pytest.fixture
def app(settings: Settings, database_url: str) -> App:
    return App(settings.model_copy(update={"database_url": SecretStr(database_url)}))


@pytest.fixture
def node(machine: Machine) -> Iterator[Node]:
    """The leader; acme's chats c1 to c3 are replicated, differences wait for the operator."""
    machine.add("acme", interval_s=3600).write("c1", "c2", "c3")
    with running(Node(machine)) as found:
        found.lead(1)
        found.synced()
        until(lambda: not found.is_running("acme"))
        yield found


@pytest.fixture
def manual(app: App, node: Node) -> None:
    del node
    set_strategies(app, "acme", {"*": "manual"})


def title(machine: Machine, key: str) -> str | None:
    found = machine.sql("SELECT title FROM acme.chat WHERE id = %s", key)
    return str(found[0][0]) if found else None


def found_conflict(app: App, machine: Machine, statement: str) -> UUID:
    """Change the replica, let the leader notice, and return the conflict."""
    machine.sql(statement)
    assert verify(app, "acme", quiet, deadline_s=DEADLINE_S).conflicts >= 1
    [found] = conflicts(app, "acme")
    return found.log_id


def log(machine: Machine) -> list[Any]:
    return machine.sql(
        "SELECT resolution_strategy, resolved_by, resolved_at IS NOT NULL, resolution_notes, resolved_data"
        " FROM sync_metadata.conflict_log ORDER BY detected_at"
    )


def journal(app: App) -> list[tuple[str, str, str]]:
    lines = (JournalEntry.model_validate_json(line) for line in app.journal.path.read_bytes().splitlines())
    return [(entry.action, entry.subject, entry.outcome) for entry in lines]


EDIT = "UPDATE acme.chat SET title = 'theirs' WHERE id = 'c2'"


@pytest.mark.usefixtures("manual")
class TestDecided:
    def test_both_rows_are_seen_side_by_side(self, app: App, machine: Machine) -> None:
        log_id = found_conflict(app, machine, EDIT)

        seen = show(app, log_id)

        assert [(c.name, c.source, c.target, c.changed) for c in seen.columns] == [
            ("id", "c2", "c2", False),
            ("title", "a title", "theirs", True),
            ("chat", "{}", "{}", False),
            ("updated_at", "1", "1", False),
        ]
        assert (seen.changed, seen.in_source, seen.in_target, seen.ordered) == (("title",), True, True, False)
        assert (seen.conflict.table_name, seen.conflict.record_id) == ("chat", '["c2"]')

    def test_the_source_is_brought_over_by_the_leader(self, app: App, machine: Machine) -> None:
        log_id = found_conflict(app, machine, EDIT)
        generation = machine.generation("acme")

        done = resolve(app, log_id, "source", quiet, operator="ada", deadline_s=DEADLINE_S)

        assert done.settled
        assert title(machine, "c2") == "a title"
        machine.assert_equal("acme")
        assert machine.generation("acme") > generation
        [(strategy, by, is_resolved, notes, data)] = log(machine)
        assert (strategy, by, is_resolved, data["title"]) == ("source_wins", "ada", True, "a title")
        assert notes.endswith("decided for the source; the row of the source was brought over")
        assert done.job is not None
        assert machine.job(done.job) == ("success", None)
        assert journal(app)[-2:] == [("sync resolve", str(log_id), o) for o in ("started", "completed")]
        assert conflicts(app, "acme") == ()

    def test_the_source_is_brought_over_as_it_is_by_then(self, app: App, machine: Machine) -> None:
        log_id = found_conflict(app, machine, "UPDATE acme.chat SET title = 'theirs', updated_at = 9 WHERE id = 'c2'")
        machine.clients["acme"].write("c2", title="newer")

        assert resolve(app, log_id, "source", quiet, operator="ada", deadline_s=DEADLINE_S).settled

        assert title(machine, "c2") == "newer"
        machine.assert_equal("acme")
        assert [row[:3] for row in log(machine)] == [("source_wins", "ada", True)]

    def test_the_target_stands_and_counts_as_equal_until_something_changes(self, app: App, machine: Machine) -> None:
        log_id = found_conflict(app, machine, EDIT)

        done = resolve(app, log_id, "target", quiet, operator="ada")

        assert (done.settled, done.job) == (True, None)
        machine.sql("UPDATE sync_metadata.replication_state SET verified_at = NULL")
        again = verify(app, "acme", quiet, deadline_s=DEADLINE_S)
        assert (title(machine, "c2"), again.verified_at is not None) == ("theirs", True)
        [(strategy, by, is_resolved, _, data)] = log(machine)
        assert (strategy, by, is_resolved, data["title"]) == ("target_wins", "ada", True, "theirs")

        other = found_conflict(app, machine, "UPDATE acme.chat SET title = 'again' WHERE id = 'c2'")
        assert other != log_id
        assert title(machine, "c2") == "again"

    def test_a_row_that_stands_survives_the_loss_of_the_baseline(self, app: App, machine: Machine, node: Node) -> None:
        log_id = found_conflict(app, machine, EDIT)
        resolve(app, log_id, "target", quiet)
        waiting = found_conflict(app, machine, "UPDATE acme.chat SET title = 'open' WHERE id = 'c1'")
        machine.sql("UPDATE acme.chat SET title = 'nobody has seen this' WHERE id = 'c3'")
        node.lose()
        until(lambda: node.scheduler.snapshot().term is None)
        [stamp] = (machine.data_root / ".client-manager").rglob("shadow.json")
        stamp.unlink()
        machine.clients["acme"].write("c4")
        node.lead(2)
        machine.enqueue("acme")
        until(lambda: title(machine, "c4"))

        assert [title(machine, key) for key in ("c1", "c2", "c3")] == ["open", "theirs", "a title"]
        resolve(app, waiting, "source", quiet, deadline_s=DEADLINE_S)
        assert [title(machine, key) for key in ("c1", "c2", "c3")] == ["a title", "theirs", "a title"]

    @pytest.mark.parametrize("keep", ["source", "target"])
    @pytest.mark.parametrize(
        ("edit", "there"),
        [
            ("DELETE FROM acme.chat WHERE id = 'c2'", (True, False)),
            ("INSERT INTO acme.chat VALUES ('c2b', 'theirs', '{}', 2)", (False, True)),
        ],
    )
    def test_rows_of_one_side_only(
        self, app: App, machine: Machine, keep: Any, edit: str, there: tuple[bool, bool]
    ) -> None:
        log_id = found_conflict(app, machine, edit)
        seen = show(app, log_id)
        assert (seen.in_source, seen.in_target, len(seen.changed)) == (*there, 4)

        resolve(app, log_id, keep, quiet, deadline_s=DEADLINE_S)

        if keep == "source":
            machine.assert_equal("acme")
        assert verify(app, "acme", quiet, deadline_s=DEADLINE_S).verified_at is not None
        assert conflicts(app, "acme") == ()
        present = machine.sql("SELECT count(*) FROM acme.chat")[0][0]
        assert (
            present
            == {("source", True): 3, ("source", False): 3, ("target", True): 2, ("target", False): 4}[keep, there[0]]
        )

    def test_what_is_resolved_or_unknown_is_refused(self, app: App, machine: Machine) -> None:
        log_id = found_conflict(app, machine, EDIT)
        resolve(app, log_id, "target", quiet, operator="ada")
        for keep in ("source", "target"):
            with pytest.raises(Conflict, match="resolved already") as refused:
                resolve(app, log_id, keep, quiet)
            assert "ada settled it" in refused.value.why
        with pytest.raises(NotFound, match="There is no conflict"):
            resolve(app, uuid4(), "source", quiet)
        with pytest.raises(NotFound):
            show(app, uuid4())
        with pytest.raises(InvalidInput, match="no side"):
            resolve(app, log_id, "both", quiet)  # type: ignore[arg-type]  # the point
        assert title(machine, "c2") == "theirs"

    def test_without_a_leader_for_the_client_nothing_is_decided(self, app: App, machine: Machine, node: Node) -> None:
        log_id = found_conflict(app, machine, EDIT)
        machine.set("acme", "sync_enabled", False)  # noqa: FBT003
        until(lambda: node.scheduler.snapshot().clients == ())
        with pytest.raises(Blocked, match="not enabled"):
            resolve(app, log_id, "source", quiet)
        assert log(machine)[0][:3] == ("manual", None, False)
        assert machine.jobs("acme")[-1][0] != "queued"
        resolve(app, log_id, "target", quiet)

    def test_a_decision_waits_for_a_leader_and_may_be_taken_back(self, app: App, machine: Machine, node: Node) -> None:
        log_id = found_conflict(app, machine, EDIT)
        node.lose()
        until(lambda: node.scheduler.snapshot().term is None)
        with pytest.raises(ClientManagerError, match="not over after"):
            resolve(app, log_id, "source", quiet, deadline_s=0.3)
        assert show(app, log_id).ordered
        assert [conflict.log_id for conflict in conflicts(app, "acme")] == [log_id]
        assert decide(app, log_id, "source").job is not None
        assert title(machine, "c2") == "theirs"

        resolve(app, log_id, "target", quiet)
        node.lead(2)
        until(lambda: machine.jobs("acme").count(("success", "verify")) == 2)
        assert title(machine, "c2") == "theirs"

    def test_a_deposed_leader_does_not_carry_it_out(self, app: App, machine: Machine, node: Node) -> None:
        log_id = found_conflict(app, machine, EDIT)
        node.lose()
        until(lambda: node.scheduler.snapshot().term is None)
        decide(app, log_id, "source")
        machine.fence(5)
        [folder] = (machine.data_root / ".client-manager").rglob("shadow.db")
        database = Database(SecretStr(machine.url))
        source = machine.clients["acme"].path
        with (
            Engine(source, "acme", database=database, state_dir=folder.parent) as engine,
            pytest.raises(Fenced),
        ):
            engine.verify(term=4)
        assert title(machine, "c2") == "theirs"
        assert show(app, log_id).ordered

    def test_a_comparison_that_ends_without_the_row_is_no_success(
        self, app: App, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        log_id = found_conflict(app, machine, EDIT)
        monkeypatch.setattr(ConflictStore, "decide_for_source", lambda *_: None)  # the decision is lost
        with pytest.raises(ClientManagerError, match="was not brought over"):
            resolve(app, log_id, "source", quiet, deadline_s=DEADLINE_S)
        assert title(machine, "c2") == "theirs"

    def test_what_has_become_equal_by_itself_is_closed(self, app: App, machine: Machine) -> None:
        log_id = found_conflict(app, machine, EDIT)
        machine.sql("UPDATE acme.chat SET title = 'a title' WHERE id = 'c2'")
        verify(app, "acme", quiet, deadline_s=DEADLINE_S)
        seen = show(app, log_id).conflict
        assert (seen.resolved_by, seen.resolution_strategy) == ("replication", "manual")
        assert str(seen.resolution_notes).endswith("both sides are equal meanwhile")

    def test_an_open_conflict_stays_open_beside_others_that_are_settled(self, app: App, machine: Machine) -> None:
        first = found_conflict(app, machine, EDIT)
        machine.sql("UPDATE acme.chat SET title = 'x' WHERE id = 'c1'")
        verify(app, "acme", quiet, deadline_s=DEADLINE_S)
        [second] = [one.log_id for one in conflicts(app, "acme") if one.log_id != first]
        resolve(app, second, "source", quiet, deadline_s=DEADLINE_S)
        assert [one.log_id for one in conflicts(app, "acme")] == [first]
        assert (title(machine, "c1"), title(machine, "c2")) == ("a title", "theirs")


class TestVerify:
    def test_it_says_what_it_found_and_did(self, app: App, machine: Machine, node: Node) -> None:
        del node
        machine.clients["acme"].write(*(f"n{n}" for n in range(30)))
        machine.sql("UPDATE acme.chat SET title = 'theirs', updated_at = 5 WHERE id = 'c2'")
        machine.sql("INSERT INTO acme.chat SELECT 'e' || n, 't', '{}', 1 FROM generate_series(1, 25) n")

        found = verify(app, "acme", quiet, deadline_s=DEADLINE_S)

        machine.assert_equal("acme")
        assert (found.conflicts, found.settled, found.rows, len(found.first)) == (26, 26, 34, 20)
        assert {(one.table, one.key, one.column, one.kind) for one in found.first} <= {
            ("chat", '["c2"]', "title, updated_at", "changed"),
            *(("chat", f'["e{n}"]', None, "extra") for n in range(1, 26)),
        }
        assert found.verified_at is not None
        assert machine.sql(
            "SELECT table_name, status FROM sync_metadata.sync_progress WHERE job_id = %s", found.job.job_id
        )
        assert machine.job(found.job.job_id) == ("success", None)

    def test_one_that_finds_nothing(self, app: App, node: Node) -> None:
        del node
        found = verify(app, "acme", quiet, deadline_s=DEADLINE_S)
        assert (found.conflicts, found.first, found.rows) == (0, (), 4)

    def test_a_replica_that_is_gone_is_loaded_within_the_job(self, app: App, machine: Machine, node: Node) -> None:
        del node
        machine.sql("DROP SCHEMA acme CASCADE")
        found = verify(app, "acme", quiet, deadline_s=DEADLINE_S)
        machine.assert_equal("acme")
        assert found.job.status == "success"

    def test_one_that_fails_or_is_cancelled_says_why(self, app: App, machine: Machine, node: Node) -> None:
        machine.clients["acme"].app.close()
        for suffix in ("", "-wal", "-shm"):
            Path(f"{machine.clients['acme'].path}{suffix}").unlink(missing_ok=True)
        with pytest.raises(ClientManagerError, match="has not ended well") as failed:
            verify(app, "acme", quiet, deadline_s=DEADLINE_S)
        assert "missing" in failed.value.why
        node.lose()
        until(lambda: node.scheduler.snapshot().term is None)
        job = queue_verification(app, "acme")
        assert queue_verification(app, "acme") == job
        with app.sync_store() as store:
            store.cancel(operator="ada", job_id=job)
        with pytest.raises(Cancelled) as cancelled:
            verified(app, job)
        assert "ada" in cancelled.value.why

    def test_who_cannot_be_verified(self, app: App, machine: Machine, node: Node) -> None:
        del node
        with pytest.raises(NotFound):
            verify(app, "nobody", quiet)
        machine.set("acme", "status", "paused")
        with pytest.raises(Blocked, match="not enabled"):
            verify(app, "acme", quiet)
        with pytest.raises(NotFound, match="no comparison"):
            verified(app, uuid4())
        [(job,)] = machine.sql("SELECT job_id FROM sync_metadata.sync_jobs WHERE sync_type = 'full'")
        with pytest.raises(NotFound, match="no comparison"):
            verified(app, job)


class TestStrategies:
    def test_they_count_from_the_next_comparison_on(self, app: App, machine: Machine, node: Node) -> None:
        del node
        set_strategies(app, "acme", {"*": "manual", "chat": "target_wins"})
        assert set_strategies(app, "acme", {"config": "source_wins", "*": None}).strategies == {
            "chat": "target_wins",
            "config": "source_wins",
        }
        assert strategies(app, "acme").tables == ("chat", "config")
        machine.sql(EDIT)
        machine.sql("""UPDATE acme.config SET value = '"theirs"'""")
        verify(app, "acme", quiet, deadline_s=DEADLINE_S)
        assert title(machine, "c2") == "theirs"
        assert machine.sql("SELECT value::text FROM acme.config") == [('"acme"',)]

        set_strategies(app, "acme", {"chat": None})
        verify(app, "acme", quiet, deadline_s=DEADLINE_S)
        assert title(machine, "c2") == "a title"
        assert_equal(machine.clients["acme"].path, machine.url, "acme")
        assert journal(app).count(("sync strategies", "acme", "completed")) == 3

    def test_what_does_not_exist_is_refused_and_changes_nothing(self, app: App, node: Node) -> None:
        del node
        before = set_strategies(app, "acme", {"chat": "manual"})
        for changes in ({"chat": "merge"}, {"nothing": "manual"}, {"config": "manual", "chta": "manual"}, {"x": None}):
            with pytest.raises(InvalidInput):
                set_strategies(app, "acme", changes)
        assert strategies(app, "acme") == before
        with pytest.raises(NotFound, match="no replica yet"):
            strategies(app, "nobody")
        assert journal(app)[-1] == ("sync strategies", "acme", "failed")
