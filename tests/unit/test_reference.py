"""The reference is what the program says of itself, and every command that a document shows is there."""

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
DOCUMENTS = (CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md")))


def load() -> ModuleType:
    specification = importlib.util.spec_from_file_location("make_reference", CHECKOUT / "docs" / "make_reference.py")
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


REFERENCE = load()
COMMANDS: dict[tuple[str, ...], Any] = REFERENCE.commands()


def shown(text: str) -> Iterator[str]:
    """Give what stands behind the program's name in code: fenced, indented, or between backquotes."""
    fenced = False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
            continue
        pieces = [line] if fenced or line.startswith("    ") else re.findall(r"`([^`]+)`", line)
        for piece in pieces:
            _, *calls = re.split(r"(?<![\w./-])client-manager(?= [a-z-])", piece)
            yield from (re.split(r" #|;", call)[0] for call in calls)


def fault(call: str) -> str:
    """Say what of a call does not exist; nothing where all of it does."""
    words = [word.strip("[]().,:;'\"") for word in re.split(r"[\s|]+", call) if word]
    words = [word for word in words if word]
    path: tuple[str, ...] = ()
    while words and (*path, words[0]) in COMMANDS:
        path = (*path, words.pop(0))
    command = COMMANDS[path]
    if hasattr(command, "commands") and not (words and words[0].startswith("-")):
        return f"no command: {call}"
    known = {"--help", "-h", *(option for each in command.params for option in (*each.opts, *each.secondary_opts))}
    unknown = [word for word in words if re.match(r"--?[a-z]", word) and word.partition("=")[0] not in known]
    return f"no such option of {' '.join(path)}: {unknown}" if unknown else ""


def test_the_reference_is_what_the_program_says() -> None:
    committed = REFERENCE.PAGE.read_text(encoding="utf-8")
    assert committed == REFERENCE.render(), "make it anew: python docs/make_reference.py"


def test_the_reference_depends_on_no_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    here = REFERENCE.render()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")
    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    assert load().render() == here


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_that_is_shown_exists_with_its_options(document: Path) -> None:
    assert [said for call in shown(document.read_text(encoding="utf-8")) if (said := fault(call))] == []


def test_commands_are_found_where_documents_show_them() -> None:
    text = "`client-manager sync pause A`\n\n    $ client-manager doctor --json  # why\n`/x/.client-manager/clusters`\n"
    assert list(shown(text)) == [" sync pause A", " doctor --json "]
    assert sum(len(list(shown(path.read_text(encoding="utf-8")))) for path in DOCUMENTS) > len(COMMANDS)


@pytest.mark.parametrize(
    "call", [" sync halt acme", " cluster", " sync pause acme --now", " sync run acme -x", " nodes"]
)
def test_what_is_not_there_is_noticed(call: str) -> None:
    assert fault(call)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_to_a_file(document: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)", document.read_text(encoding="utf-8"))
    assert [link for link in links if not (document.parent / link).is_file()] == []
