"""Whether the account of the sync nodes may read a file, judged by owner and mode: the nodes have no capability."""

import os
import stat
from pathlib import Path
from typing import NamedTuple

from client_manager.gateways.client_files import disk_errors

_READ = 4
_PASS = 1
# Beside the database while the application runs; the nodes read all of it.
_COMPANIONS = ("-wal", "-shm")


class Account(NamedTuple):
    """What a node runs as; no further groups."""

    uid: int
    gid: int


def obstacle(file: Path, root: Path, account: Account) -> str:
    """Return what keeps an account from reading a database below a folder that it is given; empty: nothing.

    What is above the folder does not matter: a container sees the folder as mounted.
    """
    with disk_errors(file):
        if not file.resolve().is_relative_to(root.resolve()):
            return f"{file} lies outside {root}, which is all that the nodes see"
        for folder in reversed([parent for parent in file.parents if parent.is_relative_to(root)]):
            if not _may(folder, account, _PASS):
                return f"{folder} ({_mode(folder)}) is closed to uid {account.uid}, gid {account.gid}"
        if not file.exists():
            return f"{file} does not exist"
        for path in (file, *(file.with_name(file.name + ending) for ending in _COMPANIONS)):
            if path.exists() and not _may(path, account, _READ):
                return f"{path} ({_mode(path)}) may not be read by uid {account.uid}, gid {account.gid}"
    return ""


def owner(folder: Path) -> Account:
    """Return whose a folder is, or would be if it were made now."""
    with disk_errors(folder):
        if not folder.exists():
            return Account(os.geteuid(), os.getegid())
        found = folder.stat()
    return Account(found.st_uid, found.st_gid)


def may_enter(folder: Path, account: Account) -> bool:
    """Say whether an account may pass through a folder; one that is not there yet is made so that it may."""
    with disk_errors(folder):
        return not folder.exists() or _may(folder, account, _PASS)


def _may(path: Path, account: Account, bits: int) -> bool:
    found = path.stat()
    if account.uid == found.st_uid:
        return bool(found.st_mode >> 6 & bits)
    return bool(found.st_mode >> (3 if account.gid == found.st_gid else 0) & bits)


def _mode(path: Path) -> str:
    found = path.stat()
    return f"{stat.filemode(found.st_mode)} {found.st_uid}:{found.st_gid}"
