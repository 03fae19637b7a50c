"""What the documents say is what the program does."""

import re
from pathlib import Path

import pytest

from client_manager.commands import client, cluster, node, sync
from client_manager.errors import ExitCode

CHECKOUT = Path(__file__).resolve().parents[2]
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
MENU = (CHECKOUT / "docs" / "menu.md").read_text(encoding="utf-8")


NOUNS = {"client": client.app, "cluster": cluster.app, "node": node.app, "sync": sync.app}


def commands() -> set[str]:
    return {
        f"{noun} {command.name or command.callback.__name__}"
        for noun, app in NOUNS.items()
        for command in app.registered_commands
        if command.callback
    }


def test_the_table_of_exit_codes_is_the_enum() -> None:
    table = (CHECKOUT / "docs" / "exit-codes.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (\w+) \|", table, re.MULTILINE)
    assert {(int(code), name) for code, name in rows} == {(code.value, code.name) for code in ExitCode}


@pytest.mark.parametrize("command", sorted(commands()))
def test_every_command_stands_beside_its_menu_entry(command: str) -> None:
    assert re.search(rf"`{command}[ `]", MENU)


@pytest.mark.parametrize("text", [README, MENU], ids=["readme", "menu"])
def test_no_command_is_named_that_is_not_there(text: str) -> None:
    named = re.findall(rf"(?:client-manager |`)((?:{'|'.join(NOUNS)}) [a-z-]+)", text)
    assert named
    assert set(named) <= commands()


def test_the_readme_shows_pictures_that_are_there_with_what_they_show_in_words() -> None:
    pictures = re.findall(r"!\[([^\]]+)\]\(([^)]+)\)", README)
    assert {path for _, path in pictures} == {
        str(path.relative_to(CHECKOUT)) for path in (CHECKOUT / "docs" / "pictures").glob("*.svg")
    }
