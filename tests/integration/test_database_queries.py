"""Every query of sql/queries is understood by the migrated schema."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from client_manager import resources
from client_manager.gateways import queries
from tests.postgres import fresh_database

FILES = sorted(
    Path(file.name).stem for file in (resources.root() / "sql" / "queries").iterdir() if file.name.endswith(".sql")
)
QUERIES = [(file, name) for file in FILES for name in queries.load(file)]
_PARAMETER = re.compile(r"%\((\w+)\)s")


@pytest.fixture(scope="module")
def connection(postgres: str) -> Iterator[Any]:
    """One database for all: an explained query changes nothing."""
    with fresh_database(postgres) as url, psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize(("file", "name"), QUERIES, ids=[f"{file}.{name}" for file, name in QUERIES])
def test_the_schema_knows_what_the_query_names(connection: Any, file: str, name: str) -> None:
    """A null of every parameter suffices: names and types are checked before any row is."""
    text = queries.load(file)[name]
    parameters = dict.fromkeys(_PARAMETER.findall(text))

    plan = connection.execute(f"EXPLAIN {text}", parameters or None).fetchall()

    assert plan
