"""Faults at every step of an operation, and what Docker and the disk look like afterwards.

A fault springs at the n-th call that changes something: just before it, or when it has taken effect. What is left is
read with the raw Engine API and from the files, never with the console's own code.
"""

import http.client
import json
import multiprocessing
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from client_manager.app import App
from client_manager.deployment import change, create, domain, ending, replace
from client_manager.errors import ClientManagerError
from client_manager.gateways import interrupts
from client_manager.models.client import ClientSpec
from client_manager.models.client_request import ChangeRequest, CreateRequest
from client_manager.models.operation import Operation, Progress
from client_manager.settings import Settings
from tests.waiting import PATIENCE_S, until

# Whatever is not named here changes something, so that a new method is a new place for a fault.
READS: Final = frozenset({
    "containers", "endpoint", "find", "find_image", "follow_log", "get", "has_network", "is_local", "log_tail",
    "read_file", "subnets", "version", "volume_device", "with_label",
    "data", "data_root", "folder", "locks", "names", "operation", "operations", "own", "read", "read_previous",
    "read_removed", "specs",
})  # fmt: skip
# A subnet that another test was quicker to take: it changes nothing, is tried again with the next one, and would shift
# the numbers of all calls after it in this run alone.
_REFUSED: Final = ("engine", "create_network", False)
NEVER_HEALTHY: Final = {"name": "TEST_HEALTHY_AFTER_S", "value": "never"}
_SIDE_FILES: Final = ("-wal", "-shm", "-journal")

Report = Callable[[Progress], None]
Run = Callable[[App, Report], object]


class Injected(ClientManagerError):
    """The fault itself."""


def injected() -> None:
    raise Injected("injected")


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class Trap:
    """Counts the calls that change something, and springs at one of them, once.

    Attributes:
        at: the number of the call, from 1, or its name; None to count only.
        moment: "before" the call, or "after" it has taken effect.
        calls: what was called; what was done about the trap's own call too.
    """

    at: int | str | None = None
    moment: str = "before"
    spring: Callable[[], None] = injected
    calls: list[str] = field(default_factory=list)
    sprung: bool = False

    @contextmanager
    def around(self, call: str) -> Iterator[None]:
        self.calls.append(call)
        here = self.at in {len(self.calls), call} and not self.sprung
        self.sprung |= here
        if here and self.moment == "before":
            self.spring()
        yield
        if here and self.moment == "after":
            self.spring()


class _Watched:
    """A gateway, or a module of one, with a trap in it."""

    def __init__(self, target: Any, trap: Trap, name: str) -> None:
        self._target = target
        self._trap = trap
        self._name = name

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if name in READS or not callable(value):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            with self._trap.around(_label(f"{self._name}.{name}", args)):
                answer = value(*args, **kwargs)
            if (self._name, name, answer) == _REFUSED:
                self._trap.calls.pop()
            return answer

        return call


def _label(call: str, args: tuple[Any, ...]) -> str:
    steps = [argument.step for argument in args if isinstance(argument, Operation)]
    return " ".join([call, *steps])


@contextmanager
def armed(settings: Settings, trap: Trap) -> Iterator[App]:
    """Yield a console whose gateways are watched by the trap."""
    app = App(settings)
    app.__dict__["engine"] = _Watched(app.engine, trap, "engine")
    app.__dict__["files"] = _Watched(app.files, trap, "files")
    database = replace.__dict__["webui_database"]
    watched = _Watched(database, trap, "database")
    for module in (replace, ending, domain):
        module.__dict__["webui_database"] = watched
    try:
        yield app
    finally:
        for module in (replace, ending, domain):
            module.__dict__["webui_database"] = database


def committed_at(calls: list[str]) -> int:
    """Return the number of the call that makes an operation a success; beyond the last where none does."""
    mark = "files.write_operation healthy"
    return calls.index(mark) + 1 if mark in calls else len(calls) + 1


def given_up_at(calls: list[str]) -> int:
    """Return the number of the last call before the wait for health."""
    return calls.index("files.write_operation started") + 1


@dataclass(frozen=True)
class Case:
    """An operation to break: what the client shall be, and how it is made so."""

    target: ClientSpec
    run: Run


def creation(app: App, name: str, **variables: str) -> Case:
    env = tuple({"name": key, "value": value} for key, value in variables.items())
    request = CreateRequest.model_validate({"name": name, "domain": f"{name}.example.test", "env": env})
    spec = create.plan_create(app, request)
    return Case(spec, lambda app, report: create.create(app, spec, report))


def memory_change(app: App, name: str) -> Case:
    spec = app.files.read(name)
    assert spec is not None
    assert spec.memory_bytes is not None
    return _change(*change.plan_settings(app, name, ChangeRequest(memory_bytes=spec.memory_bytes + 1024**2)))


def domain_change(app: App, name: str) -> Case:
    return _change(*change.plan_domain(app, name, f"d{time.monotonic_ns()}.example.test"))


def migration_without_health(app: App, name: str, image: str) -> Case:
    """An upgrade that deletes rows and never turns healthy."""
    request = {"image": image, "env": [{"name": "TEST_MIGRATE", "value": "1"}, NEVER_HEALTHY]}
    return after_migration(app, name, _change(*change.plan_settings(app, name, ChangeRequest.model_validate(request))))


def after_migration(app: App, name: str, case: Case) -> Case:
    """The same, with a wait for health that goes on until the new container has deleted the rows."""
    database = app.files.data(name) / "webui.db"

    def run(app: App, report: Report) -> object:
        def wait_for_migration(progress: Progress) -> None:
            if progress.step.startswith("Waiting for health,"):
                until(lambda: not _rows(database, "SELECT id FROM chat"))
            report(progress)

        return case.run(app, wait_for_migration)

    return Case(case.target, run)


def change_without_health(app: App, name: str) -> Case:
    return _change(*change.plan_settings(app, name, ChangeRequest.model_validate({"env": [NEVER_HEALTHY]})))


def _change(old: ClientSpec, new: ClientSpec) -> Case:
    return Case(new, lambda app, report: change.apply_change(app, old, new, report))


def ignore(_: Progress) -> None:
    """A report to nobody."""


def run_and_be_killed(settings: Settings, case: Case, at: int) -> bool:
    """Run a case in a process that is killed before its n-th change; return False where it ended before."""

    def run() -> None:
        with armed(settings, Trap(at, spring=killed)) as app:
            case.run(app, ignore)

    exit_code = in_another_process(run)
    assert exit_code in {-signal.SIGKILL, 0}, exit_code
    return exit_code != 0


def in_another_process(run: Callable[[], object]) -> int | None:
    """Run something in a process of its own, and return its exit code."""
    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join(PATIENCE_S)
    assert not process.is_alive()
    exit_code = process.exitcode
    process.close()
    return exit_code


def seen(api: Any, root: Path, name: str) -> dict[str, object]:
    """Return all that there is of a client: in Docker, in its folder, in its database, and of operations on it."""
    containers = {
        row["Names"][0]: (row["Id"], row["State"], tuple(sorted(row["NetworkSettings"]["Networks"])))
        for row in api.containers(all=True)
        if any(name in text for text in row["Names"])
    }
    operations = root / ".client-manager" / "operations"
    return {
        "containers": containers,
        "networks": sorted((row["Name"], row["Id"]) for row in api.networks() if name in row["Name"]),
        "volumes": sorted(
            (row["Name"], row["Options"]["device"]) for row in api.volumes()["Volumes"] or () if name in row["Name"]
        ),
        "files": _files(root / name),
        "operations": sorted(path.name for path in operations.glob(f"*{name}*")),
        "database": _dump(root / name / "data" / "webui.db"),
    }


NOTHING: Final[dict[str, object]] = {
    "containers": {}, "networks": [], "volumes": [], "files": {}, "operations": [], "database": (),
}  # fmt: skip


def require_in_place(api: Any, root: Path, target: ClientSpec) -> None:
    """Check that a client is what it was to become, that it answers, and that nothing else is left."""
    now = seen(api, root, target.name)
    assert now["containers"].keys() == {f"/{target.container}"}, now["containers"]  # type: ignore[attr-defined]
    assert {path for path in _files(root / target.name) if not path.startswith("data")} == {"client.json"}
    assert now["operations"] == []
    container = api.inspect_container(target.container)
    image = api.inspect_image(target.image)["Id"]
    assert (container["State"]["Running"], container["Image"]) == (True, image)
    assert container["HostConfig"]["Memory"] == target.memory_bytes
    assert {f"{key}={value}" for key, value in target.variables().items()} <= set(container["Config"]["Env"])
    written = json.loads((root / target.name / "client.json").read_text())
    assert {**written, "image_digest": None} == {**json.loads(target.to_json()), "image_digest": None}
    assert any(json.dumps(target.env["WEBUI_URL"]) in row for row in _dump(root / target.name / "data" / "webui.db"))
    wait_healthy(target.port)


def wait_healthy(port: int | None) -> None:
    until(lambda: _status(port) == http.client.OK)


def _status(port: int | None) -> int | None:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        try:
            connection.request("GET", "/health/db")
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None


def add_chat(root: Path, name: str) -> None:
    """Give a client data of its own."""
    with closing(sqlite3.connect(root / name / "data" / "webui.db")) as connection, connection:
        connection.execute("INSERT INTO chat VALUES ('a chat of long ago')")


def _rows(database: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(database, timeout=PATIENCE_S)) as connection:
        return connection.execute(query).fetchall()


def _dump(database: Path) -> tuple[str, ...]:
    if not database.exists():
        return ()
    with closing(sqlite3.connect(database, timeout=PATIENCE_S)) as connection:
        return tuple(connection.iterdump())


def _files(folder: Path) -> dict[str, bytes]:
    """Return every file with its content; of the application's data only the name."""
    found = {}
    for path in sorted(folder.rglob("*")) if folder.exists() else ():
        if not path.name.endswith(_SIDE_FILES):
            name = str(path.relative_to(folder))
            found[name] = path.read_bytes() if path.is_file() and not name.startswith("data/") else b""
    return found


def main(settings: str, name: str) -> int:
    """Make a change that never turns healthy, as a command would, told of signals; say each step."""
    interrupts.install()
    app = App(Settings.model_validate_json(settings))
    case = change_without_health(app, name)
    try:
        case.run(app, lambda progress: print(progress.step, flush=True))  # noqa: T201  the parent reads it
    except ClientManagerError as error:
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
