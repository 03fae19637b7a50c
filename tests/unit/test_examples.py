"""Every command has examples in its help, and the program takes each of them as it stands there."""

from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from client_manager.cli import app
from client_manager.commands.examples import EXAMPLES, call
from tests.parsing import fault, program

CALLS = [call(words) for examples in EXAMPLES.values() for words, _ in examples]


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    below = getattr(command, "commands", None)
    if below is None:
        yield " ".join(path)
        return
    for name, each in below.items():
        yield from leaves(each, (*path, name))


def test_every_command_has_an_example() -> None:
    assert {*leaves(program()), ""} == set(EXAMPLES)


@pytest.mark.parametrize("example", CALLS)
def test_the_program_takes_every_example(example: str) -> None:
    assert fault(example) == ""


def test_every_example_is_one_of_its_command() -> None:
    strange = [
        words for command, examples in EXAMPLES.items() for words, _ in examples if not words.startswith(command)
    ]
    assert strange == []


@pytest.mark.parametrize(
    "call",
    [
        "client-manager client create acme",
        "client-manager client list --all",
        "client-manager client",
        "client-manager x",
    ],
)
def test_what_the_program_does_not_take_is_noticed(call: str) -> None:
    assert fault(call)


@pytest.mark.parametrize("command", ["client create", "cluster deregister", ""])
def test_help_shows_each_example_in_one_line_on_a_narrow_screen(command: str) -> None:
    shown = CliRunner().invoke(app, [*command.split(), "--help"], terminal_width=40).output
    lines = [line.strip() for line in shown.splitlines()]
    assert len(lines) > 10
    assert [call(words) for words, _ in EXAMPLES[command] if call(words) not in lines] == []
