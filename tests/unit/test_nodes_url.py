"""The URL by which nodes reach the console's database, and where that database is."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from client_manager.gateways import database_url
from client_manager.gateways.database_url import for_user, own_certificate, placed


def nodes(url: str, **options: Path) -> str:
    return for_user(SecretStr(url), "sync_node_x", SecretStr("p/w"), **options).get_secret_value()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://me:old@db.example.com:6000/app", "postgresql://sync_node_x:p%2Fw@db.example.com:6000/app"),
        ("postgres://db.example.com/app", "postgres://sync_node_x:p%2Fw@db.example.com/app"),
        (
            "postgresql://postgres.ref:old@aws-0.pooler.supabase.com:5432/postgres",
            "postgresql://sync_node_x.ref:p%2Fw@aws-0.pooler.supabase.com:5432/postgres",
        ),
        ("postgresql://first.last:old@db.example.com/app", "postgresql://sync_node_x:p%2Fw@db.example.com/app"),
        (
            "postgresql://db.example.com/app?user=me&password=old&sslmode=require",
            "postgresql://sync_node_x:p%2Fw@db.example.com/app?sslmode=require",
        ),
        (
            "postgresql://postgres:old@/postgres?host=%2Fvar%2Flib%2Fpg",
            "postgresql://sync_node_x:p%2Fw@/postgres?host=%2Fvar%2Flib%2Fpg",
        ),
    ],
)
def test_only_the_user_and_the_password_differ(url: str, expected: str) -> None:
    assert nodes(url) == expected
    read = database_url.read(SecretStr(expected)).parameters
    assert read["password"] == "p/w"


def test_the_certificate_is_named_where_the_nodes_have_it() -> None:
    url = nodes("postgresql://me@db.example.com/app?sslrootcert=/root/ca.crt", root_certificate=Path("/c/root.crt"))

    assert url.endswith("/app?sslrootcert=%2Fc%2Froot.crt")


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://127.0.0.1/x", "loopback"),
        ("postgresql://localhost:6000/x", "loopback"),
        ("postgresql://[::1]/x", "loopback"),
        ("postgresql:///x?host=/run/pg", "socket"),
        ("postgresql://10.0.0.4/x", "remote"),
        ("postgresql://db.ref.supabase.co/x", "remote"),
        ("postgresql://127.0.0.1,db.example.com/x", "remote"),
    ],
)
def test_where_a_database_is_decides_the_nodes_network(url: str, place: str) -> None:
    assert placed(database_url.read(SecretStr(url)).parameters) == place


def test_an_authority_of_ones_own_is_told_from_the_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    def certificate(url: str) -> Path | None:
        return own_certificate(database_url.read(SecretStr(url)).parameters)

    assert certificate("postgresql://db.example.com/x") is None
    assert certificate("postgresql://127.0.0.1/x") is None
    assert certificate("postgresql://db.example.com/x?sslrootcert=/etc/prod-ca.crt") == Path("/etc/prod-ca.crt")
    own = tmp_path / ".postgresql" / "root.crt"
    own.parent.mkdir()
    own.touch()
    assert certificate("postgresql://db.example.com/x") == own
