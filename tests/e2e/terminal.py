"""A person at an 80x24 terminal: keys go in, the screen is read."""

import os
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import pexpect
import pyte

ENTER, ESCAPE, CTRL_C, ERASE, DOWN = "\r", "\x1b", "\x03", "\x15", "\x1b[B"


class Terminal:
    """A program in a pseudo-terminal, its screen as a person sees it."""

    def __init__(
        self, command: list[str], environment: Mapping[str, str], *, columns: int = 80, rows: int = 24
    ) -> None:
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self.received = b""
        self._program = pexpect.spawn(
            command[0],
            command[1:],
            env=os.environ | {"TERM": "xterm-256color", **environment},
            dimensions=(rows, columns),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._program.close(force=True)

    @property
    def screen(self) -> str:
        """What is on the screen now."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip()

    def press(self, *keys: str) -> None:
        """Type keys."""
        for key in keys:
            self._program.send(key)

    def answer(self, question: str, *keys: str, within_s: float = 60) -> None:
        """Wait for a question as the last thing on the screen, then type."""
        self.wait_for(question, within_s=within_s)
        self.press(*keys)

    def choose(self, question: str, label: str, *, within_s: float = 60) -> None:
        """Wait for a list, move down to the entry that has this in its label, wherever it stands, and take it."""
        self.wait_for(question, within_s=within_s)
        first = pointed = self._pointed(within_s)
        while label not in pointed:
            self.press(DOWN)
            pointed = self._pointed(within_s, other_than=pointed)
            assert pointed != first, f"{label} is not among the choices. The screen:\n{self.screen}"
        self.press(ENTER)

    def _pointed(self, within_s: float, *, other_than: str = "") -> str:
        """Return the line that the pointer comes to stand at."""
        deadline = time.monotonic() + within_s
        while True:
            pointed = next((line for line in self.screen.splitlines() if line.lstrip().startswith("»")), other_than)
            if pointed != other_than:
                return pointed
            if time.monotonic() > deadline:
                raise AssertionError(f"The pointer did not move within {within_s} s. The screen:\n{self.screen}")
            self._read()

    def wait_for(self, *texts: str, within_s: float = 60) -> str:
        """Return the first of these texts that stands on the screen, when one does."""
        deadline = time.monotonic() + within_s
        while not (found := [text for text in texts if text in self.screen]):
            if time.monotonic() > deadline:
                raise AssertionError(f"{texts} did not come within {within_s} s. The screen:\n{self.screen}")
            self._read()
        return found[0]

    def look(self) -> None:
        """Take in what the program has written meanwhile."""
        self._read()

    def exit_code(self, *, within_s: float = 60) -> int | None:
        """Return the program's exit code once it has ended."""
        deadline = time.monotonic() + within_s
        while self._program.isalive():
            if time.monotonic() > deadline:
                raise AssertionError(f"The program has not ended. The screen:\n{self.screen}")
            self._read()
        code: int | None = self._program.exitstatus
        return code

    def _read(self) -> None:
        try:
            received: bytes = self._program.read_nonblocking(65536, timeout=0.1)  # type: ignore[assignment]
            self.received += received
            self._stream.feed(received)
        except pexpect.TIMEOUT:
            return
        except pexpect.EOF:
            return
