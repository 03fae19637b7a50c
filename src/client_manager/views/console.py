"""The console that everything is printed on: data is never markup, and status is a word before it is a colour."""

from typing import IO, Final

from rich.console import Console
from rich.theme import Theme

THEME: Final = Theme(
    {
        "good": "green",
        "attention": "yellow",
        "bad": "bold red",
        "quiet": "dim",
        "heading": "bold",
    }
)


def make_console(file: IO[str] | None = None, *, stderr: bool = False) -> Console:
    """Return a console for a stream (the standard output, if none is given)."""
    return Console(file=file, stderr=stderr, theme=THEME, markup=False, emoji=False, highlight=False, soft_wrap=False)
