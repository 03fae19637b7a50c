"""The demo as a child of a test: in a place of the test's own, of which nothing may be left."""

import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

NOWHERE = "unix:///nowhere/docker.sock"
DEFAULT = "/var/lib/client-manager"


@dataclass(frozen=True)
class Ground:
    """Where a test's demo lives: a path as long as the default one, so that lines are folded in the same places."""

    above: Path
    was_there: bool = False

    @property
    def folder(self) -> Path:
        return self.above / "demo"

    def environment(self, **variables: str) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith(("CLIENT_MANAGER_", "DOCKER_"))}
        return {**own, "CLIENT_MANAGER_POSTGRES_DIR": str(self.above / "postgres"), **variables}

    def run(self, *options: str, within_s: float = 240, **variables: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "client_manager", "demo", *options],
            env=self.environment(**variables), capture_output=True, text=True, timeout=within_s,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip

    def processes(self) -> list[str]:
        """The command lines of everything that runs on files of the demo's, or works among them."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                line = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                works_in = (path / "cwd").readlink()
            except OSError:  # it has ended meanwhile
                continue
            if f"{self.folder}/" in line or works_in.is_relative_to(self.folder):
                found.append(line)
        return found

    def assert_nothing_left(self) -> None:
        """No process, no folder, nor the one above where the demo has made it."""
        assert self.processes() == []
        assert not self.folder.exists()
        assert list(self.above.parent.glob(self.above.name)) == ([self.above] if self.was_there else [])


@contextmanager
def ground(*, was_there: bool = False) -> Iterator[Ground]:
    """A place that every account may enter, as the embedded PostgreSQL's needs it; cleared whatever happens."""
    root = Path(tempfile.gettempdir())  # the embedded PostgreSQL may not enter pytest's folders
    above = root / secrets.token_hex(16)[: max(8, len(DEFAULT) - len(f"{root}/"))]
    if was_there:
        above.mkdir(mode=0o755)
    made = Ground(above, was_there)
    try:
        yield made
    finally:
        if made.folder.exists():
            made.run("--remove", within_s=120)
        if above.exists():
            shutil.rmtree(above)


class Playing:
    """A demo under way, and every line that it has said."""

    def __init__(self, ground: Ground, *options: str, **variables: str) -> None:
        self.lines: list[str] = []
        self._said = threading.Condition()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "client_manager", "demo", "--yes", *options],
            env=ground.environment(**variables), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            with self._said:
                self.lines.append(line.rstrip("\n"))
                self._said.notify_all()
        with self._said:
            self.lines.append("(the end)")
            self._said.notify_all()

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def until(self, pattern: str, *, within_s: float = 240) -> None:
        """Return when it has said so."""
        with self._said:
            assert self._said.wait_for(lambda: re.search(pattern, self.text) or "(the end)" in self.lines, within_s)
        assert re.search(pattern, self.text), self.text

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def code(self, *, within_s: float = 240) -> int:
        code = self._process.wait(within_s)
        self._reader.join(10)
        return code

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(30)
        self._reader.join(30)
        assert self._process.stdout
        self._process.stdout.close()


@contextmanager
def playing(ground: Ground, *options: str, **variables: str) -> Iterator[Playing]:
    """Play the demo; it is gone at the end."""
    played = Playing(ground, *options, **variables)
    try:
        yield played
    finally:
        played.close()


def gone(ground: Ground, text: str, *, within_s: float = 120) -> bool:
    """Wait until no process of the demo's has this in its command line."""
    end = time.monotonic() + within_s
    while any(text in line for line in ground.processes()):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
