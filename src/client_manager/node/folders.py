"""Where a client's baseline is: ``<state>/<client>/<number>``, shared by both nodes, the newest number counting.

A leader that was frozen in the middle of a run still has the lock of its folder. Its successor does not wait for it:
it begins another one, whose baseline has to be found anew, and clears the old one away when its lock is free. Nothing
rests on which folder is used: a baseline only counts where PostgreSQL names its generation and its token.
"""

import shutil
import time
from pathlib import Path
from typing import Final

from client_manager.errors import Conflict
from client_manager.gateways import client_files, lock

PATIENCE_S: Final = 2.0
_LOCK: Final = "client"  # what ``replication.baseline.Folder`` locks
_PAUSE_S: Final = 0.05


def newest(client_state: Path) -> Path | None:
    """Return the folder that was used last, or None where there is none."""
    found = _numbered(client_state)
    return found[-1] if found else None


def choose(client_state: Path, *, patience_s: float = PATIENCE_S) -> Path:
    """Return the folder for the next run, made if it is not there; the lock of the newest is waited for a while.

    Raises:
        ClientManagerError: the disk refuses.
    """
    with client_files.disk_errors(client_state):
        found = _numbered(client_state)
        if found and _becomes_free(found[-1], patience_s):
            chosen = found.pop()
        else:
            chosen = client_state / str(int(found[-1].name) + 1 if found else 1)
            client_files.make_folder(chosen)
        for old in found:
            _clear_away(old)
        return chosen


def is_free(folder: Path) -> bool:
    """Say whether nobody works in a folder."""
    return not lock.is_held(folder, _LOCK)


def _numbered(client_state: Path) -> list[Path]:
    if not client_state.exists():
        return []
    return sorted((path for path in client_state.iterdir() if path.name.isdecimal()), key=lambda path: int(path.name))


def _becomes_free(folder: Path, patience_s: float) -> bool:
    end = time.monotonic() + patience_s
    while not is_free(folder):
        if time.monotonic() >= end:
            return False
        time.sleep(_PAUSE_S)
    return True


def _clear_away(folder: Path) -> None:
    """Remove a folder that is used no more; whoever still holds it does that to the next run."""
    if not is_free(folder):
        return
    try:
        with lock.held(folder, _LOCK, "clear away"):
            shutil.rmtree(folder)
    except Conflict:  # its holder has woken up this instant; the next run looks again
        return
