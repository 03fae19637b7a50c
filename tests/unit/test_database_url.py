"""A database's URL: what is shown of it, what libpq is given, and that a password in it is never repeated."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from client_manager.errors import ConfigurationError
from client_manager.gateways import database_url
from client_manager.gateways.database import Database

SECRET = "hunter2"


def parameters(url: str) -> dict[str, object]:
    return dict(database_url.read(SecretStr(url)).parameters)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (f"postgresql://u:{SECRET}@db.example.com/app", "db.example.com:5432/app"),
        (f"postgres://u:{SECRET}@db.example.com:6543/app?sslmode=require", "db.example.com:6543/app"),
        (f"postgresql://u:{SECRET}@[::1]:5433/app", "[::1]:5433/app"),
        (f"postgresql://u:{SECRET}@/app?host=%2Frun%2Fpg", "/run/pg/app"),
        (f"postgresql://u:{SECRET}@a,b:5433/app", "a:5432,b:5433/app"),
        (f"postgresql://u@h/app?password={SECRET}", "h:5432/app"),
        (f"postgresql://u:p%40{SECRET}@h/app", "h:5432/app"),
        (f"postgresql://u:{SECRET}@h", "h:5432"),
    ],
)
def test_the_name_is_where_the_database_is_and_never_who_logs_in(url: str, name: str) -> None:
    database = Database(SecretStr(url))

    assert database.name == name
    assert SECRET not in f"{database!r} {database}"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:{SECRET} x@h/app",
        f"postgresql://u:{SECRET}@{SECRET}@h/app",
        f"postgresql://u:{SECRET}/{SECRET}@h/app",
        f"postgresql://u:{SECRET}%zz@h/app",
        f"postgresql://u:x@h:{SECRET}/app",
        f"postgresql://u:x@h/app?{SECRET}",
        f"postgresql://u:x@h/app?nonsense={SECRET}",
        f"postgresql://u:{SECRET}@[::1/app",
        f"host=h password={SECRET}",
        SECRET,
        "",
    ],
)
def test_what_libpq_cannot_read_is_refused_without_a_part_of_it(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Database(SecretStr(url))

    assert SECRET not in f"{caught.value.what} {caught.value.why} {caught.value.hint}"
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://h.example.com/app",
        "postgresql://192.0.2.7/app",
        "postgresql://localhost.example.com/app",
        "postgresql://localhost,h.example.com/app",
        "postgresql://localhost/app?hostaddr=192.0.2.7",
        "postgresql:///app?service=x",
        "postgresql://172.17.0.2/app",
    ],
)
def test_a_remote_server_must_prove_who_it_is(url: str) -> None:
    assert parameters(url)["sslmode"] == "verify-full"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://localhost/app",
        "postgresql://127.0.0.9/app",
        "postgresql://[::1]/app",
        "postgresql:///app",
        "postgresql:///app?host=/run/pg",
        "postgresql://h.example.com/app?hostaddr=127.0.0.1",
    ],
)
def test_a_server_on_this_machine_need_not(url: str) -> None:
    assert "sslmode" not in parameters(url)


def test_a_host_of_the_environment_is_remote_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "h.example.com")

    assert parameters("postgresql:///app")["sslmode"] == "verify-full"


def test_what_the_url_says_of_tls_stands() -> None:
    assert parameters("postgresql://h.example.com/app?sslmode=require") == {
        "host": "h.example.com",
        "dbname": "app",
        "sslmode": "require",
    }


@pytest.mark.parametrize("url", ["postgresql://h.example.com/app", "postgresql://h.example.com/app?sslrootcert=system"])
def test_the_roots_are_a_file_of_this_machine(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """libpq's ``system`` is where psycopg's wheel was built, which is no place here."""
    bundle = tmp_path / "roots.pem"
    bundle.touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    monkeypatch.setenv("HOME", str(tmp_path))

    assert parameters(url)["sslrootcert"] == str(bundle)


def test_roots_that_are_named_or_in_libpqs_own_place_stand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert parameters("postgresql://h.example.com/app?sslrootcert=/my.crt")["sslrootcert"] == "/my.crt"
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".postgresql").mkdir()
    (tmp_path / ".postgresql" / "root.crt").touch()
    assert "sslrootcert" not in parameters("postgresql://h.example.com/app")
