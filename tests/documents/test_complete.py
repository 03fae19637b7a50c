"""No document shows a command that no test types, and no story tells of one that no document shows."""

import re
from pathlib import Path
from typing import Final

import pytest

from tests.documents import story_of_clients, story_of_clusters
from tests.documents.commands import DOCUMENTS, Shown, shown_in

STEPS: Final = (*story_of_clients.ALL, *story_of_clusters.ALL)
_TYPED_BY_IT: Final = "the demo types it itself, and holds it to its exit code; the README has its transcript"
# What is not typed here -> why, and where it is run instead.
NOT_TYPED: Final = {
    r"make demo|client-manager demo\b.*": "tests/e2e plays it, with Docker and without",
    r"client-manager (?:[a-z]+ )+demo( .*|)|docker kill .*openwebui-demo.*": _TYPED_BY_IT,
    r"client-manager node start sync-node-a --yes": _TYPED_BY_IT,
    r"client-manager cluster restore .*/demo-[\dTZ.]+\.json --yes": _TYPED_BY_IT,
    r"make run": "tests/packaging/test_fresh_machine.py runs it; tests/e2e opens the menu",
    r"pg_dump .*": "PostgreSQL's own: it changes nothing, and nothing here reads what it makes",
    r"ln -s .*": "it writes into the path of whoever runs it",
    r"make image": "tests/integration/test_node_image.py builds it",
    r"make test": "it is what runs this",
    r"make bench.*": "it measures for minutes, and needs a quiet machine",
    r"make pictures": "tests/e2e/test_pictures.py draws them",
    r"UPDATE_MATRIX=1 make chaos": "tests/chaos runs the same; it writes docs/faults.md",
    r"client-manager --(install|show)-completion": "it changes the shell of whoever runs it",
}


def is_typed(command: Shown) -> bool:
    return command.text in {step.command for step in STEPS}


def reason(command: Shown) -> str | None:
    return next(
        (
            why
            for pattern, why in NOT_TYPED.items()
            if re.fullmatch(pattern, command.text) and (why != _TYPED_BY_IT or command.document == "README.md")
        ),
        None,
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_is_typed_or_says_why_not(document: Path) -> None:
    left = [each for each in shown_in(document) if each.is_typed and not is_typed(each) and not reason(each)]
    assert [f"{each.document}:{each.line}: {each.text}" for each in left] == []


def test_every_reason_is_for_something() -> None:
    texts = [each.text for path in DOCUMENTS for each in shown_in(path)]
    assert [pattern for pattern in NOT_TYPED if not any(re.fullmatch(pattern, text) for text in texts)] == []


def test_every_step_stands_in_a_document() -> None:
    shown = {each.text for path in DOCUMENTS for each in shown_in(path) if each.is_typed}
    assert [step.command for step in STEPS if step.command not in shown] == []


def test_the_guide_is_typed_in_its_order() -> None:
    """The stories follow the guide: what it shows twice is typed twice."""
    (guide,) = [path for path in DOCUMENTS if path.name == "guide.md"]
    typed = iter([step.command for step in STEPS])
    left = [each for each in shown_in(guide) if each.in_block and each.text not in typed]
    assert [f"{each.line}: {each.text}" for each in left] == []
