"""The console that tests print on: always the same, whatever the terminal of who runs them."""

from io import StringIO

from rich.console import Console

from client_manager.views.console import THEME


def console_on(file: StringIO, *, width: int = 80, colour: bool = False) -> Console:
    """Return a console whose output is what a person at a terminal of this width would see."""
    return Console(
        file=file,
        theme=THEME,
        markup=False,
        emoji=False,
        highlight=False,
        width=width,
        color_system="standard" if colour else None,
        force_terminal=colour,
        _environ={},
    )
