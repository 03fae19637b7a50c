"""The journal: what was done, by whom, from where; append-only, each line chained to the one before."""

import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final, Literal

from client_manager.errors import Cancelled, ClientManagerError, Undone
from client_manager.gateways import client_files, host
from client_manager.models.operation import JournalEntry

_GENESIS: Final = "0" * 64
_TAIL: Final = 64 * 1024

Outcome = Literal["started", "completed", "failed", "undone", "cancelled"]


class Journal:
    """``journal.jsonl`` in the state folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "journal.jsonl"

    @contextmanager
    def action(self, action: str, subject: str, arguments: Mapping[str, str]) -> Iterator[None]:
        """Write a line before the body runs and one with its outcome after; arguments must hold no secret."""
        self._append(action, subject, arguments, "started")
        try:
            yield
        except BaseException as error:
            try:
                self._append(action, subject, arguments, _outcome(error), detail=str(error))
            except ClientManagerError as second:
                error.add_note(f"The journal could not be written: {second.why}")  # the first cause matters more
            raise
        self._append(action, subject, arguments, "completed")

    def broken_at(self) -> int | None:
        """Return the number of the first line that does not follow from the one before, or None when all do."""
        expected = _GENESIS
        with client_files.disk_errors(self.path):
            if not self.path.exists():
                return None
            for number, line in enumerate(self.path.read_bytes().splitlines(), start=1):
                if f'"previous":"{expected}"'.encode() not in line:
                    return number
                expected = hashlib.sha256(line).hexdigest()
        return None

    def _append(
        self, action: str, subject: str, arguments: Mapping[str, str], outcome: Outcome, detail: str = ""
    ) -> None:
        client_files.make_folder(self.path.parent)
        with client_files.disk_errors(self.path), _opened(self.path) as file:
            entry = JournalEntry(
                at=datetime.now(UTC),
                operator=host.operator(),
                action=action,
                subject=subject,
                arguments=dict(arguments),
                outcome=outcome,
                detail=detail,
                previous=_last_hash(file),
            )
            file.write(_line_break_if_torn(file) + entry.model_dump_json().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def _last_hash(file: BinaryIO) -> str:
    size = file.seek(0, os.SEEK_END)
    lines: list[bytes] = []
    for tail in (_TAIL, size):
        file.seek(max(0, size - tail))
        lines = file.read().splitlines()
        if len(lines) > 1:  # a single line may lack its beginning
            break
    return hashlib.sha256(lines[-1]).hexdigest() if lines else _GENESIS


def _line_break_if_torn(file: BinaryIO) -> bytes:
    """Return what ends a last line that a power cut left without its end."""
    if not file.seek(0, os.SEEK_END):
        return b""
    file.seek(-1, os.SEEK_END)
    return b"" if file.read(1) == b"\n" else b"\n"


def _outcome(error: BaseException) -> Outcome:
    if isinstance(error, Undone):
        return "undone"
    if isinstance(error, Cancelled | KeyboardInterrupt):
        return "cancelled"
    return "failed"
