"""A terminal, and an operator at it who presses real keys."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from io import StringIO
from typing import Final, TypeVar

import pyte
import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output.vt100 import Vt100_Output

from client_manager.menu.prompts import Option, Questionary

T = TypeVar("T")

UP: Final = "\x1b[A"
DOWN: Final = "\x1b[B"
ESC: Final = "\x1b"
ENTER: Final = "\r"
CTRL_C: Final = "\x03"
CTRL_D: Final = "\x04"
CLEAR: Final = "\x15"  # Ctrl-U deletes what stands in the line, a default too


@dataclass
class Terminal:
    """What is pressed, and what is seen for it."""

    keyboard: PipeInput
    written: StringIO

    def press(self, *keys: str) -> None:
        self.keyboard.send_text("".join(keys))

    def hang_up(self) -> None:
        self.keyboard.close()

    @property
    def screen(self) -> str:
        """Everything as it stands after all was written, on a screen that is long enough."""
        screen = pyte.Screen(80, 200)
        pyte.Stream(screen).feed(self.written.getvalue())
        return "\n".join(line.rstrip() for line in screen.display).rstrip()


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    written = StringIO()
    output = Vt100_Output(written, lambda: Size(rows=200, columns=80), term="xterm", enable_cpr=False)
    with create_pipe_input() as keyboard, create_app_session(input=keyboard, output=output):
        yield Terminal(keyboard, written)


@dataclass(frozen=True)
class Pick:
    """Choose the option whose label begins so, by the keys that lead to it."""

    label: str

    def keys(self, options: Sequence[Option[object]]) -> str:
        labels = [option.label for option in options]
        place = next((place for place, label in enumerate(labels) if label.startswith(self.label)), None)
        assert place is not None, f"{self.label} is not among {labels}"
        key = options[place].key
        return f"{key or DOWN * place}{ENTER}"


Answer = str | Pick


@dataclass
class Operator(Questionary):
    """Answers each question, when it comes, with the next keys of a script; fails where the script has ended.

    Attributes:
        asked: the questions so far.
        offered: what the latest choice was among.
        choices: the labels of every choice so far.
    """

    terminal: Terminal
    script: list[Answer]
    asked: list[str] = field(default_factory=list)
    offered: Sequence[Option[object]] = ()
    choices: list[list[str]] = field(default_factory=list)

    def choose(self, message: str, options: Sequence[Option[T]], *, is_first: bool = False) -> T:
        self.offered = options
        self.choices.append([option.label for option in options])
        self._answer(message, options)
        return super().choose(message, options, is_first=is_first)

    def text(self, message: str, parse: Callable[[str], T], *, default: str = "") -> T:
        self._answer(message)
        return super().text(message, parse, default=default)

    def secret(self, message: str) -> str:
        self._answer(message)
        return super().secret(message)

    def yes_no(self, message: str) -> bool:
        self._answer(message)
        return super().yes_no(message)

    def type_name(self, message: str, name: str, *, option: str = "--confirm") -> None:
        self._answer(message)
        super().type_name(message, name, option=option)

    def _answer(self, message: str, options: Sequence[Option[object]] = ()) -> None:
        self.asked.append(message)
        assert self.script, f"nobody answers {message!r}, asked after {self.asked[:-1]}"
        answer = self.script.pop(0)
        self.terminal.press(answer if isinstance(answer, str) else answer.keys(options))
