"""The live screen in a real terminal, on a real database that also goes away, or hangs."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.e2e.terminal import CTRL_C, ESCAPE, Terminal
from tests.integration.registered import Registered, connected

pytestmark = pytest.mark.usefixtures("there")
CONSOLE = str(Path(sys.executable).with_name("client-manager"))
WATCH = [CONSOLE, "cluster", "watch", "prod", "--interval", "0.2"]


@pytest.fixture
def there(database_url: str) -> Iterator[Registered]:
    """A cluster with one client that is replicated and one job that failed."""
    with connected(database_url) as connection:
        written = Registered(connection)
        written.cluster("prod", leader="sync-node-a")
        written.client("acme", "prod", enabled=True, last_sync_status="success")
        written.job("acme", "failed")
        yield written


@pytest.fixture
def surroundings(database_url: str, tmp_path: Path) -> dict[str, str]:
    return {
        "CLIENT_MANAGER_DATABASE_URL": database_url,
        "CLIENT_MANAGER_DATA_ROOT": str(tmp_path / "root"),
        "CLIENT_MANAGER_STATE_DIR": str(tmp_path / "state"),
    }


@dataclass
class Door:
    """Whether the console may connect."""

    connection: Any
    name: str

    def shut(self) -> None:
        self._allow(sql.SQL("false"))
        self.connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [self.name]
        )

    def open(self) -> None:
        self._allow(sql.SQL("true"))

    def _allow(self, word: sql.SQL) -> None:
        self.connection.execute(
            sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(sql.Identifier(self.name), word)
        )


@pytest.fixture
def door(postgres: str, database_url: str, there: Registered) -> Iterator[Door]:
    """One that is open again at the end."""
    there.connection.close()  # it would be ended too
    with psycopg.connect(postgres, autocommit=True) as connection:
        door = Door(connection, database_url.rpartition("/")[2])
        yield door
        door.open()


def gone(terminal: Terminal, text: str) -> None:
    """Wait until a text stands on the screen no more."""
    while text in terminal.screen:
        terminal.wait_for("Leader", within_s=10)
        terminal.look()


@pytest.mark.parametrize("key", ["q", ESCAPE, CTRL_C], ids=["q", "esc", "ctrl_c"])
def test_watch_shows_the_cluster_and_leaves_for(surroundings: Mapping[str, str], key: str) -> None:
    with Terminal(WATCH, surroundings) as terminal:
        terminal.wait_for("acme", within_s=30)
        assert "Leader sync-node-a, term 7, lease" in terminal.screen
        assert len(terminal.screen.splitlines()) <= 24
        terminal.press("x", key)
        assert terminal.exit_code() == 0


def test_watch_follows_what_happens(there: Registered, surroundings: Mapping[str, str]) -> None:
    with Terminal(WATCH, surroundings) as terminal:
        terminal.wait_for("No job is under way.", within_s=30)
        there.job("acme", "running")
        terminal.wait_for("running")
        there.connection.execute("UPDATE sync_metadata.leader_election SET expires_at = clock_timestamp()")
        terminal.wait_for("NOBODY LEADS: the lease of sync-node-a ran out")
        terminal.press("q")
        assert terminal.exit_code() == 0


@pytest.mark.parametrize(
    "ink", [{"NO_COLOR": "1"}, {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}], ids=["grey", "ascii"]
)
def test_watch_needs_neither_colour_nor_unicode(surroundings: Mapping[str, str], ink: Mapping[str, str]) -> None:
    with Terminal(WATCH, {**surroundings, **ink}) as terminal:
        terminal.wait_for("acme", within_s=30)
        assert terminal.screen.isascii()
        if "NO_COLOR" in ink:
            assert not re.search(rb"\x1b\[[0-9;]*3[0-7]m", terminal.received)
        terminal.press("q")
        assert terminal.exit_code() == 0


def test_watch_on_a_dumb_terminal_prints_one_picture_below_the_other(surroundings: Mapping[str, str]) -> None:
    with Terminal(WATCH, {**surroundings, "TERM": "dumb"}) as terminal:
        terminal.wait_for("Ctrl-C: leave", within_s=30)
        terminal.wait_for("acme")
        assert b"\x1b[?1049h" not in terminal.received
        terminal.press(CTRL_C)
        assert terminal.exit_code() == 0


def test_watch_keeps_the_last_picture_while_the_database_is_away_and_goes_on_after(
    door: Door, surroundings: Mapping[str, str]
) -> None:
    with Terminal(WATCH, surroundings) as terminal:
        terminal.wait_for("acme", within_s=30)
        door.shut()
        terminal.wait_for("NO ANSWER since", within_s=20)
        terminal.wait_for("what follows is OLD")
        terminal.wait_for("acme")
        door.open()
        gone(terminal, "NO ANSWER")
        terminal.wait_for("acme")
        terminal.press("q")
        assert terminal.exit_code() == 0


def test_watch_before_the_database_is_there_says_so_and_begins_when_it_is(
    door: Door, surroundings: Mapping[str, str]
) -> None:
    door.shut()
    with Terminal(WATCH, surroundings) as terminal:
        terminal.wait_for("NO ANSWER since", within_s=30)
        terminal.wait_for("Asking the database...")
        door.open()
        terminal.wait_for("acme", within_s=20)


def test_watch_of_a_database_that_hangs_says_so_and_still_leaves_at_once(
    surroundings: Mapping[str, str], database_url: str
) -> None:
    with Terminal(WATCH, surroundings) as terminal:
        terminal.wait_for("acme", within_s=30)
        with psycopg.connect(database_url) as other:
            other.execute("LOCK TABLE sync_metadata.hosts IN ACCESS EXCLUSIVE MODE")
            terminal.wait_for("The database does not answer.", within_s=20)
            terminal.press("q")
            assert terminal.exit_code(within_s=10) == 0


def test_watch_whose_terminal_is_gone_is_no_bug(surroundings: Mapping[str, str], tmp_path: Path) -> None:
    with Terminal(WATCH, {**surroundings, "TMPDIR": str(tmp_path)}) as terminal:
        terminal.wait_for("acme", within_s=30)
    assert list(tmp_path.glob("client-manager-bug-*")) == []


def test_watch_as_json_prints_an_object_a_line_until_it_is_interrupted(surroundings: Mapping[str, str]) -> None:
    program = subprocess.Popen([*WATCH, "--json"], env=os.environ | surroundings, stdout=subprocess.PIPE)
    assert program.stdout
    with program.stdout:
        first, second = (json.loads(program.stdout.readline()) for _ in range(2))
        program.send_signal(signal.SIGINT)
        assert program.wait(10) == 0
    assert [first["state"]["name"], second["state"]["name"]] == ["prod", "prod"]
    assert first["problem"] is None
