"""database status, use and migrate, as commands."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from client_manager.database.migrations import shipped
from client_manager.errors import ExitCode
from tests.postgres import fresh_database

SECRET = "hunter2-planted"


@pytest.fixture
def url(postgres: str) -> Iterator[str]:
    with fresh_database(postgres, template="template1") as url:
        yield url


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A settings file with words of the operator's own in it."""
    path = tmp_path / "config.toml"
    path.write_text("# mine\nfirst_port = 9000  # why\n", encoding="utf-8")
    monkeypatch.setenv("CLIENT_MANAGER_CONFIG", str(path))
    monkeypatch.setenv("CLIENT_MANAGER_STATE_DIR", str(tmp_path / "state"))
    return path


def run(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "client_manager", "database", *words]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, env=os.environ)


def test_status_and_migrate_and_status(config: Path, url: str) -> None:
    config.write_text(f'database_url = "{url}"\n', encoding="utf-8")

    before = json.loads(run("status", "--json").stdout)["database"]["migrations"]
    planned = json.loads(run("migrate", "--dry-run", "--json").stdout)
    applied = json.loads(run("migrate", "--yes", "--json").stdout)["applied"]
    again = json.loads(run("migrate", "--yes", "--json").stdout)["applied"]
    after = json.loads(run("status", "--json").stdout)["database"]["migrations"]

    assert [migration["applied_at"] for migration in before] == [None] * len(shipped())
    assert len(planned["would_apply"]) == len(applied) == len(shipped())
    assert again == []
    assert all(migration["applied_at"] for migration in after)


def test_migrate_asks_and_does_nothing_where_nobody_answers(config: Path, url: str) -> None:
    config.write_text(f'database_url = "{url}"\n', encoding="utf-8")

    assert run("migrate").returncode == ExitCode.NO_ANSWER
    assert not any(m["applied_at"] for m in json.loads(run("status", "--json").stdout)["database"]["migrations"])


@pytest.mark.parametrize("from_stdin", [True, False])
def test_use_writes_the_url_and_leaves_the_rest_of_the_file(config: Path, url: str, from_stdin: bool) -> None:  # noqa: FBT001
    done = run("use", "-" if from_stdin else url, stdin=f"{url}\n")

    assert done.returncode == 0
    assert config.read_text(encoding="utf-8").splitlines() == [
        "# mine",
        "first_port = 9000  # why",
        f'database_url = "{url}"',
    ]
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert "test-only" not in done.stdout + done.stderr


def test_use_of_what_does_not_answer_changes_nothing_and_shows_no_password(config: Path, tmp_path: Path) -> None:
    before = config.read_text(encoding="utf-8")

    done = run("use", "-", stdin=f"postgresql://u:{SECRET}@127.0.0.1:1/d\n")

    assert done.returncode == ExitCode.UNAVAILABLE
    assert config.read_text(encoding="utf-8") == before
    written = "".join(file.read_text(encoding="utf-8") for file in (tmp_path / "state").rglob("*") if file.is_file())
    assert SECRET not in done.stdout + done.stderr + written


def test_use_of_what_is_no_url_repeats_nothing_of_it(config: Path) -> None:
    del config

    done = run("use", "-", stdin=f"postgresql://u:{SECRET}@x@127.0.0.1:1/d\n")

    assert done.returncode == ExitCode.CONFIGURATION
    assert SECRET not in done.stdout + done.stderr


def test_use_says_when_a_variable_would_win(config: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIENT_MANAGER_DATABASE_URL", url)
    before = config.read_text(encoding="utf-8")

    done = run("use", url)

    assert done.returncode == ExitCode.CONFIGURATION
    assert "CLIENT_MANAGER_DATABASE_URL" in done.stderr
    assert config.read_text(encoding="utf-8") == before
