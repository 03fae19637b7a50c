"""The demo where there is no Docker: it plays with processes, proves each act, and leaves nothing whatever happens."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator

import pytest

from tests.e2e.demo import NOWHERE, Ground, gone, ground, playing
from tests.e2e.terminal import ENTER, Terminal

pytestmark = pytest.mark.timeout(600)
PROVEN = (
    r"SQLite reads 48 tables with 1861 rows, 160 of them chats",
    r"PostgreSQL has the schema sync_metadata, and no cluster in it",
    r"both nodes run and say that they are well; by PostgreSQL sync-node-[ab] leads",
    r"48 tables, 1861 rows, in each table as many as in SQLite",
    r"demo: all 1861 rows are equal on both sides",
    r"'The second question' is in PostgreSQL, \d+\.\d\d s after it was written",
    r"sync-node-[ab] is dead, and sync-node-[ab] leads \d+\.\d\d s after the kill",
    r"'A question after the kill' is in PostgreSQL, \d+\.\d\d s after it was written",
    r"\(exit code 4\) Looked: nothing was done: demo is registered and enabled",
    r"both processes are gone; by PostgreSQL both have signed off, and nobody leads",
    r"no machine, node, client or lease of demo is recorded any more; the replica has its 1863 rows",
    r"demo is recorded in the cluster demo again, its sync disabled as it was",
)


def told(command: list[str], environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)


@pytest.fixture
def place() -> Iterator[Ground]:
    with ground() as made:
        yield made


@pytest.fixture
def used_place() -> Iterator[Ground]:
    """One whose folder above is there already."""
    with ground(was_there=True) as made:
        yield made


def test_every_act_is_proven_and_nothing_is_left(place: Ground) -> None:
    played = place.run("--yes", DOCKER_HOST=NOWHERE, within_s=300)

    said = " ".join(played.stdout.split())
    assert played.returncode == 0, played.stdout + played.stderr
    assert "Without Docker: Docker at unix:///nowhere/docker.sock cannot be reached." in said
    assert [proof for proof in PROVEN if not re.search(proof, said)] == []
    assert "no process and no file of the demo is left" in said
    place.assert_nothing_left()
    too_long = [line for line in played.stdout.splitlines() if len(line) > 80 and " " in line.strip(" \\")]
    assert too_long == []
    assert "\x1b" not in played.stdout


def test_kept_it_runs_on_and_is_removed_by_one_command(place: Ground) -> None:
    kept = place.run("--yes", "--keep", DOCKER_HOST=NOWHERE, within_s=300)
    assert kept.returncode == 0, kept.stdout + kept.stderr
    said = re.findall(r"^ +(unset|export) (\w+)=?(.*)$", kept.stdout, re.MULTILINE)
    assert said == [
        ("unset", "CLIENT_MANAGER_POSTGRES_DIR", ""),
        ("export", "CLIENT_MANAGER_CONFIG", f"{place.folder}/config.toml"),
    ]
    looking = place.environment(CLIENT_MANAGER_CONFIG=said[1][2])
    del looking["CLIENT_MANAGER_POSTGRES_DIR"]

    status = told([sys.executable, "-m", "client_manager", "sync", "status", "demo"], looking)
    assert status.returncode == 0, status.stderr
    assert sum("node run" in line for line in place.processes()) == 2

    assert '"listens": "127.0.0.1:' in (place.folder / "sync-node-a.log").read_text()

    again = place.run("--yes", DOCKER_HOST=NOWHERE)
    assert (again.returncode, "client-manager demo --remove" in again.stderr) == (6, True)
    assert sum("node run" in line for line in place.processes()) == 2

    with subprocess.Popen(["sleep", "600"], cwd=place.folder / "postgres") as somebody:  # who looks at its log
        removed = told([sys.executable, "-m", "client_manager", "demo", "--remove"], looking)
        assert removed.returncode == 0, removed.stderr
        assert somebody.poll() is None
        somebody.kill()
    place.assert_nothing_left()


def test_a_port_that_somebody_takes_is_said_and_all_is_removed(place: Ground) -> None:
    with playing(place, DOCKER_HOST=NOWHERE) as played, socket.socket() as taken:
        played.until(r"\n1\. ")
        port = tomllib.loads((place.folder / "config.toml").read_text())["node_ports"][1]
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert played.code() == 1

    assert "This does not hold: sync-node-b runs." in played.text
    assert "It has ended with 6." in played.text
    assert "Everything that the demo had made is removed." in played.text
    assert "All of it held" not in played.text
    place.assert_nothing_left()


def test_a_database_that_is_killed_ends_the_demo_and_all_is_removed(place: Ground) -> None:
    with playing(place, DOCKER_HOST=NOWHERE) as played:
        played.until(r"\n4\. ")
        pid = int((place.folder / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        assert played.code() not in {0, 70}

    assert "Everything that the demo had made is removed." in played.text
    assert "All of it held" not in played.text
    place.assert_nothing_left()


@pytest.mark.parametrize("act", ["2", "3"])
def test_ctrl_c_twice_removes_all_and_is_130(place: Ground, act: str) -> None:
    with playing(place, DOCKER_HOST=NOWHERE) as played:
        played.until(rf"\n{act}\. [^\n]*\n")
        played.signal(signal.SIGINT)
        played.signal(signal.SIGINT)
        assert played.code() == 130

    assert "Everything that the demo had made is removed." in played.text
    place.assert_nothing_left()


def test_killed_it_takes_its_nodes_along_and_the_rest_is_removed_by_one_command(used_place: Ground) -> None:
    place = used_place
    with playing(place, DOCKER_HOST=NOWHERE) as played:
        played.until(r"both nodes run")
        played.signal(signal.SIGKILL)
        played.code()
    assert gone(place, "node run")
    assert any("postgres" in line for line in place.processes())

    removed = place.run("--remove", DOCKER_HOST=NOWHERE)

    assert removed.returncode == 0, removed.stderr
    assert "Nothing of the demo is left." in removed.stdout
    place.assert_nothing_left()


def test_a_demo_that_plays_is_not_removed(place: Ground) -> None:
    with playing(place, DOCKER_HOST=NOWHERE) as played:
        played.until(r"\n2\. ")
        removed = place.run("--remove", DOCKER_HOST=NOWHERE)
        assert removed.returncode == 6
        assert (place.folder / "config.toml").exists()
        played.signal(signal.SIGTERM)
        assert played.code() == 130
        assert "Everything that the demo had made is removed." in " ".join(played.text.split()), played.text
    place.assert_nothing_left()


def test_what_makes_the_postgres_is_ended_with_the_demo(place: Ground) -> None:
    with playing(place, DOCKER_HOST=NOWHERE) as played:
        end = time.monotonic() + 240
        while not any(" --single " in line or " --boot " in line for line in place.processes()):
            assert time.monotonic() < end, played.text
        played.signal(signal.SIGTERM)
        assert played.code() == 130
        assert "Everything that the demo had made is removed." in " ".join(played.text.split()), played.text
    place.assert_nothing_left()


@pytest.mark.parametrize("option", ["--yes", "--remove"])
def test_a_strangers_folder_is_left_alone(used_place: Ground, option: str) -> None:
    place = used_place
    place.folder.mkdir()
    (place.folder / "letters").write_text("mine")
    try:
        refused = place.run(option, DOCKER_HOST=NOWHERE)
        assert (refused.returncode, (place.folder / "letters").read_text()) == (6, "mine")
        assert f"{place.folder} is there, and no demo has made it." in refused.stderr
    finally:
        (place.folder / "letters").unlink()
        place.folder.rmdir()


def test_without_a_terminal_it_wants_a_yes(place: Ground) -> None:
    asked = place.run(DOCKER_HOST=NOWHERE)
    assert (asked.returncode, "Add --yes" in asked.stderr) == (9, True)
    place.assert_nothing_left()


def test_in_a_terminal_it_says_what_it_will_do_and_asks(place: Ground) -> None:
    environment = place.environment(DOCKER_HOST=NOWHERE)
    with Terminal([sys.executable, "-m", "client_manager", "demo"], environment) as terminal:
        terminal.answer("Play it? (y/N)", "n", ENTER)
        assert terminal.exit_code() == 130
        assert f"is in {place.folder}." in terminal.screen
    place.assert_nothing_left()


def test_nothing_to_remove_is_no_error(place: Ground) -> None:
    removed = place.run("--remove", DOCKER_HOST=NOWHERE)
    assert (removed.returncode, removed.stdout) == (0, f"No demo is in {place.folder}.\n")
