"""Every command about clients that a document shows does what the document says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.documents import story_of_clients as story
from tests.documents.desk import Desk, seated, take
from tests.e2e.terminal import ESCAPE

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def desk(docker_api: Any, app_image: str, tmp_path: Path) -> Iterator[Desk]:
    del app_image
    with seated(Desk(tmp_path, docker_api)) as desk:
        yield desk


def test_what_the_documents_say_of_clients_is_so(desk: Desk) -> None:
    for step in story.ALL:
        take(desk, step)


def test_esc_at_a_commands_question_ends_it(desk: Desk) -> None:
    command = desk.here("client-manager client create acme --domain chat.acme.example")

    assert desk.shell.type(command, (("(y/N)", ESCAPE),), within_s=20) == 130
    assert "bug" not in desk.output
    assert desk.container() is None
