"""How a long operation shows that it lives: a live line, plain lines, or JSON lines."""

import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from client_manager.deployment.health import Report
from client_manager.models.operation import Progress
from client_manager.views.text import plain


@contextmanager
def drawn_on(console: Console, *, as_json: bool) -> Iterator[Report]:
    """Give a long operation somewhere to report to; JSON lines go to the standard error."""
    if as_json:
        yield _report_json
    elif console.is_terminal:
        line = _LiveLine(console)
        with deaf_keyboard(), Live(line, console=console, transient=True, refresh_per_second=8):
            yield line.report
    else:
        yield _PlainLines(console).report


@contextmanager
def deaf_keyboard() -> Iterator[None]:
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
