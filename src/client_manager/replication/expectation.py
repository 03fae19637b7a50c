"""What should stand in the replica for a row of the source, what is in quarantine of it being taken into account."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from client_manager.replication.digest import stored_text
from client_manager.replication.tables import Column, Table
from client_manager.replication.values import (
    Row,
    Stored,
    Value,
    convert,
    is_json,
    raw_bytes,
    row_key,
    sqlite_type,
    whole_row,
)


@dataclass(frozen=True)
class LocalRow:
    """A source row as it stands, or should stand, in the replica."""

    source: Row
    stored: tuple[Stored, ...]


@dataclass
class Kept:
    """The originals that are kept of one table: (row key, column) -> storage class and md5 of the bytes."""

    entries: dict[tuple[str, str | None], list[tuple[str, str, str]]] = field(default_factory=dict)

    def of(self, key: str, column: str | None) -> list[tuple[str, str, str]]:
        """Return what is kept of a value, or of a whole row."""
        return self.entries.get((key, column), [])


def expected(table: Table, row: Row, kept: Kept) -> LocalRow | None:
    """Return what stands in the replica for a source row; None where it is, rightly, kept whole."""
    key = row_key(tuple(row[place] for place in table.key_places))
    whole = [digest for _, digest, _ in kept.of(key, None)] if table.key and kept.entries else []
    if whole and hashlib.md5(whole_row(table.columns, row), usedforsecurity=False).hexdigest() in whole:
        return None
    stored: list[Stored] = []
    for column, value in zip(table.columns, row, strict=True):
        result, reason = convert(column.kind, value)
        original = kept.of(key, column.name) if kept.entries and table.key else []
        refused = reason is None and _judged_no_json(table, column, result, original)
        if refused:
            result = None
        if (refused or reason is not None) and table.key and not _kept_rightly(value, original):
            result = "an original that is not kept"  # equals nothing that can stand there
        stored.append(result)
    return LocalRow(row, tuple(stored))


def _judged_no_json(table: Table, column: Column, result: Stored, original: list[tuple[str, str, str]]) -> bool:
    """Say whether the server has refused the value as JSON; it is asked rather than this program."""
    if table.key:
        return bool(original)
    return column.kind == "json" and isinstance(result, str) and is_json(result) is False


def _kept_rightly(value: Value, original: list[tuple[str, str, str]]) -> bool:
    digest = hashlib.md5(raw_bytes(value), usedforsecurity=False).hexdigest()
    return any((kind, found) == (sqlite_type(value), digest) for kind, found, _ in original)


def text_row(table: Table, stored: Iterable[Stored]) -> tuple[str | None, ...]:
    """Return a row as PostgreSQL shows it as text, where settings do not matter."""
    return tuple(
        None if value is None else shown(column.kind, value)
        for column, value in zip(table.columns, stored, strict=True)
    )


def shown(kind: str, value: Stored) -> str:
    """Return a value as PostgreSQL shows it as text."""
    if kind == "bytea" and isinstance(value, bytes):
        return "\\x" + value.hex()
    if kind == "boolean":
        return "true" if value else "false"
    return stored_text("numeric", value) if kind == "numeric" else str(value)
