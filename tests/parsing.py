"""What the program's own parser says of a command line, without anything being done."""

import shlex
from functools import cache
from typing import Any, Final

import typer.main

from client_manager.cli import app

# What stands for a value in advice -> something of its kind.
_PLACEHOLDERS: Final = {"N": "8099"}


@cache
def program() -> Any:
    """The program with every command in it, none of which does anything."""
    tree = typer.main.get_command(app)
    for command in _walk(tree):
        command.callback = _nothing
    return tree


def fault(call: str) -> str:
    """Say what is wrong with a call, as it would be typed; nothing where the parser takes it."""
    name, *words = (_PLACEHOLDERS.get(word, word) for word in shlex.split(call, comments=True))
    assert name == "client-manager", call
    try:
        program().main(words, prog_name=name, standalone_mode=False)
    except Exception as error:  # noqa: BLE001  whatever the parser raises is its verdict
        return f"{call}: {type(error).__name__} {error}"
    return ""


def _nothing(**_: object) -> None:
    """Stands in the place of every command."""


def _walk(command: Any) -> Any:
    yield command
    for below in getattr(command, "commands", {}).values():
        yield from _walk(below)
