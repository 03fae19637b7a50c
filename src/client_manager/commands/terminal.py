"""The session of a command: the settings read, the console made, and somebody to ask if there is a terminal."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from client_manager.menu.prompts import Prompter
    from client_manager.menu.session import Session


def open_session(
    *, yes: bool = False, dry_run: bool = False, as_json: bool = False, in_menu: bool = False
) -> "Session":
    """Return a session on this process's terminal.

    Raises:
        ConfigurationError: the settings are wrong.
    """
    from client_manager.app import App
    from client_manager.menu.session import Session
    from client_manager.settings import load_settings
    from client_manager.views.console import make_console

    return Session(
        app=App(load_settings()),
        console=make_console(),
        ask=_prompter(as_json=as_json),
        yes=yes,
        dry_run=dry_run,
        as_json=as_json,
        in_menu=in_menu,
    )


def has_terminal() -> bool:
    """Say whether a person can be asked."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def _prompter(*, as_json: bool) -> "Prompter":
    from client_manager.menu import prompts

    return prompts.Questionary() if has_terminal() and not as_json else prompts.Nobody()
