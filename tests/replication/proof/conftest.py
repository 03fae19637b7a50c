"""One client with a source that is empty yet."""

import lzma
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.replication.application import Application
from tests.replication.proof.pair import TABLES, Pair

REAL = Path(__file__).parents[3] / "src" / "client_manager" / "demo" / "webui-0.12.4.db.xz"


@pytest.fixture
def pair(tmp_path: Path, database_url: str) -> Iterator[Pair]:
    """A client, without a database yet."""
    found = Pair(tmp_path / "webui.db", tmp_path / "state", database_url)
    yield found
    found.close()


@pytest.fixture
def app(pair: Pair) -> Application:
    """Its application, in WAL mode, with some tables and rows; nothing is synced yet."""
    found = pair.application(TABLES, "journal_mode = wal")
    found.many("INSERT INTO user VALUES (?, ?, ?)", [(f"u{n}", f"name {n}", n) for n in range(20)])
    found.many(
        "INSERT INTO chat VALUES (?, ?, ?, ?, ?, ?)",
        [(f"c{n}", f"u{n % 20}", f"title {n}", f'{{"messages": [{n}, "é"]}}', n % 2, n) for n in range(300)],
    )
    found.many("INSERT INTO tag VALUES (?, ?, ?, ?)", [(f"t{n}", f"n{n}", f"u{n % 3}", "{}") for n in range(50)])
    found.many("INSERT INTO config VALUES (?, ?, 1)", [("a", "60"), ("b", "0.5"), ("c", '"text"'), ("d", "null")])
    return found


@pytest.fixture
def real(pair: Pair) -> Pair:
    """A client with a database that Open WebUI 0.12.4 has made."""
    pair.source.write_bytes(lzma.decompress(REAL.read_bytes()))
    return pair
