"""The files that say what the replica holds: the shadow, equal by page to the source at one generation.

A run writes ``pending.<generation>`` before it commits in PostgreSQL and moves the shadow after. Whatever cuts it off,
the generation in PostgreSQL tells whether the pending pages belong into the shadow; writing them twice does no harm.
"""

import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final

from pydantic import ValidationError

from client_manager.gateways import client_files, lock
from client_manager.models.base import Model
from client_manager.replication import steps
from client_manager.replication.image import Pages, copy_pages

_MAGIC: Final = b"cmpend01"
_HEAD: Final = struct.Struct(">8sI")
_CHECKSUM: Final = struct.Struct(">I")
_BUFFER_BYTES: Final = 1024 * 1024


class Baseline(Model):
    """What the shadow is.

    Attributes:
        generation: of the replica that equals it.
        token: of this one state of the replica; a number may come again when PostgreSQL is restored, a token never.
        fingerprint: of the source just before it was read; the same again means nothing to do.
        frames: how many frames of the source's log it includes; None where there was no log.
        salts: of that log.
        inode: of the source.
        change_counter: of the source's header, which only grows in one file.
        unaudited: page-pruned runs since whole tables were last compared.
    """

    generation: int
    token: str
    fingerprint: tuple[int | str, ...] | None
    frames: int | None
    salts: tuple[int, int] | None
    inode: int
    change_counter: int
    unaudited: int = 0


class _Stamp(Model):
    """A baseline, and size and time of the shadow that is it: a shadow that was written to since is not it any more."""

    baseline: Baseline
    shadow: tuple[int, int]


class _Pending(Model):
    """The head of a pending file: the baseline to be, and the pages that follow; none where a new file replaces all."""

    baseline: Baseline
    replace: bool
    page_size: int
    count: int
    pages: list[int]


class Folder:
    """A client's own folder of state."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shadow = path / "shadow.db"
        self.next_shadow = path / "shadow.new"
        self.copy = path / "copy.db"
        self.owners = path / "owner.map"
        self._json = path / "shadow.json"
        self._known: tuple[tuple[int, int, int], _Stamp] | None = None

    @contextmanager
    def held(self, action: str) -> Iterator[None]:
        """Keep every other run of this client out, on any node that shares the folder.

        Raises:
            Conflict: another one runs.
        """
        client_files.make_folder(self.path)
        with lock.held(self.path, "client", action), client_files.disk_errors(self.path):
            yield

    def baseline(self) -> Baseline | None:
        """Return what the shadow is, or None where there is none, or where somebody else has written to it."""
        found = self._stamped()
        return found.baseline if found and found.shadow == self._shadow_state() else None

    def _stamped(self) -> "_Stamp | None":
        """Return the stamp, read again only when it is another file: an idle client asks for it every second."""
        found = _state(self._json)
        if found is None:
            return None
        if self._known is None or self._known[0] != found:
            try:
                self._known = found, _Stamp.model_validate_json(self._json.read_bytes())
            except (FileNotFoundError, ValidationError):
                return None
        return self._known[1]

    def _shadow_state(self) -> tuple[int, int] | None:
        found = _state(self.shadow)
        return found[1:] if found else None

    def recover(self, generation: int, token: str | None) -> Baseline | None:
        """Bring the shadow to a generation that is committed, if that can be done.

        Returns:
            the baseline of exactly this generation and token, or None.
        """
        found = self.baseline()
        if found is None or (found.generation, found.token) != (generation, token):
            found = self._finish(generation, token)
        for pending in self.path.glob("pending.*"):
            pending.unlink()
        return found

    def _finish(self, generation: int, token: str | None) -> Baseline | None:
        pending = self._read_head(generation)
        if pending is None or pending.baseline.token != token:
            return None
        stamped = self._stamped()
        if not pending.replace:
            return self.apply(generation) if stamped and stamped.baseline.generation == generation - 1 else None
        if self.next_shadow.exists():
            return self.apply(generation)
        if stamped is None and self.shadow.exists():  # cut off between the rename and the stamp
            self.stamp(pending.baseline)
            return pending.baseline
        return None

    def forget(self) -> None:
        """Say that the shadow is not to be used."""
        for pending in self.path.glob("pending.*"):
            pending.unlink()
        self.shadow.unlink(missing_ok=True)
        self._json.unlink(missing_ok=True)
        self._sync_folder()

    def stamp(self, baseline: Baseline) -> None:
        """Say what the shadow is."""
        found = self.shadow.stat()
        stamp = _Stamp(baseline=baseline, shadow=(found.st_size, found.st_mtime_ns))
        self._replace(self._json, stamp.model_dump_json().encode())

    def write_pending(self, baseline: Baseline, pages: Pages, numbers: Iterable[int]) -> int:
        """Write down how the shadow becomes the next baseline; return the bytes written."""
        written = sorted(number for number in numbers if number <= pages.count)
        head = _Pending(baseline=baseline, replace=False, page_size=pages.page_size, count=pages.count, pages=written)
        return self._write_pending(head, (pages.page(number) for number in written))

    def write_next_shadow(self, pages: Pages) -> None:
        """Write a version of the source beside the shadow."""
        target = os.open(self.next_shadow, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            copy_pages(pages, target)
        finally:
            os.close(target)

    def sync_next_shadow(self) -> None:
        """Bring it to the disk; the source need not be held for that."""
        descriptor = os.open(self.next_shadow, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def write_replacement(self, baseline: Baseline) -> None:
        """Write down that ``shadow.new`` becomes the next baseline."""
        self.sync_next_shadow()
        self._write_pending(_Pending(baseline=baseline, replace=True, page_size=0, count=0, pages=[]), ())

    def _write_pending(self, head: _Pending, bodies: Iterable[bytes]) -> int:
        path = self._pending(head.baseline.generation)
        temporary = path.with_name(f"{path.name}.writing")
        text = head.model_dump_json().encode()
        with temporary.open("wb", buffering=_BUFFER_BYTES) as file:
            checksum = 0
            for piece in chain([_HEAD.pack(_MAGIC, len(text)), text], bodies):
                checksum = zlib.crc32(piece, checksum)
                file.write(piece)
            file.write(_CHECKSUM.pack(checksum))
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        temporary.rename(path)
        self._sync_folder()
        steps.reached("pending written")
        return size

    def apply(self, generation: int) -> Baseline:
        """Move the shadow to a generation whose pending file is complete; may be done again after a crash."""
        pending = self._read_head(generation)
        if pending is None:
            raise FileNotFoundError(self._pending(generation))
        if pending.replace:
            self._json.unlink(missing_ok=True)
            steps.reached("shadow replaced")
            self.next_shadow.rename(self.shadow)
            self._sync_folder()
        else:
            self._redo(generation, pending)
        steps.reached("shadow written")
        self.stamp(pending.baseline)
        steps.reached("shadow stamped")
        self._pending(generation).unlink()
        return pending.baseline

    def _redo(self, generation: int, pending: _Pending) -> None:
        with self._pending(generation).open("rb", buffering=_BUFFER_BYTES) as file:
            _, length = _HEAD.unpack(file.read(_HEAD.size))
            file.seek(length, os.SEEK_CUR)
            target = os.open(self.shadow, os.O_WRONLY | os.O_CLOEXEC)
            try:
                for number in pending.pages:
                    os.pwrite(target, file.read(pending.page_size), (number - 1) * pending.page_size)
                    steps.reached("page written")
                os.ftruncate(target, pending.count * pending.page_size)
                os.fsync(target)
            finally:
                os.close(target)

    def _read_head(self, generation: int) -> _Pending | None:
        """Return the head of a pending file, or None where it is missing or not whole."""
        try:
            with self._pending(generation).open("rb", buffering=_BUFFER_BYTES) as file:
                start = file.read(_HEAD.size)
                if len(start) < _HEAD.size:
                    return None
                magic, length = _HEAD.unpack(start)
                text = file.read(length)
                if magic != _MAGIC or not _whole(file, zlib.crc32(text, zlib.crc32(start))):
                    return None
                return _Pending.model_validate_json(text)
        except (FileNotFoundError, ValidationError):
            return None

    def _pending(self, generation: int) -> Path:
        return self.path / f"pending.{generation}"

    def _replace(self, path: Path, content: bytes) -> None:
        temporary = path.with_suffix(".writing")
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
        self._sync_folder()

    def _sync_folder(self) -> None:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _state(path: Path) -> tuple[int, int, int] | None:
    """Return inode, size and time of a file, or None where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116  this is the idle path: 2 us, where Path.stat takes 4
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _whole(file: BinaryIO, checksum: int) -> bool:
    """Say whether the rest of a file ends with the checksum of all before."""
    held = b""
    while piece := file.read(_BUFFER_BYTES):
        held += piece
        checksum = zlib.crc32(held[: -_CHECKSUM.size], checksum)
        held = held[-_CHECKSUM.size :]
    return held == _CHECKSUM.pack(checksum)
