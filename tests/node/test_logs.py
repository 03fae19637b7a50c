"""The node's lines: always JSON, always with what the node is, never with a secret."""

import io
import json
import logging
import uuid
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client_manager.node import logs
from client_manager.node.secret_values import SecretValues
from client_manager.node.watched_file import WatchedFile

PASSWORD, WRITTEN, TOKEN = 'pa"ss/w\\ord', "pa%22ss%2Fw%5Cord", "a-token-of-the-tests"
URL = f"postgresql://node:{WRITTEN}@db.example:5432/sync"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root, before = logging.getLogger(), (logging.getLogger().handlers[:], logging.getLogger().level)
    yield io.StringIO()
    root.handlers[:], level = before
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    logging.getLogger("client_manager").setLevel(logging.NOTSET)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "url").write_text(f"{URL}\n")
    return tmp_path


@pytest.fixture
def lines(files: Path, stream: io.StringIO) -> io.StringIO:
    secrets = SecretValues(WatchedFile(files / "token"), WatchedFile(files / "url"))
    logs.set_up(secrets, lambda: {"node": "sync-node-a", "cluster": "prod", "term": 7}, stream)
    return stream


def written(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_says_when_what_and_where(lines: io.StringIO) -> None:
    job = uuid.uuid4()
    logs.tell(
        "job_ended", {"client": "acme", "job_id": job, "seconds": 1.23456789, "at": datetime(2026, 1, 2, tzinfo=UTC)}
    )
    [line] = written(lines)
    at = datetime.fromisoformat(line.pop("ts"))
    assert (at.utcoffset(), abs((datetime.now(UTC) - at).total_seconds()) < 5) == (UTC.utcoffset(None), True)
    assert line == {
        "level": "info", "event": "job_ended", "node": "sync-node-a", "cluster": "prod", "term": 7, "client": "acme",
        "job_id": str(job), "seconds": 1.234568, "at": "2026-01-02 00:00:00+00:00",
    }  # fmt: skip


def test_what_has_happened_is_told_and_what_has_not_is_not(lines: io.StringIO) -> None:
    for fields in (
        {"level": "idle", "status": "success"},
        {"level": "pages", "status": "success"},
        {"status": "failed"},
    ):
        logs.hear("job_ended", {"client": "acme", "job_id": None, **fields})
    logs.hear("job_ended", {"client": "acme", "job_id": "1", "level": "idle", "status": "success"})
    logs.hear("database_lost", {"what": "x"})
    assert [(line["event"], line["level"]) for line in written(lines)] == [
        ("job_ended", "info"), ("job_ended", "warning"), ("job_ended", "info"), ("database_lost", "warning"),
    ]  # fmt: skip
    assert written(lines)[0]["run_level"] == "pages"


def test_a_fields_name_does_not_hide_the_lines_own(lines: io.StringIO) -> None:
    logs.tell("x", {"event": "forged", "term": 1, "ts": "never", "level": "idle"})
    [line] = written(lines)
    assert (line["event"], line["term"], line["level"]) == ("x", 7, "info")


def test_other_programs_logs_and_warnings_are_lines_too(lines: io.StringIO) -> None:
    logging.getLogger("uvicorn.error").error("broken\npipe %s", 1)
    warnings.showwarning("an odd thing", ResourceWarning, "module.py", 1)
    logging.getLogger("uvicorn.access").info("not told")
    first, second = written(lines)
    assert (first["event"], first["logger"], first["message"]) == ("log", "uvicorn.error", "broken\npipe 1")
    assert "an odd thing" in second["message"]


def test_a_bug_has_its_traceback_without_secrets(lines: io.StringIO) -> None:
    logs.tell_bug("thread_ended", ValueError(f"could not use {URL} or {TOKEN}"), thread="election")
    [line] = written(lines)
    assert "ValueError: could not use *** or ***" in line["traceback"]
    assert (line["level"], line["thread"]) == ("critical", "election")


@pytest.mark.parametrize("secret", [PASSWORD, WRITTEN, TOKEN, URL])
def test_no_secret_gets_out_wherever_it_stands(lines: io.StringIO, secret: str) -> None:
    logs.tell("x", {"a": f"in {secret} text", "b": [{"c": (secret,)}], "d": {secret: 1}, "e": ValueError(secret)})
    logging.getLogger("psycopg").error("connecting to %s", secret)
    assert len(written(lines)) == 2
    for text in (secret, json.dumps(secret)[1:-1]):
        assert text not in lines.getvalue()


def test_a_secret_is_one_also_after_it_was_replaced(lines: io.StringIO, files: Path) -> None:
    logs.tell("x", {})
    (files / "token").write_text("another-one\n")
    (files / "url").write_text("postgresql://node:fresh-word@db/sync?password=third-word\n")
    logs.tell("y", {"all": f"{TOKEN} another-one {PASSWORD} fresh-word third-word"})
    assert written(lines)[1]["all"] == "*** *** *** *** ***"


def test_files_that_are_gone_hide_what_they_held(lines: io.StringIO, files: Path) -> None:
    logs.tell("x", {})
    (files / "token").unlink()
    (files / "url").unlink()
    logs.tell("y", {"all": f"{TOKEN} {PASSWORD}"})
    assert written(lines)[1]["all"] == "*** ***"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=200)
@given(value=st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner:
       st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=6))  # fmt: skip
def test_whatever_is_told_is_one_line_of_json(lines: io.StringIO, value: object) -> None:
    lines.seek(0)
    lines.truncate()
    logs.tell("x", {"value": value})
    text = lines.getvalue()
    assert text.endswith("\n")
    assert len(text.splitlines()) == 1

    def refuse(word: str) -> None:
        raise AssertionError(word)

    assert "value" in json.loads(text, parse_constant=refuse)
