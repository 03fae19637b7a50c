"""Every command that the program advises, in whatever sentence of its own, is one that it takes."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.parsing import fault, program

SOURCES: Final = Path(__file__).resolve().parents[2] / "src" / "client_manager"
# The examples have a test of their own.
MODULES: Final = sorted(path for path in SOURCES.rglob("*.py") if path.name != "examples.py")
NOUNS: Final = "|".join(program().commands)
# What an f-string puts in: it is good for every argument that is a name.
VALUE: Final = "sync-node-a"
VERBS: Final = {"action": "start"}
# The name of the program, and no command behind it.
PROSE: Final = re.compile(rf"client-manager (on|as|{VALUE})\b|client-manager cluster bundle|client-manager sync node$")


def sentences(path: Path) -> Iterator[str]:
    """The strings of a module, its documentation left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    passed = {
        id(part)
        for node in ast.walk(tree)
        for part in (node.values if isinstance(node, ast.JoinedStr) else [getattr(node, "value", None)])
        if isinstance(node, ast.JoinedStr | ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(map(_said, node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in passed:
            yield node.value


def _said(part: ast.expr) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    assert isinstance(part, ast.FormattedValue)
    return VERBS.get(ast.unparse(part.value), VALUE)


def advised(sentence: str) -> Iterator[str]:
    """The commands that are written out: between quotes, or up to the end of the clause."""
    sentence = PROSE.sub("", sentence)
    yield from re.findall(r"(?<!\w)'(client-manager [^']+)'", sentence)
    bare = re.sub(r"(?<!\w)'[^']*'", "", sentence)
    yield from (said.strip() for said in re.findall(r"client-manager (?:[^,;:().\n]|\.(?!\s|$))+", bare))


def mentioned(sentence: str) -> Iterator[str]:
    """The commands that are named in quotes and not written out, like 'client create'."""
    return (f"client-manager {said}" for said in re.findall(rf"(?<!\w)'((?:{NOUNS}) [^']+)'", sentence))


def module_of(path: Path) -> str:
    return str(path.relative_to(SOURCES))


@pytest.mark.parametrize("path", MODULES, ids=module_of)
def test_advice_is_taken_by_the_program(path: Path) -> None:
    said = list(sentences(path))
    wrong = [found for sentence in said for call in advised(sentence) if (found := fault(call))]
    wrong += [
        found
        for sentence in said
        for call in mentioned(sentence)
        if (found := fault(call)) and "MissingParameter" not in found
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("sentence", "calls"),
    [
        ("Run client-manager database use URL, or not.", ["client-manager database use URL"]),
        ("'client-manager sync jobs' shows it.", ["client-manager sync jobs"]),
        ("Adopt it: client-manager client adopt a.b. Then go on.", ["client-manager client adopt a.b"]),
        ("Run client-manager on that host.", []),
    ],
)
def test_advice_is_found_in_a_sentence(sentence: str, calls: list[str]) -> None:
    assert list(advised(sentence)) == calls


def test_there_is_advice_to_look_at() -> None:
    found = [call for path in SOURCES.rglob("*.py") for sentence in sentences(path) for call in advised(sentence)]
    assert len(found) > 60


@pytest.mark.parametrize("sentence", ["client-manager client list shows them", "client-manager clients list"])
def test_advice_that_is_not_taken_is_noticed(sentence: str) -> None:
    assert all(fault(call) for call in advised(sentence))
    assert list(advised(sentence))
