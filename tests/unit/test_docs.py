"""What the documents say is what the program does."""

import re
from pathlib import Path

import pytest

from client_manager.commands import client, cluster, node, sync
from client_manager.errors import ExitCode
from client_manager.settings import Settings

CHECKOUT = Path(__file__).resolve().parents[2]
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")


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
def test_every_command_stands_in_the_readme(command: str) -> None:
    assert re.search(rf"`{command}[ `]", README)


def test_the_readme_names_no_command_that_is_not_there() -> None:
    named = re.findall(rf"(?:client-manager |`)((?:{'|'.join(NOUNS)}) [a-z-]+)", README)
    assert set(named) <= commands()


def test_the_readme_lists_every_setting() -> None:
    table = README.partition("## Settings")[2].partition("\n## ")[0]
    named = set(
        re.findall(r"`([a-z_]+)`", "".join(line.split("|")[1] for line in table.splitlines() if line.startswith("|")))
    )
    assert named == set(Settings.model_fields)
