"""A person at an 80x24 terminal: keys go in, the screen is read."""

import os
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import pexpect
import pyte

ENTER, ESCAPE, CTRL_C, ERASE = "\r", "\x1b", "\x03", "\x15"


class Terminal:
    """A program in a pseudo-terminal, its screen as a person sees it."""

    def __init__(self, command: list[str], environment: Mapping[str, str]) -> None:
        self._screen = pyte.Screen(80, 24)
        self._stream = pyte.ByteStream(self._screen)
        self.received = b""
        self._program = pexpect.spawn(
            command[0],
            command[1:],
            env=os.environ | {"TERM": "xterm-256color", **environment},
            dimensions=(24, 80),
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

    def answer(self, question: str, *keys: str, within_s: float = 10) -> None:
        """Wait for a question as the last thing on the screen, then type."""
        self.wait_for(question, within_s=within_s)
        self.press(*keys)

    def wait_for(self, text: str, *, within_s: float = 10) -> None:
        """Return when the text stands on the screen."""
        deadline = time.monotonic() + within_s
        while text not in self.screen:
            if time.monotonic() > deadline:
                raise AssertionError(f"{text!r} did not come within {within_s} s. The screen:\n{self.screen}")
            self._read()

    def look(self) -> None:
        """Take in what the program has written meanwhile."""
        self._read()

    def exit_code(self, *, within_s: float = 10) -> int | None:
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
