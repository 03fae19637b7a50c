"""Named queries, read from their files."""

import pytest

from client_manager import resources
from client_manager.gateways import queries


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The files of sql/queries, by name; empty until a test writes one."""
    files: dict[str, str] = {}
    monkeypatch.setattr(resources, "read_text", lambda *parts: files[parts[-1]])
    queries.load.cache_clear()
    return files


def test_queries_are_found_by_name_with_their_parameters(shipped: dict[str, str]) -> None:
    shipped["x.sql"] = "-- name: find_it\n-- Why.\nSELECT %(a)s;\n\n-- name: list_all\n-- Why.\nSELECT 1\n"

    found = queries.load("x")

    assert set(found) == {"find_it", "list_all"}
    assert found["find_it"].endswith("SELECT %(a)s")
    assert found["list_all"].endswith("SELECT 1")


@pytest.mark.parametrize(
    "text",
    ["-- name: a\n-- Why.\nSELECT 1\n-- name: a\n-- Why.\nSELECT 2\n", "-- name: a\n-- Why.\n;\n", "-- name: a\n"],
)
def test_a_name_twice_and_an_empty_query_are_refused(shipped: dict[str, str], text: str) -> None:
    shipped["x.sql"] = text

    with pytest.raises(ValueError, match=r"x\.sql"):
        queries.load("x")


def test_what_is_loaded_cannot_be_changed(shipped: dict[str, str]) -> None:
    shipped["x.sql"] = "-- name: a\n-- Why.\nSELECT 1\n"

    with pytest.raises(TypeError):
        queries.load("x")["a"] = "SELECT 2"  # type: ignore[index]
