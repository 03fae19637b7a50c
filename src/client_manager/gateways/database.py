"""PostgreSQL: one connection per operation, the same direct and through a pooler of sessions or of transactions."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Final

import psycopg
from psycopg.rows import TupleRow, tuple_row
from pydantic import SecretStr

from client_manager.errors import ConfigurationError
from client_manager.gateways import database_url
from client_manager.gateways.database_errors import translated

# A peer that is gone is noticed after a minute: without these, after hours (tcp(7)). The user timeout also counts
# while a server does not read, so it must be longer than a checkpoint may stall a COPY.
_DEAD_PEER: Final = {
    "keepalives": 1,
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 4,
    "tcp_user_timeout": 60_000,
}


class Database:
    """A PostgreSQL database; its URL is shown nowhere."""

    def __init__(
        self, url: SecretStr | Path, *, connect_timeout_s: float = 10, application_name: str = "client-manager"
    ) -> None:
        """Read the URL; a file that holds it is read again for every connection: a new password needs no restart.

        Raises:
            ConfigurationError: it is not one; says what is wrong without repeating any of it.
        """
        self._url = url
        self._common = {
            "connect_timeout": ceil(connect_timeout_s),
            "application_name": application_name,
            "client_encoding": "UTF8",
            **_DEAD_PEER,
        }
        self.name = self._address().name

    def _address(self) -> database_url.Address:
        url = self._url if isinstance(self._url, SecretStr) else SecretStr(_read(self._url))
        return database_url.read(url)

    @property
    def parameters(self) -> Mapping[str, object]:
        """What libpq is given; holds the password."""
        if isinstance(self._url, SecretStr):
            return self._fixed
        return {**self._common, **self._address().parameters}

    @cached_property
    def _fixed(self) -> Mapping[str, object]:
        return {**self._common, **self._address().parameters}

    def for_user(self, user: str, password: SecretStr, root_certificate: Path | None = None) -> SecretStr:
        """Return the URL by which another user reaches the same database."""
        url = self._url if isinstance(self._url, SecretStr) else SecretStr(_read(self._url))
        return database_url.for_user(url, user, password, root_certificate=root_certificate)

    def __repr__(self) -> str:
        return f"Database({self.name})"

    def hurried(self, timeout_s: float) -> "Database":
        """Return the same database, whose silence is not waited for: neither at connecting nor by the network."""
        hurried = Database(self._url, connect_timeout_s=timeout_s)
        hurried._common = {
            **self._common,
            "connect_timeout": ceil(timeout_s),
            "keepalives_idle": ceil(timeout_s),
            "keepalives_interval": 1,
            "keepalives_count": 2,
            "tcp_user_timeout": ceil(timeout_s * 1000),
        }
        return hurried

    @contextmanager
    def connect(self) -> Iterator[psycopg.Connection[TupleRow]]:
        """Open a connection for one operation, and close it.

        Every statement outside ``connection.transaction()`` commits by itself. Nothing may rest on the session, which
        a transaction pooler changes between transactions: settings are made with ``SET LOCAL``, locks with
        ``pg_advisory_xact_lock``.

        Raises:
            ClientManagerError: as ``mapped_errors`` says, from connecting and from the body.
        """
        with mapped_errors(self.name):
            connection = psycopg.Connection.connect(
                autocommit=True,
                prepare_threshold=None,
                row_factory=tuple_row,
                **self.parameters,  # type: ignore[arg-type]  # libpq's names are not psycopg's to check
            )
            with closing(connection):
                yield connection


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"The database's URL cannot be read from {path}.",
            why=error.strerror or type(error).__name__ if isinstance(error, OSError) else "It is no text.",
            hint="Deploy the cluster again: client-manager cluster deploy NAME.",
        ) from error


@contextmanager
def mapped_errors(where: str) -> Iterator[None]:
    """Turn psycopg's errors into the console's own, without what may be a secret in them.

    Args:
        where: the database as ``Database.name`` gives it.

    Raises:
        Unavailable: there is no server, it does not let us in, or it is too busy.
        Conflict: another transaction was in the way; the same may be tried again.
        ConfigurationError: the database, or something in it that the program needs, does not exist.
        ClientManagerError: anything else that the server refused.
    """
    try:
        yield
    except psycopg.Error as error:
        mapped = translated(where, error)
    else:
        return
    raise mapped from None
