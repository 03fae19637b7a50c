"""A client is decommissioned on the real Engine: stopped, backed up, off the records, and its container gone."""

import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from client_manager.app import App
from client_manager.deployment import create
from client_manager.deployment.remove import plan_removal
from client_manager.errors import Blocked, ClientManagerError, Conflict, NotFound
from client_manager.gateways import backup
from client_manager.models.client import ClientSpec
from client_manager.models.client_request import CreateRequest
from client_manager.models.operation import Progress
from client_manager.settings import Settings
from client_manager.workflows.decommission import decommission
from client_manager.workflows.deregister_cluster import check
from tests.integration.registered import Registered, connected, here, silent
from tests.ports import free_port
from tests.steps import Steps


@pytest.fixture
def app(settings: Settings, docker_api: Any, app_image: str, database_url: str) -> App:
    del docker_api, app_image
    return App(settings.model_copy(update={"database_url": SecretStr(database_url)}))


@pytest.fixture
def world(database_url: str) -> Iterator[Registered]:
    with connected(database_url) as connection:
        yield Registered(connection)


@pytest.fixture
def client(app: App, name: str, world: Registered) -> ClientSpec:
    """A client that runs, with a database in WAL mode and an upload, registered in a cluster with its sync on."""
    spec = create.create(app, create.plan_create(app, CreateRequest(name=name, domain=f"{name}.example.test")), Steps())
    data = app.files.data(name)
    with closing(sqlite3.connect(data / "webui.db")) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT)")
        connection.execute("INSERT INTO note VALUES (1, 'kept')")
        connection.commit()
        (data / "uploads").mkdir(exist_ok=True)
        (data / "uploads" / "picture.bin").write_bytes(os.urandom(100_000))
        (data / "uploads" / "link").symlink_to("picture.bin")
    world.cluster("prod", leader="sync-node-a")
    world.client(name, "prod", enabled=True)
    world.history(name)
    return spec


def test_client_is_backed_up_and_gone_and_its_history_and_data_stay(
    app: App, client: ClientSpec, world: Registered, docker_api: Any, tmp_path: Path
) -> None:
    assert check(app, "prod", here()).enabled

    done = decommission(app, client.name, tmp_path / "backups", silent)

    assert done.backup.parent == tmp_path / "backups"
    assert done.backup.name.startswith(f"{client.name}-")
    assert done.backup.stat().st_mode & 0o777 == 0o700
    with closing(sqlite3.connect(done.backup / "data" / "webui.db")) as connection:
        assert connection.execute("SELECT text FROM note").fetchall() == [("kept",)]
    original = app.files.data(client.name)
    assert (done.backup / "data" / "uploads" / "picture.bin").read_bytes() == (
        original / "uploads" / "picture.bin"
    ).read_bytes()
    assert (done.backup / "data" / "uploads" / "link").readlink() == Path("picture.bin")
    spec = ClientSpec.model_validate_json((done.backup / "client.json").read_text())
    assert spec == client
    assert (done.backup / "client.json").stat().st_mode & 0o777 == 0o600
    assert json.loads((done.backup / "record.json").read_text())["client_name"] == client.name
    hashes = json.loads((done.backup / "manifest.json").read_text())["sha256"]
    for file in ("client.json", "record.json", "data/webui.db", "data/uploads/picture.bin"):
        assert hashes[file] == hashlib.sha256((done.backup / file).read_bytes()).hexdigest()
    assert done.was_registered
    assert world.count("client_deployments") == 0
    assert world.count("sync_jobs") == world.count("replication_state") == 1
    assert not docker_api.containers(all=True, filters={"name": f"openwebui-{client.name}"})
    assert (original / "webui.db").exists()
    assert check(app, "prod", here()).blockers == ()


def test_client_comes_back_from_what_stays(app: App, client: ClientSpec, tmp_path: Path) -> None:
    decommission(app, client.name, tmp_path / "backups", silent)

    request = CreateRequest(name=client.name, domain=client.domain)
    again = create.create(app, create.plan_create(app, request), Steps())

    assert again.secrets == client.secrets
    with closing(sqlite3.connect(app.files.data(client.name) / "webui.db")) as connection:
        assert connection.execute("SELECT text FROM note").fetchall() == [("kept",)]


def test_client_that_was_never_registered_can_go_too(
    app: App, client: ClientSpec, world: Registered, tmp_path: Path
) -> None:
    world.connection.execute("DELETE FROM sync_metadata.client_deployments")

    done = decommission(app, client.name, tmp_path / "backups", silent)

    assert not done.was_registered
    assert not (done.backup / "record.json").exists()


def _is_as_before(app: App, client: ClientSpec, world: Registered) -> None:
    container = app.engine.find(client.container)
    assert container
    assert container.running
    assert app.files.read(client.name) == client
    assert world.connection.execute("SELECT sync_enabled, status FROM sync_metadata.client_deployments").fetchall() == [
        (True, "active")
    ]


def _damaged(app: App, client: ClientSpec, monkeypatch: pytest.MonkeyPatch) -> str:
    del monkeypatch
    path = app.files.data(client.name) / "webui.db"
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 2048)
    return "damaged|cannot be read"


def _full(app: App, client: ClientSpec, monkeypatch: pytest.MonkeyPatch) -> str:
    del app, client
    monkeypatch.setattr("client_manager.gateways.backup.host.free_bytes", lambda _: 10)
    return "no room"


def _altered(app: App, client: ClientSpec, monkeypatch: pytest.MonkeyPatch) -> str:
    del app, client
    copy = backup._copy

    def torn(source: Path, target: Path) -> None:
        copy(source, target)
        if target.name == "picture.bin":
            target.write_bytes(target.read_bytes()[:-1])

    monkeypatch.setattr(backup, "_copy", torn)
    return "is not what"


@pytest.mark.parametrize("fault", [_damaged, _full, _altered], ids=["damaged", "full", "altered"])
def test_backup_that_is_none_leaves_everything_as_it_was(  # noqa: PLR0913, PLR0917
    app: App,
    client: ClientSpec,
    world: Registered,
    tmp_path: Path,
    fault: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = fault(app, client, monkeypatch)

    with pytest.raises(ClientManagerError, match=words):
        decommission(app, client.name, tmp_path / "backups", silent)

    _is_as_before(app, client, world)
    assert not list((tmp_path / "backups").glob("*"))


def test_interruption_leaves_everything_as_it_was(
    app: App, client: ClientSpec, world: Registered, tmp_path: Path
) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.step == "Backing up" and progress.detail:
            raise KeyboardInterrupt

    with pytest.raises(ClientManagerError, match="Interrupted"):
        decommission(app, client.name, tmp_path / "backups", interrupt)

    _is_as_before(app, client, world)
    assert not list((tmp_path / "backups").glob("*"))


def test_sync_that_somebody_enables_meanwhile_keeps_the_client(
    app: App, client: ClientSpec, world: Registered, tmp_path: Path
) -> None:
    def enable(progress: Progress) -> None:
        if progress.step == "Removing the record":
            world.enable(client.name)

    with pytest.raises(Conflict) as error:
        decommission(app, client.name, tmp_path / "backups", enable)

    _is_as_before(app, client, world)
    assert "Its backup is complete" in error.value.hint


def test_job_that_nobody_can_end_keeps_the_client_running(
    app: App, client: ClientSpec, world: Registered, tmp_path: Path
) -> None:
    world.job(client.name, "running")
    for table in ("hosts", "sync_nodes"):
        world.connection.execute(f"UPDATE sync_metadata.{table} SET last_heartbeat = now() - interval '10 minutes'")
    world.connection.execute("UPDATE sync_metadata.leader_election SET expires_at = now()")
    said: list[str] = []

    with pytest.raises(Blocked, match="a job of it runs, by the records"):
        decommission(app, client.name, tmp_path / "backups", lambda progress: said.append(progress.step))

    assert "Stopping" not in said
    _is_as_before(app, client, world)


def test_backup_inside_the_data_is_refused(app: App, client: ClientSpec, world: Registered) -> None:
    with pytest.raises(Conflict, match="lies inside the data"):
        decommission(app, client.name, app.files.data(client.name) / "backups", silent)

    _is_as_before(app, client, world)


def test_removal_says_that_the_registration_stays(app: App, client: ClientSpec) -> None:
    assert any(
        f"sync deregister {client.name}" in what for what in plan_removal(app, client.name, delete_data=False).stays
    )


def test_removal_says_that_it_does_not_know_of_a_registration(app: App, client: ClientSpec) -> None:
    settings = app.settings.model_copy(update={"database_url": SecretStr(f"postgresql://127.0.0.1:{free_port()}/x")})
    assert any("not known" in what for what in plan_removal(App(settings), client.name, delete_data=True).stays)


def test_removal_makes_no_database_to_look_into(app: App, client: ClientSpec, tmp_path: Path) -> None:
    settings = app.settings.model_copy(update={"database_url": None, "postgres_dir": tmp_path / "pg"})
    assert not any("sync" in what for what in plan_removal(App(settings), client.name, delete_data=False).stays)
    assert not (tmp_path / "pg").exists()


def test_there_is_no_such_client(app: App, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        decommission(app, "nobody", tmp_path, silent)


def test_client_without_data_is_not_backed_up(app: App, client: ClientSpec, world: Registered, tmp_path: Path) -> None:
    app.files.data(client.name).rename(tmp_path / "moved")
    with pytest.raises(Blocked, match="cannot be found"):
        decommission(app, client.name, tmp_path / "backups", silent)

    _is_as_before(app, client, world)
