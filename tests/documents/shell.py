"""A real shell in a pseudo-terminal, at which a person types what a document shows."""

import re
import time
from collections.abc import Mapping, Sequence
from typing import Final

from tests.e2e.terminal import ENTER, Terminal

# The prompt counts the commands, and says how the one before has ended.
_PROMPT: Final = r"<\#:$?>"


class Shell(Terminal):
    """Interactive bash, wide enough that no line breaks."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        super().__init__(
            ["bash", "--norc", "--noprofile", "-i"],
            {
                **environment,
                "PS1": _PROMPT,
                "HISTFILE": "",
                "INPUTRC": "/dev/null",
                "BASH_SILENCE_DEPRECATION_WARNING": "",
            },
            columns=180,
            rows=400,
        )
        self._typed = 1
        self._ended(0, within_s=60)

    def type(self, command: str, answers: Sequence[tuple[str, str]] = (), *, within_s: float) -> int:
        """Type a command, answer what it asks, and return its exit code; the screen is then what it said.

        Args:
            command: as it is typed.
            answers: what stands on the screen, and the keys that are pressed then.
            within_s: for the whole of it, in seconds.
        """
        self._screen.reset()
        since, end = len(self.received), time.monotonic() + within_s
        self.press(command, ENTER)
        for question, keys in answers:
            self.wait_for(question, within_s=end - time.monotonic())
            self.press(keys)
        self._typed += 1
        return self._ended(since, within_s=end - time.monotonic())

    def _ended(self, since: int, *, within_s: float) -> int:
        prompt = re.compile(rf"<{self._typed}:(\d+)>".encode())
        end = time.monotonic() + within_s
        while not (found := prompt.search(self.received, since)):
            if time.monotonic() > end:
                raise AssertionError(f"The command has not ended. The screen:\n{self.screen}")
            self.look()
        return int(found[1])
