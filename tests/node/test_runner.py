"""One client of a node: where its database may be, which folder its baseline is in, and how one run of it ends."""

import fcntl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr

from client_manager.errors import Blocked, Cancelled, ClientManagerError
from client_manager.gateways.database import Database
from client_manager.node import folders
from client_manager.node.runner import Ended, Order, Runner
from client_manager.replication.steps import uninterrupted
from client_manager.replication.trouble import Fenced
from tests.node.machine import Machine, Node
from tests.node.nodes import add_host

HOLD = """
import fcntl, sys
file = open(sys.argv[1], "a+")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held_by_another(folder: Path) -> Iterator[None]:
    """Another process has the folder, as a frozen leader has."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder / "client.lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout
    assert process.stdin
    assert process.stdout.readline() == b"held\n"
    try:
        yield
    finally:
        process.stdin.close()
        assert process.wait(10) == 0
        process.stdout.close()


@pytest.fixture
def machine(database_url: str, tmp_path: Path) -> Iterator[Machine]:
    found = Machine(database_url, tmp_path / "openwebui", add_host(database_url))
    found.data_root.mkdir()
    yield found
    for client in found.clients.values():
        client.app.close()


@pytest.fixture
def make_runner(machine: Machine) -> Iterator[Callable[..., Runner]]:
    made: list[Runner] = []

    def make(client: str = "acme", **config: object) -> Runner:
        node = Node(machine)
        made.append(Runner(node.identity, Database(SecretStr(machine.url)), client, config))
        return made[-1]

    yield make
    for runner in made:
        runner.close()


def order(term: int = 1, interrupt: Callable[[], None] = uninterrupted, **options: Any) -> Order:
    return Order(term, interrupt, **options)


def level(ended: Ended) -> object:
    return ended.figures["level"]


# ---------------------------------------------------------------------------------------------- where the database is


def test_a_client_s_database_is_in_its_folder_unless_it_is_said_otherwise(
    machine: Machine, make_runner: Callable[..., Runner]
) -> None:
    assert make_runner().source() == machine.data_root / "acme" / "data" / "webui.db"
    other = machine.data_root / "acme" / "elsewhere" / "my.db"
    assert make_runner(sqlite_path=str(other)).source() == other


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "{root}",
        "{root}/../secret.db",
        "{root}/acme/../beta/data/webui.db",
        "{root}/acme/data/../../beta/data/webui.db",
        "{root}-else/webui.db",
        "webui.db",
        "",
        "{root}/.client-manager/journal.jsonl",
    ],
)
def test_a_path_that_is_not_the_client_s_is_refused(
    machine: Machine, make_runner: Callable[..., Runner], path: str
) -> None:
    runner = make_runner(sqlite_path=path.replace("{root}", str(machine.data_root)))
    with pytest.raises(Blocked) as refused:
        runner.source()
    assert refused.value.why
    assert refused.value.hint


@pytest.mark.parametrize("link", ["webui.db", "webui.db-wal", "webui.db-shm", "folder"])
def test_a_link_that_leaves_the_client_s_folder_is_refused(
    machine: Machine, make_runner: Callable[..., Runner], link: str
) -> None:
    """The tenant can make one: what it leads to would become the tenant's replica."""
    others = machine.add("beta")
    data = machine.data_root / "acme" / "data"
    if link == "folder":
        data.parent.mkdir()
        data.symlink_to(others.path.parent)
    else:
        data.mkdir(parents=True)
        (data / link).symlink_to(others.path.with_name(link))
    ended = make_runner().carry_out(order())
    assert (ended.outcome, ended.again, ended.error_type) == ("failed", False, "Blocked")
    assert str(others.path.parent) in ended.problem
    assert machine.generation("acme") == 0


def test_a_link_within_the_client_s_folder_is_followed(machine: Machine, make_runner: Callable[..., Runner]) -> None:
    acme = machine.add("acme")
    link = machine.data_root / "acme" / "link.db"
    link.symlink_to(acme.path)
    assert make_runner(sqlite_path=str(link)).source() == link


def test_a_link_made_during_the_run_is_refused_before_it_takes_effect(
    machine: Machine, make_runner: Callable[..., Runner]
) -> None:
    acme, beta = machine.add("acme"), machine.add("beta")
    asked: list[int] = []

    def swap() -> None:
        asked.append(1)
        if len(asked) == 3:
            acme.path.unlink()
            acme.path.symlink_to(beta.path)

    ended = make_runner().carry_out(order(interrupt=swap))
    assert (ended.outcome, ended.error_type) == ("failed", "Blocked")
    assert machine.generation("acme") == 0


# ---------------------------------------------------------------------------------------------- the baseline's folder


def test_the_newest_folder_is_used_and_older_ones_are_cleared_away(tmp_path: Path) -> None:
    assert folders.newest(tmp_path / "none") is None
    assert folders.choose(tmp_path) == tmp_path / "1"
    for number in ("2", "10", "9"):
        (tmp_path / number).mkdir()
    (tmp_path / "notes").mkdir()
    assert folders.newest(tmp_path) == tmp_path / "10"
    assert folders.choose(tmp_path) == tmp_path / "10"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["10", "notes"]


def test_a_folder_that_another_process_holds_is_left_to_it(tmp_path: Path) -> None:
    first = folders.choose(tmp_path)
    with held_by_another(first):
        second = folders.choose(tmp_path, patience_s=0.1)
        assert second == tmp_path / "2"
        assert folders.choose(tmp_path, patience_s=0.1) == second
        assert first.exists()
    assert folders.choose(tmp_path) == second
    assert not first.exists()


def test_a_lock_that_is_soon_let_go_is_waited_for(tmp_path: Path) -> None:
    first = folders.choose(tmp_path)
    with (first / "client.lock").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        looks: list[float] = []
        with pytest.MonkeyPatch.context() as patch:

            def look(seconds: float) -> None:
                looks.append(seconds)
                if len(looks) == 3:
                    fcntl.flock(file, fcntl.LOCK_UN)

            patch.setattr("client_manager.node.folders.time.sleep", look)
            assert folders.choose(tmp_path) == first
    assert len(looks) == 3


def test_a_successor_of_a_frozen_leader_begins_anew_beside_it(
    machine: Machine, make_runner: Callable[..., Runner]
) -> None:
    acme = machine.add("acme")
    acme.write("c1")
    runner = make_runner()
    assert level(runner.carry_out(order())) == "full"
    state = runner.identity.client_state("acme")
    acme.write("c2")
    with held_by_another(state / "1"):
        assert level(runner.carry_out(order())) == "reconcile"
        machine.assert_equal("acme")
        acme.write("c3")
        assert level(runner.carry_out(order())) == "pages"
        machine.assert_equal("acme")
    acme.write("c4")
    assert level(runner.carry_out(order())) == "pages"
    machine.assert_equal("acme")
    assert [path.name for path in state.iterdir()] == ["2"]


# --------------------------------------------------------------------------------------------------------- how it ends


def test_what_stands_where_and_what_is_idle(machine: Machine, make_runner: Callable[..., Runner]) -> None:
    acme = machine.add("acme")
    runner = make_runner()
    assert not runner.stands_at(0, None)
    assert not runner.is_idle()
    assert runner.carry_out(order()).outcome == "success"
    [(token,)] = machine.sql("SELECT mark ->> 'token' FROM sync_metadata.replication_state")
    assert runner.stands_at(1, token)
    assert not runner.stands_at(2, token)
    assert not runner.stands_at(1, "another")
    assert runner.is_idle()
    acme.write("c1")
    assert not runner.is_idle()


@pytest.mark.parametrize(
    ("raised", "outcome"),
    [
        (Cancelled("Cancelled by the operator."), "cancelled"),
        (Fenced("This node leads no more."), "fenced"),
        (Blocked("No."), "failed"),
        (KeyError("a tenant's words"), "failed"),
        (OSError(5, "a path"), "failed"),
    ],
)
def test_what_interrupts_a_run_is_its_end(
    machine: Machine, make_runner: Callable[..., Runner], raised: Exception, outcome: str
) -> None:
    machine.add("acme")

    def interrupt() -> None:
        raise raised

    ended = make_runner().carry_out(order(interrupt=interrupt))
    assert (ended.outcome, ended.again, ended.error_type) == (outcome, False, type(raised).__name__)
    assert "tenant" not in ended.problem
    assert machine.generation("acme") == 0


def test_a_newer_term_has_the_client(machine: Machine, make_runner: Callable[..., Runner]) -> None:
    """This node leads yet, as far as it knows: it says so, and tries again."""
    machine.add("acme")
    machine.fence(7)
    ended = make_runner().carry_out(order(term=6))
    assert (ended.outcome, ended.again, ended.error_type) == ("failed", True, "Fenced")
    assert machine.generation("acme") == 0


def test_a_job_that_waits_no_more_is_not_worked_off(machine: Machine, make_runner: Callable[..., Runner]) -> None:
    machine.add("acme")
    assert make_runner().carry_out(order(job_id=uuid4())).outcome == "skipped"
    assert machine.generation("acme") == 0


def test_a_job_that_another_leader_would_have_to_take_is_left_alone(
    machine: Machine, make_runner: Callable[..., Runner]
) -> None:
    machine.add("acme")
    job = machine.enqueue("acme")
    Node(machine, "sync-node-b").lead(9)
    assert make_runner().carry_out(order(term=8, job_id=job)).outcome == "skipped"
    assert machine.job(job) == ("queued", None)


def test_a_job_whose_run_cannot_begin_is_ended_and_says_why(machine: Machine) -> None:
    node = Node(machine)
    machine.register("lost", config={"sqlite_path": "/etc/passwd"})
    node.lead(3)
    job = machine.enqueue("lost")
    runner = Runner(node.identity, Database(SecretStr(machine.url)), "lost", {"sqlite_path": "/etc/passwd"})
    ended = runner.carry_out(order(term=3, job_id=job))
    assert (ended.outcome, ended.left_open) == ("failed", False)
    status, error = machine.job(job)
    assert status == "failed"
    assert "not inside" in str(error)


def test_a_disk_that_refuses_is_said_in_words(machine: Machine, make_runner: Callable[..., Runner]) -> None:
    machine.add("acme")
    runner = make_runner()
    state = runner.identity.client_state("acme")
    state.parent.mkdir(parents=True)
    state.write_text("a file where the folder should be")
    ended = runner.carry_out(order())
    assert (ended.outcome, ended.error_type) == ("failed", ClientManagerError.__name__)
    assert str(state) in ended.problem


def test_a_verification_heals_under_the_leaders_term(machine: Machine, make_runner: Callable[..., Runner]) -> None:
    machine.add("acme").write("c1")
    runner = make_runner()
    runner.carry_out(order(term=4))
    machine.sql("DELETE FROM acme.chat")
    ended = runner.carry_out(order(term=4, kind="verify"))
    assert (ended.outcome, ended.figures["healed"]) == ("success", 1)
    machine.assert_equal("acme")
    machine.fence(5)
    machine.sql("DELETE FROM acme.chat")
    late = runner.carry_out(order(term=4, kind="verify"))
    assert (late.outcome, late.error_type) == ("failed", "Fenced")
    assert not machine.is_equal("acme")
