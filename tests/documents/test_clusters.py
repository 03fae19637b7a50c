"""Every command about clusters, replication and databases that a document shows does what the document says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.documents import story_of_clusters as story
from tests.documents.desk import Desk, seated, take
from tests.postgres import fresh_database

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def desk(docker_api: Any, app_image: str, node_image: str, postgres: str, tmp_path: Path) -> Iterator[Desk]:
    """At a machine with nothing on it, whose database is to be one with nothing in it."""
    del app_image
    mark = ""
    try:
        with (
            fresh_database(postgres, template="template1") as url,
            fresh_database(postgres, template="template1") as another,
        ):
            desk = Desk(tmp_path, docker_api, node_image, url, means={"ANOTHER-URL": another})
            mark = desk.mark
            with seated(desk):
                yield desk
    finally:
        _drop_roles(postgres, mark)


def _drop_roles(url: str, mark: str) -> None:
    """Roles are the server's: what the databases held of them is gone with those."""
    with psycopg.connect(url, autocommit=True) as admin:
        for (role,) in admin.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE %s", [f"%{mark}"]).fetchall():
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def test_what_the_documents_say_of_clusters_is_so(desk: Desk) -> None:
    for step in story.ALL:
        take(desk, step)
