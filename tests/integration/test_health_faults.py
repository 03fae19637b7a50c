"""Clients that do not come up, disks that refuse, and operators who meet: each is said, and nothing is lost."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from client_manager.app import App
from client_manager.deployment import adopt, change, power, remove
from client_manager.errors import ClientManagerError, ConfigurationError, Conflict, Undone
from client_manager.gateways import lock
from client_manager.models.client import ClientSpec
from client_manager.models.client_request import ChangeRequest
from client_manager.settings import Settings
from tests.integration import faults

PAGE_BYTES = 4096
# Answers every path with a page, as Open WebUI does for all that it does not know.
SHELL_ONLY = """
import http.server, signal, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>the app shell</html>")
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("listening", flush=True)
http.server.HTTPServer(("", 8080), Answer).serve_forever()
"""


@pytest.fixture
def client(app: App, name: str) -> str:
    """A healthy client with a chat in its database."""
    faults.creation(app, name).run(app, faults.ignore)
    faults.add_chat(app.settings.data_root, name)
    return name


@pytest.fixture
def impatient(settings: Settings) -> App:
    """A console that soon gives up a client that is not healthy."""
    return App(settings.model_copy(update={"health_timeout_s": 1}))


def _set(app: App, client: str, **variables: str) -> ClientSpec:
    env = [{"name": name, "value": value} for name, value in variables.items()]
    old, new = change.plan_settings(app, client, ChangeRequest.model_validate({"env": env}))
    return change.apply_change(app, old, new, faults.ignore)


def _spec(app: App, client: str) -> ClientSpec:
    spec = app.files.read(client)
    assert spec is not None
    return spec


def _seen_when_healthy(app: App, api: Any, client: str) -> dict[str, object]:
    faults.wait_healthy(_spec(app, client).port)
    return faults.seen(api, app.settings.data_root, client)


def test_a_change_that_ends_at_start_is_undone_with_its_last_words(app: App, docker_api: Any, client: str) -> None:
    before = _seen_when_healthy(app, docker_api, client)
    with pytest.raises(Undone) as caught:
        _set(app, client, TEST_EXIT_CODE="3", TEST_SAY="the disk is on fire")
    assert "code 3" in caught.value.why
    assert "the disk is on fire" in caught.value.why
    assert _seen_when_healthy(app, docker_api, client) == before


def test_a_change_that_never_turns_healthy_is_undone_after_the_timeout(
    app: App, settings: Settings, docker_api: Any, client: str
) -> None:
    patient = App(settings.model_copy(update={"health_timeout_s": 10}))  # until it has logged something
    before = _seen_when_healthy(app, docker_api, client)
    with pytest.raises(Undone) as caught:
        _set(patient, client, TEST_HEALTHY_AFTER_S="never")
    assert "did not answer within 10 s" in caught.value.why
    assert "listening" in caught.value.why
    assert _seen_when_healthy(app, docker_api, client) == before


def test_last_words_do_not_give_a_secret_away(app: App, client: str) -> None:
    key = _spec(app, client).secrets["WEBUI_SECRET_KEY"].get_secret_value()
    with pytest.raises(Undone) as caught:
        _set(app, client, TEST_EXIT_CODE="3", TEST_SAY=f"my key is {key}!")
    assert "my key is ********!" in caught.value.why
    assert key not in caught.value.why


def test_a_change_that_turns_healthy_late_is_waited_for(app: App, docker_api: Any, client: str) -> None:
    target = _set(app, client, TEST_HEALTHY_AFTER_S="2")
    faults.require_in_place(docker_api, app.settings.data_root, target)


def test_a_creation_that_ends_at_start_leaves_nothing(app: App, docker_api: Any, name: str) -> None:
    with pytest.raises(Undone, match="create"):
        faults.creation(app, name, TEST_EXIT_CODE="3").run(app, faults.ignore)
    assert faults.seen(docker_api, app.settings.data_root, name) == faults.NOTHING


def test_the_app_shell_is_not_taken_for_health(
    app: App, impatient: App, docker_api: Any, app_image: str, name: str
) -> None:
    data = app.settings.data_root / "elsewhere"
    data.mkdir(parents=True)
    config = {
        "Image": app_image,
        "Cmd": ["python3", "-c", SHELL_ONLY],
        "Env": ["WEBUI_SECRET_KEY=a-key-of-its-own"],
        "HostConfig": {"Binds": [f"{data}:/app/backend/data"]},
    }
    container = docker_api.create_container_from_config(config, f"openwebui-{name}")["Id"]
    adopt.adopt(app, adopt.plan_adopt(app, container, name, f"{name}.example.test"))
    with pytest.raises(ClientManagerError) as caught:
        power.start(impatient, name, faults.ignore)
    assert "did not answer" in caught.value.what
    assert docker_api.inspect_container(container)["State"]["Running"]


@pytest.mark.parametrize("action", [power.start, power.restart], ids=["start", "restart"])
def test_an_unhealthy_client_is_left_to_be_looked_at(
    app: App, impatient: App, docker_api: Any, client: str, action: Any
) -> None:
    power.stop(app, client, faults.ignore)
    _set(app, client, TEST_HEALTHY_AFTER_S="never")
    before = docker_api.inspect_container(f"openwebui-{client}")["Id"]
    with pytest.raises(ClientManagerError, match="does not turn healthy"):
        action(impatient, client, faults.ignore)
    now = docker_api.inspect_container(f"openwebui-{client}")
    assert (now["Id"], now["State"]["Running"]) == (before, True)


def test_a_stopped_client_stays_stopped_when_changed(app: App, docker_api: Any, client: str) -> None:
    power.stop(app, client, faults.ignore)
    target = faults.memory_change(app, client)
    target.run(app, faults.ignore)
    now = docker_api.inspect_container(f"openwebui-{client}")
    assert (now["State"]["Running"], now["HostConfig"]["Memory"]) == (False, target.target.memory_bytes)


def test_a_stopped_client_stays_stopped_when_its_change_fails(app: App, docker_api: Any, client: str) -> None:
    power.stop(app, client, faults.ignore)
    before = faults.seen(docker_api, app.settings.data_root, client)
    case = faults.domain_change(app, client)
    with faults.armed(app.settings, faults.Trap("files.write_operation renamed")) as armed, pytest.raises(Undone):
        case.run(armed, faults.ignore)
    assert faults.seen(docker_api, app.settings.data_root, client) == before


def test_a_client_whose_data_is_missing_is_not_started_empty(app: App, docker_api: Any, client: str) -> None:
    case = faults.memory_change(app, client)
    power.stop(app, client, faults.ignore)
    data = app.files.data(client)
    data.rename(data.with_name("unmounted"))
    before = faults.seen(docker_api, app.settings.data_root, client)
    with pytest.raises(ClientManagerError, match=f"The data of {client} is missing"):
        case.run(app, faults.ignore)
    assert faults.seen(docker_api, app.settings.data_root, client) == before


def test_a_data_root_that_is_a_file_is_refused(app: App, docker_api: Any, name: str) -> None:
    root = app.settings.data_root
    case = faults.creation(app, name)
    root.write_text("in the way")
    with pytest.raises(ClientManagerError, match=str(root)):
        case.run(app, faults.ignore)
    assert faults.seen(docker_api, root, name) == faults.NOTHING


def test_a_read_only_data_root_leaves_the_client_as_it_is(app: App, docker_api: Any, client: str) -> None:
    root = app.settings.data_root
    before = _seen_when_healthy(app, docker_api, client)
    case = faults.memory_change(app, client)
    with _mounted(root, "--bind", str(root)):
        subprocess.run(["mount", "-o", "remount,bind,ro", root], check=True)
        with pytest.raises(ClientManagerError) as caught:
            case.run(app, faults.ignore)
    assert "Read-only" in caught.value.why
    assert _seen_when_healthy(app, docker_api, client) == before


@pytest.mark.parametrize("free_pages", range(8))
def test_a_disk_that_fills_during_a_creation_leaves_nothing(
    app: App, docker_api: Any, name: str, free_pages: int
) -> None:
    root = app.settings.data_root
    root.mkdir()
    with _mounted(root, "-t", "tmpfs", "-o", "size=64k", "tmpfs"):
        case = faults.creation(app, name)
        _leave_free(root, free_pages)
        with pytest.raises(ClientManagerError):
            case.run(app, faults.ignore)
        assert faults.seen(docker_api, root, name) == faults.NOTHING


@pytest.mark.parametrize("free_pages", range(5))
def test_a_disk_that_fills_during_a_change_leaves_the_old_client(
    app: App, docker_api: Any, name: str, free_pages: int
) -> None:
    root = app.settings.data_root
    root.mkdir()
    with _mounted(root, "-t", "tmpfs", "-o", "size=256k", "tmpfs"):
        faults.creation(app, name).run(app, faults.ignore)
        before = _seen_when_healthy(app, docker_api, name)
        case = faults.domain_change(app, name)
        filler = _leave_free(root, free_pages)
        with pytest.raises(ClientManagerError):
            case.run(app, faults.ignore)
        filler.unlink()
        assert _seen_when_healthy(app, docker_api, name) == before
        remove.remove(app, name, delete_data=True, report=faults.ignore)


@contextmanager
def _mounted(folder: Path, *arguments: str) -> Iterator[None]:
    mounted = subprocess.run(["mount", *arguments, folder], check=False, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"needs to mount: {mounted.stderr}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def _leave_free(folder: Path, pages: int) -> Path:
    """Fill a small disk but for so many pages."""
    disk = os.statvfs(folder)
    filler = folder / "filler"
    filler.write_bytes(b"x" * (disk.f_bavail * disk.f_frsize - pages * PAGE_BYTES))
    return filler


def test_a_corrupt_spec_is_named_and_its_client_left_as_it_is(app: App, docker_api: Any, client: str) -> None:
    path = app.settings.data_root / client / "client.json"
    case = faults.memory_change(app, client)
    faults.wait_healthy(case.target.port)
    path.write_text(path.read_text()[:40])
    before = faults.seen(docker_api, app.settings.data_root, client)
    with pytest.raises(ConfigurationError, match=str(path)):
        case.run(app, faults.ignore)
    assert faults.seen(docker_api, app.settings.data_root, client) == before


def test_a_corrupt_spec_does_not_give_its_secrets_away(app: App, client: str) -> None:
    key = _spec(app, client).secrets["WEBUI_SECRET_KEY"].get_secret_value()
    path = app.settings.data_root / client / "client.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "port": key}))
    with pytest.raises(ConfigurationError) as caught:
        faults.memory_change(app, client)
    assert key not in f"{caught.value.what} {caught.value.why} {caught.value.hint}"


@contextmanager
def _another_operator_holds(app: App, what: str) -> Iterator[int]:
    """Hold a lock in another process, and yield its id."""
    ready, done = os.pipe(), os.pipe()
    process = os.fork()
    if process == 0:
        with lock.held(app.files.locks, what, "upgrade"):
            os.write(ready[1], b"!")
            os.read(done[0], 1)
        os._exit(0)
    try:
        os.read(ready[0], 1)
        yield process
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        for end in (*ready, *done):
            os.close(end)


def test_a_client_that_another_operator_is_at_work_on_is_left_alone(app: App, docker_api: Any, client: str) -> None:
    before = _seen_when_healthy(app, docker_api, client)
    case = faults.memory_change(app, client)
    with _another_operator_holds(app, client) as process, pytest.raises(Conflict) as caught:
        case.run(app, faults.ignore)
    assert f"upgrade by root, process {process}," in caught.value.why
    assert faults.seen(docker_api, app.settings.data_root, client) == before


def test_a_killed_operator_leaves_no_lock(app: App, docker_api: Any, client: str) -> None:
    with _another_operator_holds(app, client):
        pass
    case = faults.memory_change(app, client)
    case.run(app, faults.ignore)
    faults.require_in_place(docker_api, app.settings.data_root, case.target)


def test_the_second_of_two_creations_on_one_port_leaves_nothing(app: App, docker_api: Any, new_name: Any) -> None:
    first, second = new_name(), new_name()
    winner, loser = faults.creation(app, first), faults.creation(app, second)
    assert winner.target.port == loser.target.port
    winner.run(app, faults.ignore)
    with pytest.raises(Conflict, match=f"Port {loser.target.port} is taken"):
        loser.run(app, faults.ignore)
    faults.require_in_place(docker_api, app.settings.data_root, winner.target)
    assert faults.seen(docker_api, app.settings.data_root, second) == faults.NOTHING


def test_of_two_creations_at_once_on_one_port_one_wins(app: App, docker_api: Any, new_name: Any) -> None:
    cases = [faults.creation(app, new_name()) for _ in range(2)]
    together, lost = threading.Barrier(2), []

    def run(case: faults.Case) -> None:
        together.wait()
        try:
            case.run(App(app.settings), faults.ignore)
        except Conflict:
            lost.append(case)

    threads = [threading.Thread(target=run, args=(case,)) for case in cases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (loser,) = lost
    (winner,) = (case for case in cases if case is not loser)
    faults.require_in_place(docker_api, app.settings.data_root, winner.target)
    assert faults.seen(docker_api, app.settings.data_root, loser.target.name) == faults.NOTHING


def test_an_outdated_plan_is_refused(app: App, docker_api: Any, client: str) -> None:
    outdated, quicker = faults.memory_change(app, client), faults.domain_change(app, client)
    quicker.run(app, faults.ignore)
    with pytest.raises(Conflict, match="not what it was"):
        outdated.run(app, faults.ignore)
    faults.require_in_place(docker_api, app.settings.data_root, quicker.target)
