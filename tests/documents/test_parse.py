"""The program's own parser takes every command that a document shows, also those that are not typed in a test."""

import re
import shlex
from typing import Final

import pytest

from tests import parsing
from tests.documents.commands import DOCUMENTS, Shown, shown, shown_in

# What stands for the reader's own in a shape, and something of its kind.
_MEANT: Final = {"N": "60", "S": "60", "C": "1.5", "M": "1g", "K=V": "K=V", "I": "image:v1", "NODE": "sync-node-a"}
# The parser itself carries it out, and writes to the shell's files of whoever runs the tests.
_DONE_WHILE_PARSED: Final = "--install-completion"
ALL: Final = [
    each for path in DOCUMENTS for each in shown_in(path) if each.is_ours and _DONE_WHILE_PARSED not in each.words
]


def written_out(shape: str) -> list[str]:
    """Return one command of the shape: everything optional is there, and of several words the first."""
    words = shape.replace("\\|", "|").replace("[", " ").replace("]", " ").replace("...", " ").split()[1:]
    return [_MEANT.get(word, word).partition("|")[0] for word in words]


def fault(command: Shown) -> str:
    """Say why the parser refuses a command; nothing where it does not."""
    words = written_out(command.text) if command.is_shape else command.words[1:]
    words = [*words, "--help"] if command.is_mention else words
    said = parsing.fault(shlex.join(["client-manager", *words]))
    return f"{command.document}:{command.line}: {said}" if said else ""


@pytest.mark.parametrize("document", sorted({each.document for each in ALL}))
def test_the_parser_takes_every_command(document: str) -> None:
    assert [said for each in ALL if each.document == document and (said := fault(each))] == []


@pytest.mark.parametrize(
    "text",
    [
        "sync pause",
        "sync pause acme --now",
        "sync halt acme",
        "client set acme --cpus many",
        "node restart sync-node-c",
        "sync register acme --interval 9",
    ],
)
def test_what_the_parser_refuses_is_noticed(text: str) -> None:
    assert fault(Shown("x.md", 1, f"client-manager {text}", in_block=True))


def test_commands_are_found_where_documents_show_them() -> None:
    text = """\
Look: `client-manager doctor`, or `sync pause CLIENT [--cancel]`; `/x/.client-manager/y` is none.

    client-manager client list     # why
    a drawing of client-manager

1. In a list:

       UPDATE=1 make chaos

```
$ client-manager client show acme
client-manager says nothing
$ docker ps
```
"""
    assert [(each.text, each.in_block) for each in shown("x.md", text)] == [
        ("client-manager doctor", False),
        ("client-manager sync pause CLIENT [--cancel]", False),
        ("client-manager client list", True),
        ("UPDATE=1 make chaos", True),
        ("client-manager client show acme", True),
        ("docker ps", True),
    ]


def test_no_command_of_the_program_is_left_out() -> None:
    """What a document names with all its words is among the commands that are found."""
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        named = {match.strip() for match in re.findall(r"(?m)^\s+(?:\$ )?client-manager [a-z-]+ [a-z-]+", text)}
        found = {each.text for each in shown_in(path)}
        assert [each for each in named if not any(each.removeprefix("$ ") in text for text in found)] == []
