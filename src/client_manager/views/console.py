"""The console that everything is printed on: data is never markup, and status is a word before it is a colour."""

from typing import IO, Final

from rich.console import Console
from rich.theme import Theme

# What is folded there can be neither searched for nor copied.
_OF_A_PIPE: Final = 10_000
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
    console = Console(
        file=file, stderr=stderr, theme=THEME, markup=False, emoji=False, highlight=False, soft_wrap=False
    )
    if not console.is_terminal:
        console.width = _OF_A_PIPE
    return console
