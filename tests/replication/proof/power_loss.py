"""What a folder may hold after the power was lost.

The model: a file holds what its last fsync saw, what was written since, or, block by block, either; a new, renamed or
deleted name is sure after an fsync of the folder, and of those since then a beginning has happened, in their order
(POSIX fsync; what ext4 and XFS do with their journals). The Python calls that a run makes are watched for it.
"""

import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BLOCK = 4096
_NAME = ".after-power-loss"


@dataclass(frozen=True)
class Content:
    data: bytes
    changed_ns: int


class Disk:
    """Watches one folder from now on; everything that is in it is on the disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._sure: dict[int, Content] = {}
        self._last: dict[int, Content] = {}
        self._files: dict[int, Any] = {}
        self._names: list[dict[str, int]] = [{}]
        self._look()
        self._sure = dict(self._last)
        self._names = self._names[-1:]
        self._fsync = os.fsync
        setattr(os, "fsync", self._on_fsync)  # noqa: B010  mypy knows fsync's own signature
        for name in ("rename", "replace", "unlink"):
            setattr(os, name, self._watched(getattr(os, name)))

    def _watched(self, call: Any) -> Any:
        def watched(*arguments: Any, **options: Any) -> Any:
            self._look()
            try:
                return call(*arguments, **options)
            finally:
                self._look()

        return watched

    def _look(self) -> None:
        """Remember the names as they are, and the content of every file while it has a name."""
        names: dict[str, int] = {}
        if self.folder.exists():
            for path in self.folder.iterdir():
                found = path.stat()
                names[path.name] = found.st_ino
                self._last[found.st_ino] = Content(path.read_bytes(), found.st_mtime_ns)
        if names != self._names[-1]:
            self._names.append(names)

    def _on_fsync(self, descriptor: int) -> None:
        self._fsync(descriptor)
        self._look()
        found = os.fstat(descriptor)
        if found.st_ino in self._last:
            self._sure[found.st_ino] = self._last[found.st_ino]
        elif self.folder.exists() and found.st_ino == self.folder.stat().st_ino:
            self._names = self._names[-1:]

    def write_what_is_left(self, draw: random.Random) -> None:
        """Write beside the folder one of the states that it may be in."""
        self._look()
        target = Path(f"{self.folder}{_NAME}")
        target.mkdir(mode=0o700)
        for name, number in draw.choice(self._names).items():
            content = self._one_of(number, draw)
            path = target / name
            path.write_bytes(content.data)
            os.utime(path, ns=(content.changed_ns, content.changed_ns))

    def _one_of(self, number: int, draw: random.Random) -> Content:
        now = self._last[number]
        sure = self._sure.get(number, Content(b"", now.changed_ns))
        changed = draw.choice((sure, now)).changed_ns
        match draw.randrange(3):
            case 0:
                return Content(sure.data, changed)
            case 1:
                return Content(now.data, changed)
            case _:
                return Content(_mixed(sure.data, now.data, draw), changed)


def _mixed(old: bytes, new: bytes, draw: random.Random) -> bytes:
    size = draw.choice((len(old), len(new)))
    blocks = (draw.choice((old, new))[at : at + _BLOCK].ljust(_BLOCK, b"\0") for at in range(0, size, _BLOCK))
    return b"".join(blocks)[:size]


def take_over(folder: Path) -> None:
    """Make what was left the folder."""
    left = Path(f"{folder}{_NAME}")
    if left.exists():
        shutil.rmtree(folder)
        left.rename(folder)
