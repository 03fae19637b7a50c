"""What keeps the nodes' account from reading a database, by owner and mode."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from client_manager.gateways.node_access import Account, may_enter, obstacle, owner

NOBODY = Account(65531, 65531)
ME = Account(os.geteuid(), os.getegid())
MY_GROUP = Account(65531, os.getegid())


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "root" / "acme" / "data" / "webui.db"
    path.parent.mkdir(parents=True)
    for folder in (path.parent, path.parent.parent, tmp_path / "root"):
        folder.chmod(0o750)
    path.touch()
    path.chmod(0o640)
    return path


def found(database: Path, account: Account) -> str:
    return obstacle(database, database.parents[2], account)


def test_owner_and_group_pass_and_others_do_not(database: Path) -> None:
    assert found(database, ME) == ""
    assert found(database, MY_GROUP) == ""
    assert "is closed to uid 65531, gid 65531" in found(database, NOBODY)


def test_what_is_above_the_data_root_does_not_matter(database: Path) -> None:
    database.parents[3].chmod(0o700)

    assert found(database, MY_GROUP) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda path: path.chmod(0o600), "webui.db (-rw-------"),
        (lambda path: path.with_name("webui.db-shm").touch(0o600), "webui.db-shm"),
        (lambda path: path.parent.chmod(0o700), "data (drwx------"),
        (lambda path: path.parents[2].chmod(0o700), "root (drwx------"),
        (lambda path: path.unlink(), "does not exist"),
    ],
    ids=["file", "companion", "folder", "root", "absent"],
)
def test_each_obstacle_is_named(database: Path, change: Callable[[Path], None], said: str) -> None:
    change(database)

    assert said in found(database, MY_GROUP)


def test_the_owner_is_judged_as_the_owner_even_where_others_may_more(database: Path) -> None:
    database.chmod(0o044)

    assert "may not be read" in found(database, ME)


def test_a_link_out_of_the_data_root_is_no_way_in(database: Path, tmp_path: Path) -> None:
    database.rename(tmp_path / "webui.db")
    database.symlink_to(tmp_path / "webui.db")

    assert "lies outside" in found(database, ME)


def test_a_folder_that_is_not_there_yet_is_the_consoles(tmp_path: Path) -> None:
    assert owner(tmp_path / "later") == ME
    assert may_enter(tmp_path / "later", NOBODY)
    tmp_path.chmod(0o700)
    assert not may_enter(tmp_path, NOBODY)
