"""A PostgreSQL server of a cluster's own, in memory, which can be stopped, killed, filled up and set back."""

import contextlib
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from pydantic import SecretStr

from client_manager.database.migrations import migrate
from client_manager.gateways.database import Database
from tests.chaos import audit

IMAGE = "postgres:15-alpine"
_PASSWORD = "test-only"
_DATABASE = "openwebui"
_SIZE_MIB = 512
_SETTINGS = (
    "fsync=off",
    "shared_buffers=64MB",
    "max_wal_size=64MB",
    "min_wal_size=32MB",
    "max_connections=60",
    "track_commit_timestamp=on",
    "timezone=Asia/Kolkata",
)


@contextmanager
def network(api: Any, name: str) -> Iterator[str]:
    """A bridge of the cluster's own; yields the first three numbers of its addresses."""
    for _ in range(20):
        prefix = f"10.{216 + secrets.randbelow(30)}.{secrets.randbelow(256)}"
        pool = {"subnet": f"{prefix}.0/24", "gateway": f"{prefix}.1"}
        try:
            api.create_network(name, driver="bridge", ipam={"Driver": "default", "Config": [_capitals(pool)]})
        except Exception as error:
            if "overlap" not in str(error).lower():
                raise
        else:
            break
    try:
        yield prefix
    finally:
        for container in api.inspect_network(name)["Containers"]:
            with contextlib.suppress(Exception):
                api.disconnect_container_from_network(container, name, force=True)
        api.remove_network(name)


def _capitals(pool: dict[str, str]) -> dict[str, str]:
    return {"Subnet": pool["subnet"], "Gateway": pool["gateway"]}


@contextmanager
def memory_folder(path: Path, size_mib: int) -> Iterator[Path]:
    """A file system in memory, so small that it can be filled up."""
    path.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_mib}m,mode=0755", "chaos", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill_up(folder: Path) -> Path:
    """Leave no byte free; returns the file that takes them."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:  # also what other writers gave back meanwhile
            file.write(bytes(max(4096, shutil.disk_usage(folder).free)))
    return filler


class Server:
    """The container, its data and its audit."""

    def __init__(self, api: Any, name: str, network_name: str, address: str, data: Path) -> None:
        self.api = api
        self.name = name
        self.address = address
        self._data = data / "pgdata"
        self._copies = Path(tempfile.mkdtemp(prefix="chaos-copies-"))
        self.folder = data
        self.audit = audit.Audit.empty()
        self._create(network_name)

    def _create(self, network_name: str) -> None:
        endpoint = self.api.create_endpoint_config(ipv4_address=self.address)
        self.api.create_container(
            IMAGE,
            ["postgres", *(part for setting in _SETTINGS for part in ("-c", setting))],
            name=self.name,
            environment={"POSTGRES_PASSWORD": _PASSWORD, "POSTGRES_DB": _DATABASE, "PGDATA": str(self._data)},
            host_config=self.api.create_host_config(binds=[f"{self.folder}:{self.folder}"], shm_size="128m"),
            networking_config=self.api.create_networking_config({network_name: endpoint}),
        )

    @property
    def url(self) -> str:
        """The superuser's."""
        return self.url_of("postgres", _PASSWORD)

    def url_of(self, role: str, password: str) -> str:
        return f"postgresql://{role}:{password}@{self.address}:5432/{_DATABASE}?sslmode=disable"

    def prepare(self) -> None:
        """Migrate, and begin to watch."""
        self.start()
        migrate(Database(SecretStr(self.url)))
        self.sql(audit.SCHEMA.read_text(encoding="utf-8"))

    def remove(self) -> None:
        self.api.remove_container(self.name, force=True, v=True)
        shutil.rmtree(self._copies)

    def start(self, deadline_s: float = 60) -> None:
        """Start, and wait until it answers."""
        self.api.start(self.name)
        end = time.monotonic() + deadline_s
        while True:
            try:
                self.sql("SELECT 1")
            except psycopg.OperationalError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """As an operator stops it: sessions are ended, files are written."""
        self.read_audit()
        self.api.stop(self.name, timeout=30)

    def kill(self) -> None:
        """All of its processes at once, by SIGKILL."""
        self.api.kill(self.name, "SIGKILL")
        self.api.wait(self.name, timeout=30)

    @property
    def runs(self) -> bool:
        return bool(self.api.inspect_container(self.name)["State"]["Running"])

    def keep_copy(self) -> None:
        """Copy the data of the stopped server."""
        shutil.rmtree(self._copies / "pgdata", ignore_errors=True)
        subprocess.run(["cp", "-a", str(self._data), str(self._copies)], check=True)
        self._kept = self.audit._read

    def put_copy_back(self) -> None:
        """Set the stopped server back to the copy."""
        shutil.rmtree(self._data)
        subprocess.run(["cp", "-a", str(self._copies / "pgdata"), str(self.folder)], check=True)
        self.audit.restored(*self._kept)

    @contextmanager
    def connect(self) -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(self.url, autocommit=True, connect_timeout=2, application_name="chaos") as connection:
            yield connection

    def sql(self, statement: str, *parameters: object) -> list[Any]:
        with self.connect() as connection:
            cursor = connection.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def read_audit(self) -> audit.Audit:
        with self.connect() as connection:
            self.audit.read(connection)
        return self.audit


@contextmanager
def running(api: Any, name: str, network_name: str, address: str, folder: Path) -> Iterator[Server]:
    """A migrated server; gone at the end."""
    with memory_folder(folder, _SIZE_MIB):
        server = Server(api, name, network_name, address, folder)
        try:
            server.prepare()
            yield server
        finally:
            server.remove()
