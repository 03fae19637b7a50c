"""Docker that is not there, does not answer, or lets nobody in; and Docker that is not this machine's."""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from client_manager.app import App
from client_manager.deployment import clients, create
from client_manager.errors import ConfigurationError, Unavailable
from client_manager.gateways import docker_engine
from client_manager.gateways.docker_engine import DockerEngine
from client_manager.models.client_request import CreateRequest
from client_manager.settings import Settings, ignored_docker_context

NOBODY = 65534
pytestmark = [
    pytest.mark.usefixtures("_sockets_collected"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user can enter, and whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def listening(folder: Path) -> Iterator[str]:
    """The endpoint of a socket that takes connections in and answers none."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "docker.sock"))
        server.listen()
        yield f"unix://{folder}/docker.sock"


def test_socket_that_is_not_there_is_unavailable(folder: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be reached") as caught:
        DockerEngine(f"unix://{folder}/docker.sock").version()

    assert caught.value.why == "No such file or directory"
    assert "systemctl start docker" in caught.value.hint


def test_socket_that_nobody_listens_on_is_unavailable(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "docker.sock"))

    with pytest.raises(Unavailable, match="cannot be reached") as caught:
        DockerEngine(f"unix://{folder}/docker.sock").version()

    assert caught.value.why == "Connection refused"


def test_engine_that_never_answers_is_given_up(listening: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_engine, "_GRACE_S", 0.3)

    with pytest.raises(Unavailable, match="did not answer in time"):
        DockerEngine(listening).version()


_AS_NOBODY = f"""
import os, sys
import docker.tls
from client_manager import errors
from client_manager.gateways.docker_engine import DockerEngine
try:
    DockerEngine("unix:///nowhere.sock").version()  # loads what a run needs while it can be read
except errors.Unavailable:
    pass
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid({NOBODY})
    os.setuid({NOBODY})
try:
    DockerEngine(sys.argv[1]).version()
except errors.Unavailable as error:
    print(error.what, error.hint)
"""


def test_socket_that_is_closed_to_the_user_says_who_can_open_it(listening: str) -> None:
    Path(listening.removeprefix("unix://")).chmod(0)

    done = subprocess.run(
        [sys.executable, "-c", _AS_NOBODY, listening], env={**os.environ}, capture_output=True, text=True, check=False
    )

    assert done.stderr == ""
    assert "does not let you in" in done.stdout
    assert "group docker" in done.stdout


def test_endpoint_that_is_none_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        DockerEngine("nonsense://x").version()


def test_nobody_on_a_tcp_endpoint_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    with pytest.raises(Unavailable, match="cannot be reached") as caught:
        DockerEngine(f"tcp://127.0.0.1:{port}").version()

    assert caught.value.why == "Connection refused"


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:2375", "tcp://192.0.2.1:2376", "ssh://root@192.0.2.1"])
def test_engine_of_another_machine_is_not_changed(settings: Settings, endpoint: str) -> None:
    app = App(settings.model_copy(update={"docker_host": endpoint}))

    with pytest.raises(ConfigurationError, match="is not this machine's") as caught:
        create.plan_create(app, CreateRequest(name="acme", domain="chat.acme.test"))

    assert "over SSH" in caught.value.hint
    assert not settings.data_root.exists()


@pytest.fixture
def leftover(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A current context that leads to another machine."""
    name = "production"
    folder = tmp_path / "docker"
    about = folder / "contexts" / "meta" / "ab8e18ef4ebebeddc0b3152ce9c9006e14fc05242e3fc9ce32246ea6a9543074"
    about.mkdir(parents=True)
    endpoints = {"docker": {"Host": "tcp://192.0.2.1:2376", "SkipTLSVerify": False}}
    (about / "meta.json").write_text(json.dumps({"Name": name, "Metadata": {}, "Endpoints": endpoints}))
    (folder / "config.json").write_text(json.dumps({"currentContext": name}))
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    return name


def test_leftover_context_does_not_lead_to_another_machine(app: App, leftover: str) -> None:
    assert ignored_docker_context(app.settings) == leftover
    assert app.engine.endpoint == "unix:///var/run/docker.sock"
    assert app.engine.is_local
    clients.list_clients(app)


def test_context_that_was_chosen_in_the_settings_is_used(settings: Settings, leftover: str) -> None:
    engine = App(settings.model_copy(update={"docker_context": leftover})).engine

    assert engine.endpoint == "tcp://192.0.2.1:2376"
    assert not engine.is_local


def test_context_that_does_not_exist_is_told(settings: Settings, leftover: str) -> None:
    del leftover
    engine = App(settings.model_copy(update={"docker_context": "none-such"})).engine

    with pytest.raises(ConfigurationError, match="no Docker context none-such"):
        engine.version()


@pytest.mark.parametrize("text", ["", "{", '{"currentContext": 7}'])
def test_broken_configuration_of_the_docker_command_is_no_fault(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))

    assert app.engine.version()
