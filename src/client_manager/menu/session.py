"""A sitting of one operator: what is printed, who is asked, and how a long operation shows that it lives."""

import json
import shlex
import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from client_manager.app import App
from client_manager.deployment.health import Report
from client_manager.errors import Cancelled
from client_manager.menu.prompts import Prompter
from client_manager.models.base import Model
from client_manager.models.operation import Progress
from client_manager.views.text import plain


@dataclass(frozen=True)
class Session:
    """What every action of a menu or a command needs.

    Attributes:
        yes: ordinary confirmations count as given.
        dry_run: show what would be done, and do nothing.
        as_json: results go to the standard output as JSON, progress to the standard error as JSON lines.
        in_menu: show the equivalent command after an action.
    """

    app: App
    console: Console
    ask: Prompter
    yes: bool = False
    dry_run: bool = False
    as_json: bool = False
    in_menu: bool = False

    def show(self, renderable: RenderableType) -> None:
        """Print something for a person; nothing with ``as_json``."""
        if not self.as_json:
            self.console.print(renderable)

    def say(self, text: str, style: str = "") -> None:
        """Print a line for a person, as plain text."""
        self.show(Text(plain(text), style=style))

    def result(self, **fields: Model | Sequence[Model] | object) -> None:
        """Print a result for a program; nothing without ``as_json``."""
        if self.as_json:
            print(json.dumps({name: _jsonable(value) for name, value in fields.items()}, indent=2))  # noqa: T201

    def confirm(self, question: str) -> None:
        """Return if the operator agrees.

        Raises:
            Cancelled: they do not.
            NoAnswer: nobody is there, and ``yes`` was not given.
        """
        if not self.yes and not self.ask.yes_no(question):
            raise Cancelled("Nothing was done.")

    def equivalent(self, *words: str) -> None:
        """Show the command that does what was just done in a menu."""
        if self.in_menu:
            self.show(Text.assemble(("The same as a command: ", "quiet"), shlex.join(["client-manager", *words])))

    @contextmanager
    def working(self) -> Iterator[Report]:
        """Give a long operation somewhere to report to: a live line, plain lines, or JSON lines."""
        if self.as_json:
            yield _report_json
        elif self.console.is_terminal:
            line = _LiveLine(self.console)
            live = Live(line, console=self.console, transient=True, refresh_per_second=8)
            with _deaf_keyboard(), live:
                yield line.report
        else:
            yield _PlainLines(self.console).report


@contextmanager
def _deaf_keyboard() -> Iterator[None]:
    """Neither show nor keep what is typed meanwhile: it would answer the next question. Ctrl-C still counts."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    silent = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, silent)
    try:
        yield
    finally:
        # TCSAFLUSH throws away what was typed and not read.
        termios.tcsetattr(sys.stdin, termios.TCSAFLUSH, before)


class _LiveLine:
    """The step with a spinner or a bar, and the latest detail below it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(step="")
        self._spinner = Spinner("line" if console.options.ascii_only else "dots")

    def report(self, progress: Progress) -> None:
        self._progress = progress

    def __rich__(self) -> RenderableType:
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=1)
        grid.add_column(no_wrap=True, overflow="ellipsis")
        step, fraction = plain(self._progress.step), self._progress.fraction
        if fraction is None:
            grid.add_row(self._spinner, Text(step))
        else:
            bar = Table.grid(padding=(0, 1))
            bar.add_row(Text(step), ProgressBar(total=1.0, completed=fraction, width=24), Text(f"{fraction:.0%}"))
            grid.add_row(self._spinner, bar)
        grid.add_row("", Text(plain(self._progress.detail), style="quiet", no_wrap=True, overflow="ellipsis"))
        return grid


class _PlainLines:
    """A line for each new step, for pipes and dumb terminals."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = ""

    def report(self, progress: Progress) -> None:
        step = progress.step.split(",")[0]
        if step != self._last:
            self._console.print(Text(f"- {plain(step)}"))
            self._last = step


def _report_json(progress: Progress) -> None:
    sys.stderr.write(progress.model_dump_json() + "\n")


def _jsonable(value: object) -> object:
    if isinstance(value, Model):
        return value.model_dump(mode="json")
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    return value
