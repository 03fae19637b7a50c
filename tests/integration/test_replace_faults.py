"""Whatever ends a replacement, and wherever: the client is as it was or what it was to become, and nothing is left."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from client_manager.app import App
from client_manager.deployment import adopt, recovery, remove
from client_manager.errors import Cancelled, ClientManagerError, ConfigurationError, Conflict, ExitCode, Undone
from client_manager.gateways import interrupts
from client_manager.models.operation import Progress
from client_manager.settings import Settings
from tests.integration import faults
from tests.integration.faults import Case, Injected, Trap
from tests.steps import Steps
from tests.waiting import PATIENCE_S, until

UPGRADE = "client-manager-test/app:v2"
CHANGES: dict[str, Callable[[App, str], Case]] = {"memory": faults.memory_change, "domain": faults.domain_change}

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def client(app: App, name: str) -> str:
    """A healthy client with a chat in its database."""
    case = faults.creation(app, name)
    case.run(app, faults.ignore)
    faults.add_chat(app.settings.data_root, name)
    return name


@pytest.fixture
def impatient(settings: Settings) -> Settings:
    """Settings under which a client that is not healthy is given up soon."""
    return settings.model_copy(update={"health_timeout_s": 0.1})


def _clean_run(settings: Settings, case: Case) -> list[str]:
    with faults.armed(settings, trap := Trap()) as app:
        case.run(app, faults.ignore)
    return trap.calls


def _failing_run(settings: Settings, case: Case) -> list[str]:
    with faults.armed(settings, trap := Trap()) as app, pytest.raises(Undone):
        case.run(app, faults.ignore)
    return trap.calls


def _break(settings: Settings, case: Case, trap: Trap) -> ClientManagerError:
    with faults.armed(settings, trap) as app, pytest.raises(ClientManagerError) as caught:
        case.run(app, faults.ignore)
    return caught.value


def _port(app: App, client: str) -> int | None:
    spec = app.files.read(client)
    assert spec is not None
    return spec.port


BOTH = pytest.mark.parametrize("moment", ["before", "after"])


@BOTH
@pytest.mark.parametrize("kind", CHANGES)
def test_a_change_that_fails_at_any_step_leaves_the_old_client(
    app: App, docker_api: Any, client: str, kind: str, moment: str
) -> None:
    root, port = app.settings.data_root, _port(app, client)
    calls = _clean_run(app.settings, CHANGES[kind](app, client))
    before = faults.seen(docker_api, root, client)
    for at in range(1, faults.committed_at(calls) + (moment == "before")):
        error = _break(app.settings, CHANGES[kind](app, client), Trap(at, moment))
        faults.wait_healthy(port)
        assert faults.seen(docker_api, root, client) == before, calls[at - 1]
        assert isinstance(error, Undone if at > 1 or moment == "after" else Injected), calls[at - 1]


@BOTH
def test_a_change_that_fails_when_it_has_succeeded_stays(app: App, docker_api: Any, client: str, moment: str) -> None:
    calls = _clean_run(app.settings, faults.domain_change(app, client))
    for at in range(faults.committed_at(calls) + (moment == "before"), len(calls) + 1):
        case = faults.domain_change(app, client)
        error = _break(app.settings, case, Trap(at, moment))
        if app.files.operation(client):
            recovery.resume(app, client, faults.ignore)
        faults.require_in_place(docker_api, app.settings.data_root, case.target)
        assert "succe" in error.what, calls[at - 1]


@BOTH
def test_an_upgrade_that_fails_at_any_step_leaves_the_old_rows(
    app: App, impatient: Settings, docker_api: Any, client: str, moment: str
) -> None:
    root, port = app.settings.data_root, _port(app, client)
    before = faults.seen(docker_api, root, client)
    case = faults.migration_without_health(app, client, UPGRADE)
    calls = _failing_run(impatient, case)
    for at in range(1, faults.given_up_at(calls) + 1):
        _break(impatient, case, Trap(at, moment))
        faults.wait_healthy(port)
        assert faults.seen(docker_api, root, client) == before, calls[at - 1]


def test_an_upgrade_that_never_turns_healthy_leaves_the_old_rows(
    app: App, impatient: Settings, docker_api: Any, client: str
) -> None:
    before = faults.seen(docker_api, app.settings.data_root, client)
    _failing_run(impatient, faults.migration_without_health(app, client, UPGRADE))
    faults.wait_healthy(_port(app, client))
    assert faults.seen(docker_api, app.settings.data_root, client) == before


def test_an_undo_that_fails_at_any_step_can_be_repeated(
    app: App, impatient: Settings, docker_api: Any, client: str
) -> None:
    root, port = app.settings.data_root, _port(app, client)
    before = faults.seen(docker_api, root, client)
    case = faults.migration_without_health(app, client, UPGRADE)
    calls = _failing_run(impatient, case)
    for at in range(faults.given_up_at(calls) + 1, len(calls) + 1):
        error = _break(impatient, case, Trap(at))
        assert "could not be taken back completely" in error.what, calls[at - 1]
        recovery.undo(app, client)
        faults.wait_healthy(port)
        assert faults.seen(docker_api, root, client) == before, calls[at - 1]


@BOTH
def test_a_creation_that_fails_at_any_step_leaves_nothing(
    app: App, docker_api: Any, new_name: Callable[[], str], moment: str
) -> None:
    calls = _clean_run(app.settings, faults.creation(app, new_name()))
    name = new_name()
    for at in range(1, faults.committed_at(calls) + (moment == "before")):
        _break(app.settings, faults.creation(app, name), Trap(at, moment))
        assert faults.seen(docker_api, app.settings.data_root, name) == faults.NOTHING, calls[at - 1]


def test_a_creation_whose_undo_fails_at_any_step_can_be_undone_again(
    app: App, impatient: Settings, docker_api: Any, name: str
) -> None:
    calls = _failing_run(impatient, faults.creation(app, name, TEST_HEALTHY_AFTER_S="never"))
    for at in range(faults.given_up_at(calls) + 1, len(calls) + 1):
        _break(impatient, faults.creation(app, name, TEST_HEALTHY_AFTER_S="never"), Trap(at))
        assert app.files.operation(name), calls[at - 1]
        recovery.undo(app, name)
        assert faults.seen(docker_api, app.settings.data_root, name) == faults.NOTHING, calls[at - 1]


def test_a_creation_over_kept_data_that_fails_leaves_the_old_rows(
    app: App, impatient: Settings, docker_api: Any, client: str
) -> None:
    remove.remove(app, client, delete_data=False, report=faults.ignore)
    before = faults.seen(docker_api, app.settings.data_root, client)
    case = faults.creation(app, client, TEST_MIGRATE="1", TEST_HEALTHY_AFTER_S="never")
    _failing_run(impatient, faults.after_migration(app, client, case))
    assert faults.seen(docker_api, app.settings.data_root, client) == before


@pytest.mark.parametrize("way", ["undo", "resume"])
def test_a_change_that_is_killed_at_any_step_can_be_ended_both_ways(
    app: App, docker_api: Any, client: str, way: str
) -> None:
    # What a resume has just started again, it stops at once: before the application listens to SIGTERM.
    app = App(app.settings.model_copy(update={"stop_timeout_s": 1}))
    root, port = app.settings.data_root, _port(app, client)
    calls = _clean_run(app.settings, faults.domain_change(app, client))
    for at, call in enumerate(calls, start=1):
        before, case = faults.seen(docker_api, root, client), faults.domain_change(app, client)
        assert faults.run_and_be_killed(app.settings, case, at)
        if _end(app, docker_api, client, way, begun=at > 1) == "undone":
            faults.wait_healthy(port)
            assert faults.seen(docker_api, root, client) == before, call
        else:
            faults.require_in_place(docker_api, root, case.target)


def test_an_upgrade_that_is_killed_after_its_snapshot_can_be_undone(
    app: App, impatient: Settings, docker_api: Any, client: str
) -> None:
    root, port = app.settings.data_root, _port(app, client)
    before = faults.seen(docker_api, root, client)
    case = faults.migration_without_health(app, client, UPGRADE)
    calls = _failing_run(impatient, case)
    for at in range(calls.index("database.copy_aside") + 2, len(calls) + 1):
        assert faults.run_and_be_killed(impatient, case, at)
        _end(app, docker_api, client, "undo", begun=True)
        faults.wait_healthy(port)
        assert faults.seen(docker_api, root, client) == before, calls[at - 1]


def test_a_creation_that_is_killed_at_any_step_can_be_undone(
    app: App, impatient: Settings, docker_api: Any, name: str
) -> None:
    calls = _failing_run(impatient, faults.creation(app, name, TEST_HEALTHY_AFTER_S="never"))
    for at, call in enumerate(calls, start=1):
        case = faults.creation(app, name, TEST_HEALTHY_AFTER_S="never")
        assert faults.run_and_be_killed(impatient, case, at)
        _end(app, docker_api, name, "undo", begun=at > 1)
        assert faults.seen(docker_api, app.settings.data_root, name) == faults.NOTHING, call


def test_a_creation_that_is_killed_at_any_step_can_be_finished(
    app: App, docker_api: Any, new_name: Callable[[], str]
) -> None:
    calls = _clean_run(app.settings, faults.creation(app, new_name()))
    for at in range(1, len(calls) + 1):
        name = new_name()
        case = faults.creation(app, name)
        assert faults.run_and_be_killed(app.settings, case, at)
        if _end(app, docker_api, name, "resume", begun=at > 1) == "undone":
            assert faults.seen(docker_api, app.settings.data_root, name) == faults.NOTHING, calls[at - 1]
        else:
            faults.require_in_place(docker_api, app.settings.data_root, case.target)
            remove.remove(app, name, delete_data=True, report=faults.ignore)


def _end(app: App, api: Any, client: str, way: str, *, begun: bool) -> str:
    """End what was cut off in one way, or in the other where only that is left; return which it was."""
    assert [operation.client for operation in recovery.cut_off(app)] == [client] * begun
    operation = app.files.operation(client)
    if operation is None:
        return "undone"
    if operation.committed:
        return _finish(app, api, client)
    if way == "resume" and operation.step == "begun":
        with pytest.raises(Conflict, match="had only begun"):
            recovery.resume(app, client, faults.ignore)
        way = "undo"
    if way == "undo":
        recovery.undo(app, client)
        return "undone"
    recovery.resume(app, client, faults.ignore)
    return "done"


def _finish(app: App, api: Any, client: str) -> str:
    """End what has succeeded, which only goes forward, and keeps the new container."""
    new = api.inspect_container(f"openwebui-{client}")["Id"]
    with pytest.raises(Conflict, match="succeeded already"):
        recovery.undo(app, client)
    recovery.resume(app, client, faults.ignore)
    assert api.inspect_container(f"openwebui-{client}")["Id"] == new
    return "done"


def test_a_change_interrupted_at_any_reported_step_leaves_the_old_client(
    app: App, docker_api: Any, client: str
) -> None:
    root, port = app.settings.data_root, _port(app, client)
    steps = Steps()
    faults.domain_change(app, client).run(app, steps)
    before = faults.seen(docker_api, root, client)
    assert len(steps.names) > 5
    for count, step in enumerate(dict.fromkeys(name.split(",")[0] for name in steps.names)):
        with pytest.raises(Cancelled):
            faults.domain_change(app, client).run(app, _interrupt_at(step))
        faults.wait_healthy(port)
        assert faults.seen(docker_api, root, client) == before, (count, step)


def _interrupt_at(step: str) -> Callable[[Progress], None]:
    def report(progress: Progress) -> None:
        if progress.step.startswith(step):
            raise KeyboardInterrupt

    return report


def test_a_creation_interrupted_at_any_reported_step_leaves_nothing(app: App, docker_api: Any, name: str) -> None:
    for step in ("Creating", "Preparing", "Switching over", "Starting", "Waiting for health"):
        with pytest.raises(Cancelled):
            faults.creation(app, name, TEST_HEALTHY_AFTER_S="never").run(app, _interrupt_at(step))
        assert faults.seen(docker_api, app.settings.data_root, name) == faults.NOTHING, step


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_during_the_wait_for_health_brings_the_old_client_back(
    app: App, docker_api: Any, client: str, number: signal.Signals
) -> None:
    before = faults.seen(docker_api, app.settings.data_root, client)
    command = [sys.executable, "-m", "tests.integration.faults", app.settings.model_dump_json(), client]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("Waiting for health,"):
                process.send_signal(number)
                break
        assert process.wait(PATIENCE_S) == ExitCode.CANCELLED
    faults.wait_healthy(_port(app, client))
    assert faults.seen(docker_api, app.settings.data_root, client) == before


def test_a_second_signal_does_not_break_the_undo(app: App, impatient: Settings, docker_api: Any, client: str) -> None:
    root, port = app.settings.data_root, _port(app, client)
    before = faults.seen(docker_api, root, client)
    case = faults.migration_without_health(app, client, UPGRADE)
    calls = _failing_run(impatient, case)
    for at in range(faults.given_up_at(calls) + 1, len(calls) + 1):
        again = (signal.SIGINT, signal.SIGTERM)[at % 2]
        assert faults.in_another_process(partial(_be_signalled_in_undo, impatient, case, at, again)) == 0
        faults.wait_healthy(port)
        assert faults.seen(docker_api, root, client) == before, calls[at - 1]


def _be_signalled_in_undo(settings: Settings, case: Case, at: int, number: signal.Signals) -> None:
    """Be signalled at a step of the undo, while another thread draws, as a progress display does."""
    interrupts.install()
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    trap = Trap(at, spring=lambda: os.kill(os.getpid(), number))
    with faults.armed(settings, trap) as app, pytest.raises(Undone):
        case.run(app, faults.ignore)


def test_a_signal_while_the_engine_works_leaves_nothing_of_a_creation(app: App, docker_api: Any, name: str) -> None:
    calls = _clean_run(app.settings, faults.creation(app, name))
    remove.remove(app, name, delete_data=True, report=faults.ignore)
    for at in range(2, faults.committed_at(calls)):
        if calls[at - 1].startswith("engine"):
            case = faults.creation(app, name, TEST_HEALTHY_AFTER_S="never")
            assert faults.in_another_process(partial(_be_signalled_soon_after, app.settings, case, at, 0.005)) == 0
            assert faults.seen(docker_api, app.settings.data_root, name) == faults.NOTHING, calls[at - 1]


def _be_signalled_soon_after(settings: Settings, case: Case, at: int | str, seconds: float) -> None:
    trap = Trap(at, spring=threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT)).start)
    with faults.armed(settings, trap) as app, pytest.raises(Cancelled):
        case.run(app, faults.ignore)


def test_an_interrupted_slow_stop_leaves_the_old_client_running(
    app: App, docker_api: Any, app_image: str, name: str
) -> None:
    _adopt_one_that_is_slow_to_stop(app, docker_api, app_image, name)
    before = docker_api.inspect_container(f"openwebui-{name}")
    settings = app.settings.model_copy(update={"stop_timeout_s": 2})
    case = faults.memory_change(app, name)
    assert faults.in_another_process(partial(_be_signalled_soon_after, settings, case, "engine.stop", 0.5)) == 0

    def started_again() -> bool:
        now = docker_api.inspect_container(before["Id"])["State"]
        return bool(now["Running"] and now["StartedAt"] > before["State"]["StartedAt"])

    until(started_again)


def _adopt_one_that_is_slow_to_stop(app: App, api: Any, image: str, name: str) -> None:
    """Adopt a container whose first process has no handler for SIGTERM, so that it takes the Engine's SIGKILL."""
    data, port = app.settings.data_root / "elsewhere", app.settings.first_port
    data.mkdir(parents=True)
    host = {
        "Binds": [f"{data}:/app/backend/data"],
        "PortBindings": {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]},
        "Memory": app.settings.memory_bytes,
    }
    config = {
        "Image": image,
        "Cmd": ["sh", "-c", "python3 -u /opt/app.py; true"],
        "Env": ["WEBUI_SECRET_KEY=a-key-of-its-own"],
        "ExposedPorts": {"8080/tcp": {}},
        "HostConfig": host,
    }
    api.start(api.create_container_from_config(config, f"openwebui-{name}")["Id"])
    adopt.adopt(app, adopt.plan_adopt(app, f"openwebui-{name}", name, f"{name}.example.test"))
    faults.wait_healthy(port)


def test_an_undone_change_leaves_a_spec_written_by_hand_byte_for_byte(app: App, client: str) -> None:
    path = app.settings.data_root / client / "client.json"
    path.write_text(json.dumps(json.loads(path.read_text()), indent=None))
    by_hand = path.read_bytes()
    _break(app.settings, faults.memory_change(app, client), Trap("files.write_operation started"))
    assert path.read_bytes() == by_hand


def test_an_unexpected_error_is_taken_back_too(app: App, docker_api: Any, client: str) -> None:
    def stumble() -> None:
        raise ZeroDivisionError

    before = faults.seen(docker_api, app.settings.data_root, client)
    trap = Trap("files.write_operation started", spring=stumble)
    with faults.armed(app.settings, trap) as armed, pytest.raises(ZeroDivisionError):
        faults.memory_change(app, client).run(armed, faults.ignore)
    faults.wait_healthy(_port(app, client))
    assert faults.seen(docker_api, app.settings.data_root, client) == before


def test_a_cut_off_change_blocks_the_next_one(app: App, client: str) -> None:
    assert faults.run_and_be_killed(app.settings, faults.memory_change(app, client), 8)
    with pytest.raises(Conflict, match="cut off"):
        faults.domain_change(app, client).run(app, faults.ignore)


def test_a_recovery_on_another_machines_engine_is_refused(app: App, client: str) -> None:
    assert faults.run_and_be_killed(app.settings, faults.memory_change(app, client), 8)
    elsewhere = App(app.settings.model_copy(update={"docker_host": "tcp://192.0.2.1:2375"}))
    with pytest.raises(ConfigurationError, match="not this machine's"):
        recovery.undo(elsewhere, client)
    assert app.files.operation(client)
