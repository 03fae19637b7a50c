"""What a replica's values were in SQLite: the inverse of ``values``, the originals that are kept beside taken in.

A column whose affinity makes numbers of their texts is given the numbers themselves, so that no library's way of
reading them matters; what SQLite's affinity does to a value, it did to it in the source.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import apsw
import psycopg

from client_manager.errors import ClientManagerError
from client_manager.replication.digest import local_digest
from client_manager.replication.replica import SQL
from client_manager.replication.tables import Column, PostgresType, Table, affinity
from client_manager.replication.values import Row, Stored, Undecodable, Value, row_key

Texts: TypeAlias = tuple[str | None, ...]
_INTEGER: Final = re.compile(r"-?\d+", re.ASCII)
_REAL: Final = re.compile(r"-?\d+(\.\d+)?(e[+-]\d+)?", re.ASCII)  # as repr() writes it
_SECONDS_END: Final = 20  # of a time with its decimal point
_MICROSECONDS: Final = 6


class Unclear(ClientManagerError):
    """What a value was cannot be told."""


def _number_or_text(text: str) -> Value:
    if _INTEGER.fullmatch(text):
        number = int(text)
        return number if -(2**63) <= number < 2**63 else float(text)
    return float(text) if _REAL.fullmatch(text) else text


def _timestamp(text: str) -> Value:
    """Return a time in the form that stands for itself: PostgreSQL leaves zeros at the end away."""
    return text if "." not in text else text[:_SECONDS_END] + text[_SECONDS_END:].ljust(_MICROSECONDS, "0")


def _as_text(text: str) -> Value:
    return text


def _text_of_any(text: str) -> Value:
    if _REAL.fullmatch(text):
        raise Unclear(
            "The replica does not tell what a value was.",
            why="A column of type ANY in a STRICT table holds a number, or a text that looks like one.",
            hint="Restore the client's database from a backup of its file.",
        )
    return text


_INVERSE: Final[dict[PostgresType, Callable[[str], Value]]] = {
    "bigint": int,
    "boolean": lambda text: int(text == "t"),
    "double precision": float,
    "bytea": lambda text: bytes.fromhex(text[2:]),
    "timestamp": _timestamp,
    "numeric": _number_or_text,
    "date": _as_text,
}
_STORED: Final[dict[PostgresType, Callable[[str], Stored]]] = {
    "bigint": int,
    "boolean": lambda text: text == "t",
    "double precision": float,
    "bytea": lambda text: bytes.fromhex(text[2:]),
}


def inverse(column: Column, *, strict: bool) -> Callable[[str], Value]:
    """Return what makes a column's value of the text that COPY gives; ``strict`` says that of the table.

    Raises:
        Unclear: from what is returned, where the text says not enough.
    """
    found = _INVERSE.get(column.kind)
    if found:
        return found
    if strict:
        return _text_of_any if column.declared.upper() == "ANY" else _as_text
    return _number_or_text if affinity(column.declared) == "numeric" else _as_text


@dataclass
class Originals:
    """The originals that are kept of one table's rows, in a database of this process that spills to the disk."""

    table: Table
    _kept: apsw.Connection = field(default_factory=lambda: apsw.Connection(""))
    _any: bool = False

    def __post_init__(self) -> None:
        """Make the place for them."""
        self._kept.execute(
            "CREATE TABLE kept (entry INTEGER PRIMARY KEY, row_key TEXT, column_name TEXT, kind TEXT, raw BLOB);"
            "CREATE INDEX of_row ON kept (row_key)"
        )

    def read(self, connection: psycopg.Connection[Any], client: str) -> int:
        """Read them in, one at a time; return their number."""
        number = 0
        with connection.cursor() as cursor, self._kept:
            for entry in cursor.stream(SQL["list_originals"], {"client": client, "table": self.table.name}):
                number += 1
                self._kept.execute("INSERT INTO kept VALUES (?, ?, ?, ?, ?)", (number, *entry))
        self._any = number > 0
        return number

    def put_back(self, row: Row, texts: Texts) -> Row:
        """Return a row with its originals in their places; each is taken once."""
        if not self._any:
            return row
        key = row_key(tuple(row[place] for place in self.table.key_places) or (self._digest(texts),))
        found = self._take(key)
        if not found:
            return row
        values = list(row)
        for place, value in found.items():
            values[place] = value
        return tuple(values)

    def _take(self, key: str) -> dict[int, Value]:
        """Take what is kept under a key; of rows that nothing tells apart, what was kept of the first."""
        places = {column.name: place for place, column in enumerate(self.table.columns)}
        found: dict[int, Value] = {}
        last = -1
        entries = self._kept.execute(
            "SELECT entry, column_name, kind, raw FROM kept WHERE row_key = ? AND column_name IS NOT NULL"
            " ORDER BY entry LIMIT ?",
            (key, len(places)),
        ).fetchall()
        for entry, name, kind, raw in entries:
            place = places.get(str(name), -1)
            if not self.table.key and place <= last:
                break
            if place < 0 or place in found:
                continue
            found[place], last = _value(str(kind), raw), place
            self._kept.execute("DELETE FROM kept WHERE entry = ?", (entry,))
        return found

    def _digest(self, texts: Texts) -> str:
        stored = [
            None if text is None else _STORED.get(column.kind, _same)(text)
            for column, text in zip(self.table.columns, texts, strict=True)
        ]
        return local_digest(self.table.columns, stored)

    def whole_rows(self) -> Iterator[dict[str, Value]]:
        """Yield the rows that have no place in the replica, as column -> value."""
        for (entry,) in self._kept.execute(
            "SELECT entry FROM kept WHERE column_name IS NULL ORDER BY entry"
        ).fetchall():
            [(raw,)] = self._kept.execute("DELETE FROM kept WHERE entry = ? RETURNING raw", (entry,)).fetchall()
            yield {name: _value(kind, bytes.fromhex(text)) for name, kind, text in json.loads(_content(raw))}

    def left(self) -> list[tuple[str, str]]:
        """Return key and column of what no row of the replica asked for."""
        found = self._kept.execute("SELECT row_key, column_name FROM kept ORDER BY entry LIMIT 5")
        return [(str(key), str(column)) for key, column in found]

    def close(self) -> None:
        """Forget them."""
        self._kept.close()


def _same(text: str) -> Stored:
    return text


def _value(kind: str, raw: object) -> Value:
    """Return a value from the form that ``quarantine`` keeps it in."""
    content = _content(raw)
    match kind:
        case "null":
            return None
        case "integer":
            return int(content)
        case "real":
            return float(content)
        case "blob":
            return content
        case _:
            return _text(content)


def _content(raw: object) -> bytes:
    if not isinstance(raw, bytes):
        raise TypeError(f"{type(raw).__name__} is no BLOB")
    return raw


def _text(raw: bytes) -> Value:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return Undecodable(raw)


def plain(values: Sequence[Value]) -> bool:
    """Say whether SQLite takes all values as they are."""
    return not any(isinstance(value, Undecodable) for value in values)
