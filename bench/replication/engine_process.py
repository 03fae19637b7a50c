"""Starts the engine in a fresh process and talks to it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SERVER = Path(__file__).with_name("engine_server.py")


class EngineProcess:
    """A running ``engine_server.py``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, do: str, **arguments: object) -> dict[str, Any]:
        """Have one command carried out.

        Raises:
            RuntimeError: the engine failed; its traceback is on standard error.
        """
        print(json.dumps({"do": do, **arguments}), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError(f"the engine's process ended in {do} with exit code {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def started(url: str) -> Iterator[EngineProcess]:
    """Start a process, and see to it that it is gone afterwards."""
    process = subprocess.Popen(
        [sys.executable, str(SERVER), url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield EngineProcess(process)
    finally:
        process.kill()
        process.communicate()


def prepare(url: str) -> None:
    """Make ``sync_metadata`` in an empty database."""
    with started(url) as process:
        process.ask("migrate")
