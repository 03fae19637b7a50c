"""What the doctor says of clients, by their list alone."""

import socket
from pathlib import Path
from typing import Any

import pytest

from client_manager.app import App
from client_manager.deployment import doctor
from client_manager.errors import Unavailable
from client_manager.models.client import ClientSummary
from client_manager.models.finding import Finding
from client_manager.settings import Settings
from tests.parsing import fault


@pytest.fixture
def app(tmp_path: Path) -> App:
    folders = {"data_root": tmp_path / "root", "state_dir": tmp_path / "state"}
    return App(Settings(docker_host=f"unix://{tmp_path}/none.sock", **folders))  # type: ignore[arg-type]


def client(name: str, port: int | None, **fields: Any) -> ClientSummary:
    known = {
        "name": name, "kind": "managed", "container": f"openwebui-{name}", "domain": None, "port": port,
        "image": "x", "version": "1", "state": "running", "health": "healthy", "database": None, "drift": "no",
        "created_at": None,
    }  # fmt: skip
    return ClientSummary.model_validate({**known, **fields})


def of(check: str, app: App, *clients: ClientSummary) -> list[Finding]:
    return [finding for finding in doctor.examine(app, clients) if finding.check == check]


@pytest.fixture
def taken() -> Any:
    """A port that something listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_shared_port_is_said_once_with_everybody_who_has_it(app: App, taken: int) -> None:
    stranger = client("old", taken, kind="found", drift="not managed", state="stopped")
    (finding,) = of("ports", app, stranger, client("acme", taken), client("globex", taken, state="stopped"))
    assert finding.what == f"old, acme, globex share port {taken}: only one can run."
    assert finding.fix == "client-manager client set acme --port N"
    assert fault(finding.fix) == ""


def test_containers_that_are_not_managed_may_share_a_port(app: App, taken: int) -> None:
    strangers = [client(name, taken, kind="found", drift="not managed", state="stopped") for name in ("old", "older")]
    assert [finding.verdict for finding in of("ports", app, *strangers)] == ["ok"]


def test_a_stopped_client_whose_port_is_taken_is_found(app: App, taken: int) -> None:
    (finding,) = of("ports", app, client("acme", taken, state="stopped"))
    assert finding.what == f"Port {taken} of acme, which is stopped, is in use by something else."


def test_a_stranger_whose_port_is_taken_is_not_the_console_s_to_move(app: App, taken: int) -> None:
    stranger = client("old", taken, kind="found", drift="not managed", state="stopped")
    assert [finding.verdict for finding in of("ports", app, stranger)] == ["ok"]


def test_an_adopted_client_counts_as_managed(app: App, taken: int) -> None:
    adopted = client("acme", taken, kind="adopted")
    (finding,) = of("ports", app, adopted, client("old", taken, kind="found", drift="not managed"))
    assert finding.fix == "client-manager client set acme --port N"


def test_clients_that_cannot_be_listed_are_a_problem_of_each_check_of_them(app: App) -> None:
    error = Unavailable("Docker is gone.", why="It is.", hint="Start it.")
    found = [finding for finding in doctor.examine(app, error) if finding.check in {"ports", "clients"}]
    assert [(each.verdict, each.what, each.fix) for each in found] == [
        ("problem", "Docker is gone. It is.", "Start it.")
    ] * 2
