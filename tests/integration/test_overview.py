"""What is shown where no command was named and nobody can choose from a menu, and at the first start of all."""

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import StringIO
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from pydantic import SecretStr

from client_manager.app import App
from client_manager.deployment import doctor
from client_manager.errors import Ended
from client_manager.gateways import first_start
from client_manager.menu import overview
from client_manager.menu.prompts import Nobody
from client_manager.menu.session import Session
from client_manager.models.client import ClientSpec
from client_manager.models.finding import Finding
from client_manager.settings import Settings
from client_manager.workflows import look_around
from tests.integration.registered import Registered
from tests.parsing import fault
from tests.screen import console_on

NOBODY: Final = 65534
SHORT_S: Final = 0.3
pytestmark = [
    pytest.mark.usefixtures("_sockets_collected"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A place where nothing is, with a Docker that is not there."""
    folders = {"data_root": tmp_path / "root", "state_dir": tmp_path / "state", "postgres_dir": tmp_path / "pg"}
    return Settings(docker_host=f"unix://{tmp_path}/none.sock", cluster="host-1", **folders)  # type: ignore[arg-type]


def shown(settings: Settings) -> str:
    """The whole page, as a pipe gets it."""
    screen = StringIO()
    overview.show(Session(app=App(settings), console=console_on(screen, width=10_000), ask=Nobody()))
    return screen.getvalue()


def section(page: str, title: str) -> str:
    return page.partition(f"\n{title}\n")[2].partition("\n\n")[0]


def commands(page: str) -> list[str]:
    return [line.strip() for line in section(page, "Next").splitlines()]


def registered_in(settings: Settings, name: str) -> None:
    """A client of which there is its spec, and no container."""
    spec = ClientSpec(
        name=name,
        container=f"openwebui-{name}",
        domain=f"{name}.example.test",
        image=settings.image,
        port=18099,
        env={},
        secrets={"WEBUI_SECRET_KEY": "0123456789abcdef"},
        memory_bytes=settings.memory_bytes,
    )
    App(settings).files.write(spec)


def tree(folder: Path) -> dict[str, Any]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@contextmanager
def silent(family: socket.AddressFamily, address: Any) -> Iterator[socket.socket]:
    """A server that takes connections in and never answers."""
    with socket.socket(family) as server:
        server.bind(address)
        server.listen()
        yield server


def taken_in(server: socket.socket) -> int:
    """How many have connected."""
    server.settimeout(0)
    count = 0
    while True:
        try:
            server.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


@contextmanager
def dribbling(server: socket.socket) -> Iterator[None]:
    """Send everybody who connects a byte now and then, for ever."""
    ended = threading.Event()
    peers: list[socket.socket] = []

    def dribble() -> None:
        server.settimeout(SHORT_S / 10)
        while not ended.wait(SHORT_S / 10):
            with suppress(TimeoutError):
                peers.append(server.accept()[0])
            for peer in peers:
                with suppress(OSError):
                    peer.send(b"H")

    thread = threading.Thread(target=dribble)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        for peer in peers:
            peer.close()


# What there is.


@pytest.fixture
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests keep Docker busy; how long a look waits for it is proven by those that have a silent one."""
    monkeypatch.setattr(look_around, "STATUS_S", 60)
    monkeypatch.setattr(overview, "STATUS_S", 60)


@pytest.mark.usefixtures("_patient")
def test_where_there_is_nothing_it_says_so_and_how_to_begin(settings: Settings, docker_api: Any) -> None:
    del docker_api
    page = shown(settings.model_copy(update={"docker_host": "unix:///var/run/docker.sock"}))
    assert section(page, "Clusters") == "There is no cluster yet, and no database is in use."
    assert "client-manager client create NAME --domain DOMAIN  # make the first client" in "\n".join(commands(page))
    # Among the clients are the other tests', some of which crash as they are told to.
    assert not re.search(r"problem +(?!clients |\s)", section(page, "Doctor"))


@pytest.mark.usefixtures("_patient")
def test_clients_are_listed_as_the_list_does_and_their_drift_is_found(
    settings: Settings, docker_api: Any, name: str
) -> None:
    del docker_api
    here = settings.model_copy(update={"docker_host": "unix:///var/run/docker.sock"})
    registered_in(here, name)
    page = shown(here)
    (row,) = [line for line in section(page, "Clients").splitlines() if line.startswith(f"{name} ")]
    assert row.split()[:3] == [name, f"{name}.example.test", "18099"]
    assert f"{name}: its container is missing." in section(page, "Doctor")
    assert f"client-manager client repair {name}" in section(page, "Doctor")
    assert any(line.startswith("client-manager cluster deploy host-1") for line in commands(page))


def test_a_cluster_is_shown_with_its_leader_nodes_and_clients(settings: Settings, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        registered = Registered(connection)
        registered.cluster("prod", age_s=1, leader="sync-node-b")
        registered.client("acme", "prod", enabled=True)
    page = shown(settings.model_copy(update={"database_url": SecretStr(database_url)}))
    (row,) = [line for line in section(page, "Clusters").splitlines() if "prod" in line]
    assert row.split() == [
        "prod",
        "sync-node-b",
        "machine",
        "sync-node-a",
        "standby,",
        "sync-node-b",
        "leader",
        "1",
        "1",
    ]


def test_every_command_to_go_on_with_is_taken_by_the_program(settings: Settings) -> None:
    registered_in(settings, "acme")
    said = commands(shown(settings))
    assert len(said) >= 2
    assert [found for line in said if (found := fault(line))] == []


# What does not answer.


def test_docker_that_is_not_there_is_said_in_its_place_with_the_way_out(settings: Settings) -> None:
    page = shown(settings)
    assert section(page, "Clients").startswith("Error: Docker at unix://")
    assert "Next: Start it with 'systemctl start docker'" in section(page, "Clients")
    assert "There are no clients yet" not in page
    (finding,) = [line for line in section(page, "Doctor").splitlines() if line.startswith("problem")]
    assert finding.split("  ")[1:2] == ["Docker, ports, clients"]


def test_docker_that_never_answers_is_asked_once(settings: Settings, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(look_around, "STATUS_S", SHORT_S)
    monkeypatch.setattr(overview, "STATUS_S", SHORT_S)
    with silent(socket.AF_UNIX, str(tmp_path / "none.sock")) as server:
        began = time.monotonic()
        page = shown(settings)
        assert time.monotonic() - began < 5
        assert taken_in(server) == 1
    assert "did not answer in time" in section(page, "Clients")


_IN_HASTE = f"""
from client_manager import cli
from client_manager.menu import overview
from client_manager.workflows import look_around
look_around.STATUS_S = overview.STATUS_S = {SHORT_S}
cli.main()
"""


def test_docker_that_dribbles_is_left_behind(settings: Settings, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "CLIENT_MANAGER_DOCKER_HOST": settings.docker_host,
        "CLIENT_MANAGER_DATA_ROOT": str(settings.data_root),
        "CLIENT_MANAGER_STATE_DIR": str(settings.state_dir),
        "CLIENT_MANAGER_POSTGRES_DIR": str(settings.postgres_dir),
    }
    with silent(socket.AF_UNIX, str(tmp_path / "none.sock")) as server, dribbling(server):
        done = subprocess.run(
            [sys.executable, "-c", _IN_HASTE], env=environment, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, check=False, timeout=40,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "did not answer in time." in section(done.stdout, "Clients")


def test_the_doctor_waits_once_for_docker_that_never_answers(
    settings: Settings, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(look_around, "_DOCTOR_S", SHORT_S)
    with silent(socket.AF_UNIX, str(tmp_path / "none.sock")) as server:
        findings = look_around.examine(App(settings))
        assert taken_in(server) == 1
    assert {finding.check for finding in findings if "did not answer" in finding.what} == {"Docker", "ports", "clients"}


def test_a_database_that_is_down_is_said_in_its_place(settings: Settings) -> None:
    url = SecretStr("postgresql://console:hunter2@127.0.0.1:9/x")
    page = shown(settings.model_copy(update={"database_url": url}))
    assert section(page, "Clusters").startswith("Error: PostgreSQL at 127.0.0.1:9/x cannot be reached.")
    assert "There is no cluster" not in page
    assert "hunter2" not in page


def test_a_database_that_never_answers_is_given_up(settings: Settings, monkeypatch: Any) -> None:
    monkeypatch.setattr(look_around, "STATUS_S", SHORT_S)
    monkeypatch.setattr(overview, "STATUS_S", SHORT_S)
    with silent(socket.AF_INET, ("127.0.0.1", 0)) as server:
        url = f"postgresql://console:hunter2@127.0.0.1:{server.getsockname()[1]}/x"
        began = time.monotonic()
        page = shown(settings.model_copy(update={"database_url": SecretStr(url)}))
        assert time.monotonic() - began < 10
        assert taken_in(server) == 1
    assert "did not answer in time" in section(page, "Clusters")
    assert "hunter2" not in page


def test_that_docker_is_gone_hides_nothing_of_the_database(settings: Settings, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        Registered(connection).cluster("prod", age_s=3600)
    found = look_around.examine(App(settings.model_copy(update={"database_url": SecretStr(database_url)})))
    said = [finding.what for finding in found if finding.check == "sync"]
    assert any(what.startswith("machine of prod has not been heard of") for what in said)
    assert any("cannot be reached" in what for what in said)


def test_a_signal_is_no_finding(settings: Settings, monkeypatch: Any) -> None:
    def end(_: object) -> None:
        raise Ended

    monkeypatch.setattr(doctor, "list_clients", end)
    with pytest.raises(Ended):
        look_around.examine(App(settings))


def test_an_embedded_database_that_does_not_run_stays_as_it_is(settings: Settings, tmp_path: Path) -> None:
    (settings.postgres_dir / "data").mkdir(parents=True)
    first_start.remember(settings.state_dir)
    before = tree(tmp_path)
    page = shown(settings)
    assert section(page, "Clusters").startswith("Error: The embedded PostgreSQL does not run.")
    assert "'client-manager database status' starts it" in page
    assert tree(tmp_path) == before


def test_nothing_is_written_where_nothing_is(settings: Settings, tmp_path: Path) -> None:
    first_start.remember(settings.state_dir)
    before = tree(tmp_path)
    shown(settings)
    assert tree(tmp_path) == before


def test_a_cluster_of_this_machine_whose_database_is_not_there_is_no_cluster_too_few(settings: Settings) -> None:
    folder = App(settings).cluster_files.folder("prod").path
    folder.mkdir(parents=True)
    (folder / "cluster.json").write_text("{}")
    page = shown(settings)
    assert section(page, "Clusters").startswith("Error: The database of prod is not the one that is set.")


_AS_NOBODY = f"""
import os, sys
from client_manager import cli
def start(*words):
    sys.argv = ["client-manager", *words]
    code = cli.run(cli.app)
    print("left with", code, flush=True)
for words in ((), ("doctor",)):
    start(*words)  # loads what a run needs while it can be read
os.setgroups([])
os.setgid({NOBODY})
os.setuid({NOBODY})
os.environ.update(CLIENT_MANAGER_DATA_ROOT=os.environ["CLOSED"], XDG_CONFIG_HOME="/nonexistent")
print("=====", flush=True)
for words in ((), ("doctor",)):
    start(*words)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("below", ["", "root"], ids=["closed itself", "closed above"])
def test_a_data_root_that_may_not_be_entered_is_said_with_the_way_out(
    settings: Settings, tmp_path: Path, below: str
) -> None:
    closed = tmp_path / "closed" / below
    closed.mkdir(parents=True)
    (tmp_path / "closed").chmod(0o700)
    environment = {
        **os.environ,
        "CLIENT_MANAGER_DOCKER_HOST": settings.docker_host,
        "CLIENT_MANAGER_DATA_ROOT": str(settings.data_root),
        "CLIENT_MANAGER_STATE_DIR": str(settings.state_dir),
        "CLIENT_MANAGER_POSTGRES_DIR": str(settings.postgres_dir),
        "CLOSED": str(closed),
    }
    done = subprocess.run(
        [sys.executable, "-c", _AS_NOBODY], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False, timeout=50,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    page, examined = done.stdout.partition("=====\n")[2].split("left with 0\n")
    assert re.search(r"problem +[^\n]*data root", page)
    assert re.search(r"problem +data root +.*is not yours to read", examined)
    assert "set data_root" in examined
    assert examined.endswith("left with 1\n")


def test_the_program_without_a_terminal_leaves_with_0_whatever_is_down(settings: Settings, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "CLIENT_MANAGER_DOCKER_HOST": settings.docker_host,
        "CLIENT_MANAGER_DATABASE_URL": "postgresql://console:hunter2@127.0.0.1:9/x",
        "CLIENT_MANAGER_DATA_ROOT": str(tmp_path / "a-file" / "root"),
        "CLIENT_MANAGER_STATE_DIR": str(tmp_path / "a-file" / "state"),
    }
    (tmp_path / "a-file").touch()
    done = subprocess.run(
        [sys.executable, "-m", "client_manager"], env=environment, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, check=False, timeout=50,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("Error:") == 2
    assert "client-manager doctor" in section(done.stdout, "Next")


# The first start.


def test_the_first_start_says_what_was_found_and_assumed_and_no_other_does(settings: Settings) -> None:
    assumed = Settings.model_construct(**settings.model_dump(), _fields_set={"docker_host", "data_root", "state_dir"})
    lines = shown(assumed).splitlines()[1:4]
    assert [re.split("  +", line)[0] for line in lines] == ["Docker", "Data root", "Database"]
    assert "cannot be reached" in lines[0]
    assert "the first client makes it" in lines[1]
    assert "assumed" not in lines[0] + lines[1]
    assert lines[2].endswith("PostgreSQL starts with the first cluster (assumed)")
    assert len(lines[2]) <= 80
    assert shown(assumed).splitlines()[1] == ""


def test_a_first_start_that_cannot_be_remembered_is_one_again(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "a-file").touch()
    nowhere = settings.model_copy(update={"state_dir": tmp_path / "a-file" / "state"})
    assert [shown(nowhere).splitlines()[1].startswith("Docker ") for _ in range(2)] == [True, True]
    assert not first_start.remember(nowhere.state_dir)


def test_who_has_a_journal_has_started_before(settings: Settings) -> None:
    settings.state_dir.mkdir()
    (settings.state_dir / "journal.jsonl").touch()
    assert not first_start.is_first(settings.state_dir)


def test_two_first_starts_at_once_are_both_remembered(settings: Settings) -> None:
    together = threading.Barrier(4)
    remembered: list[bool] = []

    def start() -> None:
        together.wait()
        remembered.append(first_start.remember(settings.state_dir))

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert remembered == [True] * 4
    assert not first_start.is_first(settings.state_dir)


def test_findings_are_of_both_rooms(settings: Settings) -> None:
    findings = look_around.examine(App(settings))
    assert {"Docker", "data root", "sync"} <= {finding.check for finding in findings}
    assert all(finding.verdict == "ok" or finding.fix for finding in findings if isinstance(finding, Finding))
