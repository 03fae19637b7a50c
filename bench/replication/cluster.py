"""The PostgreSQL of the benchmarks: Debian's 15, fixed settings, its own port and folder, thrown away afterwards."""

import os
import pwd
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

BINARIES: Final = Path("/usr/lib/postgresql/15/bin")
SETTINGS: Final = ("shared_buffers=512MB", "max_wal_size=4GB", "fsync=on", "listen_addresses=127.0.0.1")
_OWNER: Final = "postgres"  # initdb refuses root


@dataclass(frozen=True)
class Cluster:
    """A running server on the loopback interface; whoever reaches it may do anything."""

    port: int

    def url(self, database: str) -> str:
        """Return the address of one of its databases."""
        return f"postgresql://{_OWNER}@127.0.0.1:{self.port}/{database}"

    @contextmanager
    def connect(self, database: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
        """Open a connection that commits every statement."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            yield connection

    def create(self, database: str) -> None:
        """Make an empty database in place of the one of that name."""
        with self.connect("postgres") as connection:
            name = sql.Identifier(database)
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
            connection.execute(sql.SQL("CREATE DATABASE {}").format(name))

    def drop_schema(self, database: str, schema: str) -> None:
        """Remove a schema and what is in it."""
        with self.connect(database) as connection:
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))

    def checkpoint(self) -> None:
        """Write out what the contender before left behind, so that the next one does not pay for it."""
        with self.connect("postgres") as connection:
            connection.execute("CHECKPOINT")

    def wal_position(self) -> int:
        """Return how many bytes of log the server has written so far."""
        with self.connect("postgres") as connection:
            row = connection.execute("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint").fetchone()
        return int(str(row[0])) if row else 0

    def version(self) -> str:
        """Return the server's version."""
        with self.connect("postgres") as connection:
            row = connection.execute("SHOW server_version").fetchone()
        return str(row[0]) if row else "?"

    def psql(self, database: str, script: Path) -> list[str]:
        """Return the command that runs a script in one transaction, as an operator would."""
        program = str(BINARIES / "psql")
        return [program, "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-f", str(script), self.url(database)]


@contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """Make a cluster in the folder, start it, and remove it again."""
    _require()
    data = folder / "pgdata"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True)
    if os.geteuid() == 0:
        shutil.chown(data, _OWNER, _OWNER)
    initdb = ["initdb", "--data-checksums", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"]
    _run([*initdb, f"--username={_OWNER}", "-D", str(data)])
    port = _free_port()
    settings = " ".join(f"-c {one}" for one in (*SETTINGS, f"port={port}", f"unix_socket_directories={data}"))
    try:
        _run(["pg_ctl", "-D", str(data), "-w", "-l", str(data / "server.log"), "-o", settings, "start"])
        yield Cluster(port)
    finally:
        if (data / "postmaster.pid").exists():
            _run(["pg_ctl", "-D", str(data), "-w", "-m", "immediate", "stop"])
        shutil.rmtree(data, ignore_errors=True)


def _require() -> None:
    if not (BINARIES / "initdb").exists():
        sys.exit(f"{BINARIES} is missing: apt-get install postgresql-15 (Debian 12), whose server these figures are of")
    if os.geteuid() == 0:
        try:
            pwd.getpwnam(_OWNER)
        except KeyError:
            sys.exit(f"there is no user {_OWNER}, whom the server runs as: apt-get install postgresql-15")


def _run(command: list[str]) -> None:
    program = [str(BINARIES / command[0]), *command[1:]]
    if os.geteuid() == 0:
        program = ["runuser", "-u", _OWNER, "--", *program]
    # Not to a pipe: the server would inherit it, and reading it would never end.
    done = subprocess.run(program, cwd="/", stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        sys.exit(f"{command[0]} failed with exit code {done.returncode}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
