"""PostgreSQL's refusals as an operator meets them, with a password that must show nowhere."""

import contextlib
import os
import socket
import threading
import traceback
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from client_manager.errors import ClientManagerError, ConfigurationError, Conflict, ExitCode, Unavailable
from client_manager.gateways.database import Database
from tests.ports import free_port

SECRET = "hunter2-planted"


def refused(url: str, *statements: str) -> ClientManagerError:
    """What the console says to a connection, or to statements on it."""
    with pytest.raises(ClientManagerError) as caught:
        _execute(url, *statements)
    error = caught.value
    shown = "".join(traceback.format_exception(error))
    assert SECRET not in f"{error.what} {error.why} {error.hint} {error.args} {shown}"
    return error


def _execute(url: str, *statements: str) -> None:
    with Database(SecretStr(url), connect_timeout_s=2).connect() as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.fixture
def place(database_url: str) -> str:
    """host:port of the server."""
    return urlsplit(database_url).netloc.rpartition("@")[2]


def test_wrong_password(place: str) -> None:
    error = refused(f"postgresql://stranger:{SECRET}@{place}/postgres")

    assert isinstance(error, Unavailable)
    assert "does not let this user in" in error.what


def test_no_such_database(database_url: str) -> None:
    error = refused(f"{database_url}x")

    assert isinstance(error, ConfigurationError)
    assert "does not exist" in error.what


def test_nobody_listens() -> None:
    port = free_port()
    error = refused(f"postgresql://u:{SECRET}@127.0.0.1:{port}/d")

    assert isinstance(error, Unavailable)
    assert f"127.0.0.1:{port}/d cannot be reached" in error.what


def test_a_host_that_never_answers() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        error = refused(f"postgresql://u:{SECRET}@127.0.0.1:{deaf.getsockname()[1]}/d")

    assert isinstance(error, Unavailable)
    assert "did not answer in time" in error.what


def test_a_host_without_an_address() -> None:
    error = refused(f"postgresql://u:{SECRET}@nobody.invalid/d")

    assert isinstance(error, Unavailable)
    assert "no address" in error.what


def test_a_server_without_tls(place: str) -> None:
    error = refused(f"postgresql://postgres:{SECRET}@{place}/postgres?sslmode=verify-full")

    assert isinstance(error, Unavailable)
    assert "sslrootcert" in error.hint


@pytest.mark.parametrize(
    ("statement", "kind", "words"),
    [
        ("SELECT * FROM nowhere.at_all", ConfigurationError, "database migrate"),
        ("SET transaction_read_only = on; CREATE TABLE public.x ()", Unavailable, "read-only"),
        ("SET LOCAL statement_timeout = 1; SELECT pg_sleep(5)", Unavailable, "took too long"),
        (f"ALTER ROLE postgres PASSWORD {SECRET}", ClientManagerError, "refused a statement"),
        (f"SELECT '{SECRET}'::int", ClientManagerError, "refused a statement"),
        (f"INSERT INTO sync_metadata.hosts (hostname) VALUES ('{SECRET}')", ClientManagerError, "refused a row"),
        ("DO $$ BEGIN RAISE SQLSTATE '53100'; END $$", Unavailable, "no room left"),
        ("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$", Conflict, "busy with the same rows"),
        ("SELECT pg_terminate_backend(pg_backend_pid())", Unavailable, "broke the connection off"),
    ],
)
def test_refused_statements(database_url: str, statement: str, kind: type[ClientManagerError], words: str) -> None:
    error = refused(database_url, statement)

    assert type(error) is kind
    assert words in f"{error.what} {error.hint}"


def test_a_row_that_is_there_already(database_url: str) -> None:
    insert = f"INSERT INTO sync_metadata.replication_state (client_name) VALUES ('{SECRET}')"
    error = refused(database_url, insert, insert)

    assert error.exit_code == ExitCode.CONFLICT


def test_another_transaction_holds_the_rows(database_url: str) -> None:
    with psycopg.connect(database_url) as holder:
        holder.execute("LOCK sync_metadata.hosts")
        error = refused(database_url, "SET lock_timeout = '10ms'", "SELECT FROM sync_metadata.hosts")

    assert isinstance(error, Conflict)


def test_a_user_without_the_right(database_url: str, place: str) -> None:
    name = "unprivileged_of_the_error_tests"
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), sql.Literal(SECRET)))
        try:
            error = refused(
                f"postgresql://{name}:{SECRET}@{place}/{urlsplit(database_url).path[1:]}",
                "SELECT FROM sync_metadata.hosts",
            )
        finally:
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))

    assert isinstance(error, Unavailable)
    assert "does not allow" in error.what


@pytest.fixture
def lost_in_the_middle(database_url: str) -> Iterator[str]:
    """A URL whose connection ends without a word once a statement says so: a server whose machine is gone."""
    target = urlsplit(database_url)
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source: Any, sink: Any) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if b"now die" in data:
                    break
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        with (
            listener,
            listener.accept()[0] as near,
            socket.create_connection((str(target.hostname), target.port)) as far,
        ):
            back = threading.Thread(target=pump, args=(far, near))
            back.start()
            pump(near, far)
            back.join()

    thread = threading.Thread(target=serve)
    thread.start()
    yield target._replace(netloc=f"postgres:{target.password}@127.0.0.1:{listener.getsockname()[1]}").geturl()
    thread.join(10)


def test_a_connection_that_breaks_in_the_middle(lost_in_the_middle: str) -> None:
    error = refused(lost_in_the_middle, "SELECT 1", "SELECT 'now die'")

    assert isinstance(error, Unavailable)
    assert "broke the connection off" in error.what


def test_a_dead_peer_is_noticed_by_the_kernel(database_url: str) -> None:
    with Database(SecretStr(database_url)).connect() as connection:
        link = socket.socket(fileno=os.dup(connection.fileno()))
        with link:
            assert link.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert link.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000
            assert link.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 20
