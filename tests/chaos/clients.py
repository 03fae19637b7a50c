"""Two tenants whose applications never stop writing, except to be compared."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.replication.proof import fuzz_writer

_COMMITS_A_SECOND = 4


@dataclass
class Client:
    """A tenant: its database, and the process that writes to it."""

    name: str
    path: Path
    seed: int
    committed: int = 0
    _writer: subprocess.Popen[str] | None = field(default=None, repr=False)

    def begin_writing(self) -> None:
        """Begin if that has not begun yet, and return when the first transactions are in."""
        if self._writer is not None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.seed += 1
        self._writer = subprocess.Popen(
            [sys.executable, fuzz_writer.__file__, str(self.path), str(self.seed), str(_COMMITS_A_SECOND)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._writer.stdout
        assert self._writer.stdout.readline() == "ready\n", f"the writer of {self.name} did not begin"

    def end_writing(self) -> None:
        """Let the writer end, and count what it has done."""
        if self._writer is None:
            return
        said, _ = self._writer.communicate(timeout=30)
        assert self._writer.returncode == 0, f"the writer of {self.name} failed"
        self.committed += json.loads(said)["COMMIT"]
        self._writer = None

    def kill_writer(self) -> None:
        if self._writer is not None:
            self._writer.kill()
            self._writer.communicate()
            self._writer = None
