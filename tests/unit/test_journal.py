"""The journal: nothing that was done is lost, and nobody changes it unnoticed."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from client_manager.errors import Blocked, Cancelled, Undone
from client_manager.gateways.journal import Journal

_APPEND = """
import sys
from pathlib import Path
from client_manager.gateways.journal import Journal
journal = Journal(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for number in range(40):
    with journal.action("test", f"{sys.argv[2]}-{number}", {}):
        pass
"""


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "state")


def _fill(journal: Journal, actions: int = 3) -> None:
    for number in range(actions):
        with journal.action("client set", f"client{number}", {"fields": "port"}):
            pass


def _lines(journal: Journal) -> list[bytes]:
    return journal.path.read_bytes().splitlines()


def _entries(journal: Journal) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _lines(journal)]


def test_action_is_written_before_it_begins_and_after_it_ends(journal: Journal) -> None:
    with journal.action("client set", "acme", {"fields": "port"}):
        before = [entry["outcome"] for entry in _entries(journal)]

    assert before == ["started"]
    assert [entry["outcome"] for entry in _entries(journal)] == ["started", "completed"]
    assert _entries(journal)[1]["arguments"] == {"fields": "port"}


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Undone("x failed"), "undone"),
        (Cancelled("x failed"), "cancelled"),
        (KeyboardInterrupt("x failed"), "cancelled"),
        (Blocked("x failed"), "failed"),
        (RuntimeError("x failed"), "failed"),
        (SystemExit("x failed"), "failed"),
    ],
)
def test_action_that_fails_is_written_with_its_outcome(journal: Journal, error: BaseException, outcome: str) -> None:
    with pytest.raises(type(error)), journal.action("client set", "acme", {}):
        raise error

    assert (_entries(journal)[1]["outcome"], _entries(journal)[1]["detail"]) == (outcome, "x failed")


def test_operator_and_where_from_are_written(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "ada")
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.7 50000 192.0.2.1 22")
    _fill(journal, 1)

    assert _entries(journal)[0]["operator"] == "ada from 192.0.2.7"


def test_each_line_carries_the_hash_of_the_line_before(journal: Journal) -> None:
    _fill(journal)
    lines = _lines(journal)

    expected = ["0" * 64, *(hashlib.sha256(line).hexdigest() for line in lines[:-1])]
    assert [json.loads(line)["previous"] for line in lines] == expected
    assert journal.broken_at() is None


def test_journal_that_was_never_written_is_whole(journal: Journal) -> None:
    assert journal.broken_at() is None


def test_journal_is_for_its_owner_only(journal: Journal) -> None:
    _fill(journal, 1)

    assert journal.path.stat().st_mode & 0o777 == 0o600


def test_line_that_was_edited_is_noticed(journal: Journal) -> None:
    _fill(journal)
    lines = _lines(journal)
    lines[2] = lines[2].replace(b"client1", b"client9")
    journal.path.write_bytes(b"\n".join(lines) + b"\n")

    assert journal.broken_at() == 4


@pytest.mark.parametrize("number", [1, 3, 5])
def test_line_that_was_removed_is_noticed(journal: Journal, number: int) -> None:
    _fill(journal)
    lines = _lines(journal)
    del lines[number - 1]
    journal.path.write_bytes(b"\n".join(lines) + b"\n")

    assert journal.broken_at() == number


def test_lines_that_were_swapped_are_noticed(journal: Journal) -> None:
    _fill(journal)
    lines = _lines(journal)
    lines[2], lines[3] = lines[3], lines[2]
    journal.path.write_bytes(b"\n".join(lines) + b"\n")

    assert journal.broken_at() == 3


def test_line_that_was_written_in_between_is_noticed(journal: Journal) -> None:
    _fill(journal)
    lines = _lines(journal)
    journal.path.write_bytes(b"\n".join([*lines[:2], lines[1], *lines[2:]]) + b"\n")

    assert journal.broken_at() == 3


def test_line_that_a_power_cut_tore_is_noticed(journal: Journal) -> None:
    _fill(journal)
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole[:-30])

    assert journal.broken_at() == 6


def test_journal_goes_on_after_a_torn_line(journal: Journal) -> None:
    _fill(journal)
    journal.path.write_bytes(journal.path.read_bytes()[:-30])

    _fill(journal, 1)

    assert [json.loads(line)["outcome"] for line in _lines(journal)[6:]] == ["started", "completed"]
    assert journal.broken_at() == 6


def test_chain_goes_on_after_a_very_long_line(journal: Journal) -> None:
    with pytest.raises(RuntimeError), journal.action("client set", "acme", {}):
        raise RuntimeError("x" * 200_000)
    _fill(journal, 1)

    assert journal.broken_at() is None


def test_argument_that_looks_like_a_hash_does_not_pass_for_one(journal: Journal) -> None:
    _fill(journal, 1)
    expected = hashlib.sha256(_lines(journal)[-1]).hexdigest()
    forged = json.dumps({"arguments": {"x": f'"previous":"{expected}"'}, "previous": "0" * 64})
    journal.path.write_bytes(journal.path.read_bytes() + forged.encode() + b"\n")

    assert journal.broken_at() == 3


def test_two_processes_at_once_keep_the_chain(journal: Journal) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _APPEND, str(journal.path.parent), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two")
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=30)

    subjects = [entry["subject"].split("-")[0] for entry in _entries(journal)]
    assert [process.returncode for process in processes] == [0, 0]
    assert (subjects.count("one"), subjects.count("two")) == (80, 80)
    assert journal.broken_at() is None
