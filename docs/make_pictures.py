"""Draw docs/pictures: the main menu, and the live screen of a cluster, as an 80x24 terminal shows them.

    python docs/make_pictures.py [--into FOLDER] [--image IMAGE]

A real run, by root: three clients on the local Docker engine, the embedded PostgreSQL, two nodes that replicate the
clients, and the program itself at a terminal. All of it has a folder and names of its own, and is gone at the end. What
differs from one run to the next is replaced by what ``steady`` says, so that the pictures come out the same.
"""  # noqa: INP001  a script, run by its path

import argparse
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from io import StringIO
from pathlib import Path
from typing import Any, Final

import pexpect
import pyte
from rich.console import Console
from rich.style import Style
from rich.text import Text

from client_manager.app import App
from client_manager.errors import ExitCode
from client_manager.gateways import embedded_postgres
from client_manager.models.sync import NODE_NAMES
from client_manager.settings import LOCAL_DOCKER, Settings

PICTURES: Final = Path(__file__).with_name("pictures")
CLUSTER: Final = "prod-1"
CLIENTS: Final = ("acme", "globex", "initech")
_WIDTH: Final = 80
_HEIGHT: Final = 24
_PROGRAM: Final = str(Path(sys.executable).with_name("client-manager"))
_DEADLINE_S: Final = 60
_COMMAND_S: Final = 600  # the nodes' image may have to be built
_FAINT: Final = (38, 5, 244)  # a grey, in SGR's words
_COLOURS: Final = {"default": None, "brown": "yellow"}  # pyte's names, where they are not rich's
Cells = list[tuple[str, Style]]


def main() -> int:
    """Draw both."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--into", type=Path, default=PICTURES, help="the folder to write to")
    parser.add_argument("--image", default=Settings.model_fields["image"].default, help="what the clients run")
    options = parser.parse_args()
    with ExitStack() as cleaning:
        stage = Stage(Path(cleaning.enter_context(tempfile.TemporaryDirectory(prefix="cm"))), options.image)
        stage.set_up(cleaning)
        watch = screen_of(["cluster", "watch", CLUSTER], stage.environment, stage.is_settled)
        menu = screen_of([], {**stage.environment, "CLIENT_MANAGER_DOCKER_HOST": LOCAL_DOCKER}, is_whole_menu)
    options.into.mkdir(parents=True, exist_ok=True)
    for name, title, rows in (("menu", "client-manager", menu), ("watch", "client-manager cluster watch", watch)):
        drawing = draw(replaced(rows, steady(stage)[name]), title, name)
        (options.into / f"{name}.svg").write_text(drawing, encoding="utf-8")
    return 0


def steady(stage: "Stage") -> dict[str, list[tuple[str, str]]]:
    """Return what differs from run to run, picture by picture: a pattern whose group is replaced, and by what."""
    lags = zip(CLIENTS, ("21s", "14s", "7s"), strict=True)
    return {
        "menu": [(rf"({re.escape(str(stage.settings.data_root))} *)", "/opt/openwebui")],
        "watch": [
            (r"(\d\d:\d\d:\d\d) UTC", "12:00:00"),
            (r"term (\d+)", "1767225600"),
            (r"lease (\d\.\ds)", "7.6s"),
            (r"(\d+s ago *)", f"{'1s ago':11}"),
            (r"(\d\.\ds off *)", f"{'0.0s off':10}"),
            (r"^(HOST +)", f"{'HOST':10}"),
            (rf"^({re.escape(socket.gethostname())} +)", f"{'docker-1':10}"),
            (r"^(CLIENT +)", f"{'CLIENT':9}"),
            *((rf"^({stage.named(client)} +)", f"{client:9}") for client in CLIENTS),
            *((rf"^{client} +ok +(\w+ +)", f"{lag:5}") for client, lag in lags),
        ],
    }


class Stage:
    """A folder, and names in Docker, that are this run's alone."""

    def __init__(self, folder: Path, image: str) -> None:
        self._mark = secrets.token_hex(4)
        with socket.socket() as first, socket.socket() as second:
            for each in (first, second):
                each.bind(("127.0.0.1", 0))
            ports = first.getsockname()[1], second.getsockname()[1]
        folder.chmod(0o755)  # the account of the embedded PostgreSQL passes through
        port = 31000 + secrets.randbelow(100) * 10
        self.settings = Settings(
            first_port=port,
            last_port=port + 9,
            data_root=folder / "d",
            state_dir=folder / "state",
            postgres_dir=folder / "pg",
            image=image,
            node_ports=ports,
            node_container_prefix=f"openwebui-{self._mark}-",
        )
        self.environment = {**_surroundings(folder), **_variables(self.settings)}

    def named(self, client: str) -> str:
        """Return what a client is called in Docker's one room for all."""
        return f"{client}-{self._mark}"

    def set_up(self, cleaning: ExitStack) -> None:
        """Make clients, deploy the cluster, and replicate one client after the other: by age they are in this order."""
        cleaning.callback(embedded_postgres.stop, self.settings.postgres_dir)
        for client in map(self.named, CLIENTS):
            cleaning.callback(self._remove_client, client)
            self._run("client", "create", client, "--domain", f"{client}.example", "--yes")
        cleaning.callback(self._remove_nodes)
        self._run("cluster", "deploy", CLUSTER, "--yes")
        for client in map(self.named, CLIENTS):
            self._run("sync", "register", client, "--yes")
            _wait_until(f"{client} is replicated", lambda: self._is_replicated(client))  # noqa: B023  called here

    def is_settled(self, text: str) -> bool:
        """Say whether all there is stands on the screen of the cluster, and is well."""
        clients = [rf"^{self.named(client)} +ok +\d+[sm] " for client in CLIENTS]
        nodes = [r"leader +\ds ago .* I lead, term \d", r"standby +\ds ago .* sync-node-a leads"]
        return all(re.search(each, text, re.MULTILINE) for each in [*clients, *nodes, "No job is under way."])

    def _is_replicated(self, client: str) -> bool:
        found = json.loads(self._run("sync", "status", client, "--json"))["client"]
        return bool(found["last_sync_status"] == "success")

    def _remove_client(self, client: str) -> None:
        words = ("client", "remove", client, "--confirm", client, "--delete-data")
        self._run(*words, may_end_with=ExitCode.NOT_FOUND)  # what could not be created is not there

    def _remove_nodes(self) -> None:
        engine, prefix = App(self.settings).engine, self.settings.node_container_prefix
        for node in NODE_NAMES:
            engine.remove(f"{prefix}{node}")
        engine.remove_network(f"{prefix}sync-{CLUSTER}")

    def _run(self, *words: str, may_end_with: ExitCode = ExitCode.OK) -> str:
        done = subprocess.run(  # noqa: S603  the program that is installed beside this Python
            [_PROGRAM, *words], env=self.environment, capture_output=True, text=True, timeout=_COMMAND_S, check=False
        )
        if done.returncode not in {ExitCode.OK, may_end_with}:
            raise RuntimeError(f"client-manager {' '.join(words)} ended with {done.returncode}:\n{done.stderr}")
        return done.stdout


def _surroundings(folder: Path) -> dict[str, str]:
    """Return this process's variables, but for those that change what a program shows or where it looks."""
    off = {"NO_COLOR", "COLUMNS", "LINES", "COLORTERM", "DOCKER_CONTEXT"}
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in off and not name.startswith(("CLIENT_MANAGER_", "LC_"))
    }
    places = dict.fromkeys(("DOCKER_CONFIG", "XDG_CONFIG_HOME"), str(folder))
    return {**kept, **places, "TZ": "UTC", "LC_ALL": "C.UTF-8", "TERM": "xterm-256color"}


def _variables(settings: Settings) -> dict[str, str]:
    return {
        "CLIENT_MANAGER_DATA_ROOT": str(settings.data_root),
        "CLIENT_MANAGER_STATE_DIR": str(settings.state_dir),
        "CLIENT_MANAGER_POSTGRES_DIR": str(settings.postgres_dir),
        "CLIENT_MANAGER_IMAGE": settings.image,
        "CLIENT_MANAGER_FIRST_PORT": str(settings.first_port),
        "CLIENT_MANAGER_LAST_PORT": str(settings.last_port),
        "CLIENT_MANAGER_NODE_PORTS": json.dumps(settings.node_ports),
        "CLIENT_MANAGER_NODE_CONTAINER_PREFIX": settings.node_container_prefix,
    }


def _wait_until(what: str, done: Callable[[], bool]) -> None:
    end = time.monotonic() + _DEADLINE_S
    while not done():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {_DEADLINE_S} s: {what}")
        time.sleep(0.1)


def is_whole_menu(text: str) -> bool:
    """Say whether the menu's last entry stands on the screen."""
    return "Exit" in text


class _Screen(pyte.Screen):
    """A screen that shows faint text, which pyte does not know, in grey."""

    def select_graphic_rendition(self, *attributes: int, **more: Any) -> None:  # noqa: ANN401  what pyte hands on
        faint = _FAINT if 2 in attributes and attributes[0] not in {38, 48} else ()  # noqa: PLR2004  SGR's own number
        super().select_graphic_rendition(*attributes, *faint, **more)


def screen_of(words: Sequence[str], environment: dict[str, str], is_ready: Callable[[str], bool]) -> list[Cells]:
    """Return what the program shows at a terminal as soon as that is ready and nothing more comes for a moment.

    Raises:
        RuntimeError: the program ended, or it did not become so.
    """
    screen = _Screen(_WIDTH, _HEIGHT)
    stream = pyte.ByteStream(screen)
    program = pexpect.spawn(_PROGRAM, [*words], env=environment, dimensions=(_HEIGHT, _WIDTH))
    end = time.monotonic() + _DEADLINE_S
    try:
        while time.monotonic() < end:
            try:
                stream.feed(program.read_nonblocking(65536, timeout=0.2))  # type: ignore[arg-type]  # bytes, where no encoding is set
            except pexpect.TIMEOUT:
                if is_ready("\n".join(screen.display)):
                    return [_cells(screen, line) for line in range(_HEIGHT)]
            except pexpect.EOF:
                break
    finally:
        program.close(force=True)
    raise RuntimeError("\n".join(["The picture did not come; the screen:", *screen.display]))


def _cells(screen: _Screen, line: int) -> Cells:
    return [(cell.data, _style(cell)) for cell in (screen.buffer[line][column] for column in range(_WIDTH))]


def _style(cell: Any) -> Style:  # noqa: ANN401  pyte carries no types
    colours = [f"#{name}" if re.fullmatch("[0-9a-f]{6}", name) else _COLOURS.get(name, name) for name in cell[1:3]]
    return Style(color=colours[0], bgcolor=colours[1], bold=cell.bold, reverse=cell.reverse, underline=cell.underscore)


def replaced(rows: Sequence[Cells], table: Sequence[tuple[str, str]]) -> list[Cells]:
    """Return the rows with everything replaced that differs from run to run.

    Raises:
        RuntimeError: something of it is nowhere.
    """
    rows = list(rows)
    for pattern, new in table:
        found = 0
        for index, row in enumerate(rows):
            for match in reversed(list(re.finditer(pattern, "".join(data for data, _ in row)))):
                start, end = match.span(1)
                row = [*row[:start], *((letter, row[start][1]) for letter in new), *row[end:]]  # noqa: PLW2901  grows
                found += 1
            rows[index] = row
        if not found:
            raise RuntimeError(f"Nothing in the picture matches {pattern!r}.")
    return rows


def draw(rows: Sequence[Cells], title: str, name: str) -> str:
    """Return the picture, without the empty lines at its end."""
    lines = [Text.assemble(*row, no_wrap=True) for row in rows]
    for line in lines:
        line.rstrip()
    while not lines[-1].plain:
        lines.pop()
    paper = Console(
        record=True, file=StringIO(), width=_WIDTH, color_system="truecolor", force_terminal=True, _environ={}
    )
    paper.print(*lines, sep="\n", highlight=False, markup=False, emoji=False)
    return paper.export_svg(title=title, unique_id=f"client-manager-{name}")


if __name__ == "__main__":
    sys.exit(main())
