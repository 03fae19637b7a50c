"""Locks: one at a time, whoever waits learns who it is, and a crash leaves none behind."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from client_manager.errors import Blocked, Conflict
from client_manager.gateways import lock

_HOLD = """
import sys
from pathlib import Path
from client_manager.gateways import lock
with lock.held(Path(sys.argv[1]), "acme", "change settings"):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the lock ``acme`` until it is told to go on."""
    environment = {**os.environ, "SUDO_USER": "ada", "SSH_CONNECTION": "192.0.2.7 50000 192.0.2.1 22"}
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_lock_of_another_process_is_refused_and_its_holder_named(
    tmp_path: Path, other: "subprocess.Popen[str]"
) -> None:
    with pytest.raises(Conflict, match="at work on acme") as caught, lock.held(tmp_path, "acme", "remove"):
        pytest.fail("two hold the lock")

    assert f"change settings by ada from 192.0.2.7, process {other.pid}, since 20" in caught.value.why


def test_lock_is_free_when_its_holder_was_killed(tmp_path: Path, other: "subprocess.Popen[str]") -> None:
    other.kill()
    other.wait()

    with lock.held(tmp_path, "acme", "remove"):
        assert lock.is_held(tmp_path, "acme")


def test_lock_is_free_when_its_holder_has_finished(tmp_path: Path, other: "subprocess.Popen[str]") -> None:
    other.communicate("\n")

    assert other.returncode == 0
    assert not lock.is_held(tmp_path, "acme")


def test_lock_of_another_name_is_not_held(tmp_path: Path, other: "subprocess.Popen[str]") -> None:
    del other

    with lock.held(tmp_path, "beta", "remove"):
        assert lock.is_held(tmp_path, "beta")


def test_is_held_sees_another_process(tmp_path: Path, other: "subprocess.Popen[str]") -> None:
    assert lock.is_held(tmp_path, "acme")
    other.kill()
    other.wait()
    assert not lock.is_held(tmp_path, "acme")


def test_is_held_makes_no_file(tmp_path: Path) -> None:
    assert not lock.is_held(tmp_path / "locks", "acme")
    assert list(tmp_path.iterdir()) == []


def test_lock_is_refused_to_its_own_process_too(tmp_path: Path) -> None:
    with lock.held(tmp_path, "acme", "one"), pytest.raises(Conflict), lock.held(tmp_path, "acme", "two"):
        pytest.fail("two hold the lock")


def test_lock_is_free_after_its_body_failed(tmp_path: Path) -> None:
    with pytest.raises(Blocked), lock.held(tmp_path, "acme", "one"):
        raise Blocked("x")

    assert not lock.is_held(tmp_path, "acme")


def test_holder_that_left_its_name_behind_is_not_named_for_the_next(tmp_path: Path) -> None:
    with pytest.raises(Blocked), lock.held(tmp_path, "acme", "a long action that failed"):
        raise Blocked("x")

    with (
        lock.held(tmp_path, "acme", "two"),
        pytest.raises(Conflict) as caught,
        lock.held(tmp_path, "acme", "three"),
    ):
        pytest.fail("two hold the lock")
    assert caught.value.why.startswith("two by ")
