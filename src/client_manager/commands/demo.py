"""The command ``client-manager demo``."""

from typing import Annotated

import typer

from client_manager.commands.client import Yes
from client_manager.commands.terminal import open_session


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running, and say how to look at it.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Remove what a demo that was kept or killed left.")] = False,
    yes: Yes = False,
) -> None:
    """Show all of it at work, in a throw-away place that it removes: on Docker, or where there is none without."""
    from client_manager.demo import run
    from client_manager.errors import InvalidInput

    if keep and remove:
        raise InvalidInput("--keep and --remove contradict each other.", hint="Give one of them.")
    session = open_session(yes=yes)
    if remove:
        run.remove(session)
    else:
        run.play(session, keep=keep)
