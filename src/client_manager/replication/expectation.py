"""What should stand in the replica for a row of the source, what is in quarantine of it being taken into account."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import NoneType
from typing import Any, Final, NamedTuple, cast

from client_manager.replication.digest import NOT_KEPT, local_digest, stored_text
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

    Attributes:
        lacks: whether a row of a table without a key needs an original that is not kept.
    """

    def __init__(self, table: Table, kept: Kept) -> None:
        self._table = table
        self._kept = kept
        self._simple = bool(table.key) and not kept.entries
        self._left = Counter(
            (key, column, kind, digest)
            for (key, column), originals in kept.entries.items()
            for kind, digest, _ in originals
        )
        self.lacks = False
        self._plans: dict[tuple[type, ...], tuple[tuple[int, ...], tuple[tuple[int, Column], ...]]] = {}

    @property
    def is_wrong(self) -> bool:
        """Whether, when all rows have been asked for, an original is kept that no row needs, or the other way round."""
        return self.lacks or any(self._left.values())

    def of(self, row: Row) -> LocalRow | None:
        """Return what stands in the replica for a source row; None where it is, rightly, kept whole."""
        if not self._simple:
            return self._expected(row)
        classes = tuple(map(type, row))
        plan = self._plans.get(classes)
        if plan is None:
            plan = self._plans[classes] = self._plan(classes)
        texts, others = plan
        for place in texts:
            if "\0" in row[place]:  # type: ignore[operator]  # a str, by its class
                return self._expected(row)
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
                return self._expected(row)
        return LocalRow(row, tuple(stored))

    def _expected(self, row: Row) -> LocalRow | None:
        if self._table.key:
            return self._with_key(row, row_key(tuple(row[place] for place in self._table.key_places)))
        return self._without_key(row)

    def _with_key(self, row: Row, key: str) -> LocalRow | None:
        if self._is_kept_whole(row, key):
            return None
        stored: list[Stored] = []
        for column, value in zip(self._table.columns, row, strict=True):
            result, reason = convert(column.kind, value)
            originals = self._kept.of(key, column.name)
            if originals or reason is not None:
                rightly = len(originals) == 1 and originals[0][:2] == _original(value)
                for kind, digest, _ in originals:
                    self._take((key, column.name, kind, digest))
                # A value that this program could convert is kept because the server has refused it as JSON.
                result = NOT_KEPT if not rightly else result if reason is not None else None
            stored.append(result)
        return LocalRow(row, tuple(stored))

    def _without_key(self, row: Row) -> LocalRow | None:
        stored: list[Stored] = []
        needed: list[tuple[str, Value]] = []
        for column, value in zip(self._table.columns, row, strict=True):
            result, reason = convert(column.kind, value)
            refused = column.kind == "json" and isinstance(result, str) and is_json(result) is False
            if refused or reason is not None:
                needed.append((column.name, value))
            stored.append(None if refused else result)
        if needed or self._left:
            key = row_key((local_digest(self._table.columns, stored),))
            if self._is_kept_whole(row, key):
                return None
            for name, value in needed:
                self.lacks = not self._take((key, name, *_original(value))) or self.lacks
        return LocalRow(row, tuple(stored))

    def _is_kept_whole(self, row: Row, key: str) -> bool:
        if not self._kept.of(key, None):
            return False
        whole = hashlib.md5(whole_row(self._table.columns, row), usedforsecurity=False).hexdigest()
        return self._take((key, None, "row", whole))

    def _take(self, original: tuple[str, str | None, str, str]) -> bool:
        """Say whether this original is kept and no other row has taken it."""
        if not self._left[original]:
            return False
        self._left[original] -= 1
        return True


def _original(value: Value) -> tuple[str, str]:
    return sqlite_type(value), hashlib.md5(raw_bytes(value), usedforsecurity=False).hexdigest()


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
    if kind == "boolean" and value is not NOT_KEPT:
        return "true" if value else "false"
    return stored_text("numeric", value) if kind == "numeric" else str(value)
