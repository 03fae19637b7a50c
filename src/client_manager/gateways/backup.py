"""A stopped client's data, copied whole into a folder of its own and proven to be the same there."""

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from client_manager.errors import ClientManagerError, Conflict
from client_manager.gateways import host, webui_database
from client_manager.gateways.client_files import disk_errors

MANIFEST: Final = "manifest.json"
DATA: Final = "data"
_MODE: Final = 0o700
_FILE_MODE: Final = 0o600
_DATABASE_FILES: Final = frozenset(f"{webui_database.FILE}{ending}" for ending in ("", "-wal", "-shm", "-journal"))
_SPARE: Final = 64 * 1024**2

Told = Callable[[str], None]


def back_up(data: Path, target: Path, documents: Mapping[str, str], told: Told) -> int:
    """Copy a client's data into a new folder, with these documents beside it, and return how many bytes that were.

    The database is copied by SQLite and comes out as one consistent file; everything else as it is. Every file is
    flushed and read again: its hash, which is in the manifest, is that of the original. Nothing may write to the data
    meanwhile.

    Args:
        data: the client's data folder; its container is stopped.
        target: does not exist yet.
        documents: name -> text, only their owner's to read.
        told: told of each file.

    Raises:
        Conflict: the folder is there already, or lies inside the data.
        ClientManagerError: there is no room, or what was copied is not what was to be; nothing is left of it.
    """
    _require_place(data, target)
    try:
        with disk_errors(target):
            target.mkdir(mode=_MODE, parents=True)
        return _copied(data, target, documents, told)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise


def _copied(data: Path, target: Path, documents: Mapping[str, str], told: Told) -> int:
    hashes: dict[str, str] = {}
    for name, text in documents.items():
        _write(target / name, text)
        hashes[name] = _hash(target / name)
    for file in _files(data):
        told(str(file))
        relative = Path(DATA) / file
        _copy(data / file, target / relative)
        hashes[str(relative)] = _same(data / file, target / relative)
    if webui_database.copy_aside(data, target / DATA / webui_database.FILE):
        told(webui_database.FILE)
        hashes[f"{DATA}/{webui_database.FILE}"] = _sound(target / DATA / webui_database.FILE)
    _write(target / MANIFEST, json.dumps({"sha256": hashes}, indent=1, sort_keys=True) + "\n")
    for folder in (target, *(path for path in target.rglob("*") if path.is_dir())):
        _flush(folder)
    _flush(target.parent)
    return sum((target / name).stat().st_size for name in hashes)


def _require_place(data: Path, target: Path) -> None:
    if target.exists():
        raise Conflict(f"{target} is there already.", hint="Name another folder.")
    if target.resolve().is_relative_to(data.resolve()):
        raise Conflict(f"{target} lies inside the data that it is to hold.", hint="Name a folder elsewhere.")
    with disk_errors(data):
        needed = sum(path.lstat().st_size for path in data.rglob("*")) + _SPARE
    free = host.free_bytes(target.parent)
    if free < needed:
        raise ClientManagerError(
            f"{target.parent} has no room for the backup.",
            why=f"It takes {needed // 1024**2} MiB, and {free // 1024**2} MiB are free.",
            hint="Name a folder on another disk.",
        )


def _files(data: Path) -> list[Path]:
    """Return everything but the database, relative; what is neither a file nor a link is no data."""
    with disk_errors(data):
        found = (path for path in sorted(data.rglob("*")) if path.is_symlink() or path.is_file())
        return [path.relative_to(data) for path in found if str(path.relative_to(data)) not in _DATABASE_FILES]


def _copy(source: Path, target: Path) -> None:
    with disk_errors(target):
        target.parent.mkdir(mode=_MODE, parents=True, exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)
        if not target.is_symlink():
            _flush_file(target)


def _same(source: Path, target: Path) -> str:
    """Return the hash of a copy, once it is the original's."""
    hashed = _hash(target)
    if hashed != _hash(source):
        raise ClientManagerError(
            f"{target} is not what {source} is.",
            why="The copy differs, or something writes to the original.",
            hint="Check the disk, and that nothing but the client uses its data.",
        )
    return hashed


def _sound(copy: Path) -> str:
    with disk_errors(copy), closing(sqlite3.connect(f"file:{copy}?mode=ro", uri=True)) as connection:
        try:
            found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        except sqlite3.Error as error:
            found = str(error)
    if found != "ok":
        raise ClientManagerError(
            f"The client's database is damaged: {found}.",
            why="Its copy does not pass SQLite's integrity check, so it is no backup.",
            hint="Restore it from the replica with 'sync restore', or repair it with sqlite3 .recover.",
        )
    return _hash(copy)


def _hash(path: Path) -> str:
    with disk_errors(path):
        if path.is_symlink():
            return hashlib.sha256(os.fsencode(path.readlink())).hexdigest()
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, text: str) -> None:
    with disk_errors(path):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, _FILE_MODE), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())


def _flush_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
