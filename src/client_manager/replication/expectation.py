"""What should stand in the replica for a row of the source, what is in quarantine of it being taken into account."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import NoneType
from typing import Any, Final, NamedTuple, cast

from client_manager.replication.digest import stored_text
from client_manager.replication.tables import Column, PostgresType, Table
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


class LocalRow(NamedTuple):
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


# What stands in the replica as it is, by the type of the column; texts without a NUL only.
_AS_IS: Final[dict[PostgresType, frozenset[type]]] = {
    "text": frozenset({str, NoneType}),
    "json": frozenset({str, NoneType}),
    "bigint": frozenset({int, NoneType}),
    "double precision": frozenset({float, NoneType}),
    "bytea": frozenset({bytes, NoneType}),
}
_NULL_ONLY: Final = frozenset({NoneType})


class Expectation:
    """What should stand in the replica for the rows of one table.

    What a row needs depends on the storage classes of its values, so that is worked out once for each combination.
    """

    def __init__(self, table: Table, kept: Kept) -> None:
        self._table = table
        self._kept = kept
        self._simple = bool(table.key) and not kept.entries
        self._plans: dict[tuple[type, ...], tuple[tuple[int, ...], tuple[tuple[int, Column], ...]]] = {}

    def of(self, row: Row) -> LocalRow | None:
        """Return what stands in the replica for a source row; None where it is, rightly, kept whole."""
        if not self._simple:
            return _expected(self._table, row, self._kept)
        classes = tuple(map(type, row))
        plan = self._plans.get(classes)
        if plan is None:
            plan = self._plans[classes] = self._plan(classes)
        texts, others = plan
        for place in texts:
            if "\0" in row[place]:  # type: ignore[operator]  # a str, by its class
                return _expected(self._table, row, self._kept)
        if not others:
            return LocalRow(row, cast("tuple[Stored, ...]", row))
        return self._converted(row, others)

    def _plan(self, classes: tuple[type, ...]) -> tuple[tuple[int, ...], tuple[tuple[int, Column], ...]]:
        columns = list(enumerate(zip(self._table.columns, classes, strict=True)))
        texts = tuple(place for place, (_, kind) in columns if kind is str)
        others = tuple(
            (place, column) for place, (column, kind) in columns if kind not in _AS_IS.get(column.kind, _NULL_ONLY)
        )
        return texts, others

    def _converted(self, row: Row, others: tuple[tuple[int, Column], ...]) -> LocalRow | None:
        stored: list[Any] = list(row)
        for place, column in others:
            stored[place], reason = convert(column.kind, row[place])
            if reason is not None:
                return _expected(self._table, row, self._kept)
        return LocalRow(row, tuple(stored))


def _expected(table: Table, row: Row, kept: Kept) -> LocalRow | None:
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
