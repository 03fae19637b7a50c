"""One operator at a time: locks that a crash cannot leave behind."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TextIO

from client_manager.errors import Conflict
from client_manager.gateways import client_files, host

_TRIES: Final = 5
_PAUSE_S: Final = 0.02


@contextmanager
def held(folder: Path, name: str, action: str) -> Iterator[None]:
    """Hold the lock ``name`` while the body runs; the kernel drops it when the process ends, however it ends.

    The file is never deleted: a lock on a deleted file excludes nobody.

    Raises:
        Conflict: somebody else holds it; says who, what for and since when.
    """
    client_files.make_folder(folder)
    with _opened(folder / f"{name}.lock") as file:
        if not _taken(file):
            raise Conflict(
                f"Another operator is at work on {name}.",
                why=_holder(file.name),
                hint="Wait until that is finished, then try again.",
            )
        _sign(file, action)
        yield
        file.truncate(0)


def _opened(path: Path) -> TextIO:
    with client_files.disk_errors(path):
        return path.open("a+", encoding="utf-8")


def _taken(file: TextIO) -> bool:
    """Take the lock; ``is_held`` has it for an instant when it looks, so one refusal is not the last word."""
    for _ in range(_TRIES):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE_S)
        else:
            return True
    return False


def _sign(file: TextIO, action: str) -> None:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    holder = {"operator": host.operator(), "action": action, "pid": os.getpid(), "since": since}
    with client_files.disk_errors(Path(file.name)):
        file.truncate(0)
        os.write(file.fileno(), json.dumps(holder).encode())


def is_held(folder: Path, name: str) -> bool:
    """Say whether somebody is at work on ``name`` now."""
    path = folder / f"{name}.lock"
    with client_files.disk_errors(path):
        if not path.exists():
            return False
        with path.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    return False


def _holder(path: str) -> str:
    try:
        holder = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError:
        return "The holder has not said who it is."
    return f"{holder['action']} by {holder['operator']}, process {holder['pid']}, since {holder['since']}."
