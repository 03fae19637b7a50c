"""One digest of a row, computed alike from SQLite's values and by PostgreSQL.

A digest covers every column: the text of what cannot hold a separator, the length of what can, then its content. So two
different rows never have the same text. Floating-point numbers count by their bits, times by a fixed format, so that no
setting of a session matters.
"""

import hashlib
import struct
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Final, LiteralString

from psycopg import sql

from client_manager.replication.tables import Column, PostgresType
from client_manager.replication.values import Stored

NULL: Final = "-"
# Stands where an original should be kept and is not: equals nothing that a replica can hold, which is never a NUL.
NOT_KEPT: Final = "\0an original that is not kept"
SEPARATOR: Final = "\x1f"
_LONG: Final[frozenset[PostgresType]] = frozenset({"text", "json", "bytea"})
_LENGTHS: Final[dict[PostgresType, LiteralString]] = {
    "text": "octet_length({c})::text",
    "json": "octet_length({c}::text)::text",
    "bytea": "octet_length({c})::text",
}
_TEXTS: Final[dict[PostgresType, LiteralString]] = {
    "text": "{c}",
    "json": "{c}::text",
    "bytea": "encode({c}, 'hex')",
    "bigint": "{c}::text",
    "boolean": "{c}::text",
    "numeric": "{c}::text",
    "double precision": "encode(float8send({c}), 'hex')",
    "date": "to_char({c}, 'YYYY-MM-DD')",
    "timestamp": "to_char({c}, 'YYYY-MM-DD HH24:MI:SS.US')",
}


def quoted(name: str) -> sql.Identifier:
    """Return a name for a statement that is sent with parameters, where psycopg reads a lone ``%`` as one."""
    return sql.Identifier(name.replace("%", "%%"))


def row_text(columns: Sequence[Column]) -> sql.Composed:
    """Return the expression whose md5 is a row's digest."""
    short = [_coalesced(column, _LENGTHS.get(column.kind) or _TEXTS[column.kind]) for column in columns]
    long = [_expression(column, _TEXTS[column.kind]) for column in columns if column.kind in _LONG]
    return _joined([*short, *long])


def key_text(columns: Sequence[Column]) -> sql.Composed:
    """Return the expression whose md5 puts a row into a bucket."""
    return _joined([_expression(column, _TEXTS[column.kind]) for column in columns])


def _joined(parts: Sequence[sql.Composable]) -> sql.Composed:
    return sql.SQL("concat_ws({}, {})").format(sql.Literal(SEPARATOR), sql.SQL(", ").join(parts))


def _expression(column: Column, template: LiteralString) -> sql.Composed:
    return sql.SQL(template).format(c=quoted(column.name))


def _coalesced(column: Column, template: LiteralString) -> sql.Composed:
    return sql.SQL("coalesce({}, {})").format(_expression(column, template), sql.Literal(NULL))


def local_digest(columns: Sequence[Column], row: Sequence[Stored]) -> str:
    """Return the digest (md5, hexadecimal) of a row as it stands in the replica."""
    return hashlib.md5(row_local_text(columns, row).encode(), usedforsecurity=False).hexdigest()


def row_local_text(columns: Sequence[Column], row: Sequence[Stored]) -> str:
    """Return what ``row_text`` gives for the row."""
    return RowText(columns).of(row)


class RowText:
    """The texts that ``row_text`` gives for the rows of one table."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = [(column.kind in _LONG, _LOCAL.get(column.kind, str)) for column in columns]

    def of(self, row: Sequence[Stored]) -> str:
        """Return the text of a row."""
        parts: list[str] = []
        long: list[str] = []
        for (is_long, shown), value in zip(self._columns, row, strict=True):
            if value is None:
                parts.append(NULL)
            elif is_long and value.__class__ is str:
                parts.append(str(len(value) if value.isascii() else len(value.encode())))
                long.append(value)
            elif value is NOT_KEPT:
                parts.append(NOT_KEPT)
            elif isinstance(value, bytes):
                parts.append(str(len(value)))
                long.append(value.hex())
            else:
                parts.append(shown(value))
        return SEPARATOR.join(parts + long)


def key_local_text(columns: Sequence[Column], key: Sequence[Stored]) -> str:
    """Return what ``key_text`` gives for the key."""
    return SEPARATOR.join(stored_text(column.kind, value) for column, value in zip(columns, key, strict=True))


def stored_text(kind: PostgresType, value: Stored) -> str:
    """Return the text of one value as it stands in the replica."""
    if value is NOT_KEPT:
        return NOT_KEPT
    shown = _LOCAL.get(kind)
    return shown(value) if shown else str(value)


def _timestamp(value: Stored) -> str:
    text = str(value)
    return text if "." in text else f"{text}.000000"


_LOCAL: Final[dict[PostgresType, Callable[[Stored], str]]] = {
    "boolean": lambda value: "true" if value else "false",
    "bytea": lambda value: value.hex() if isinstance(value, bytes) else str(value),
    "double precision": lambda value: struct.pack(">d", value).hex(),
    "numeric": lambda value: format(Decimal(str(value)), "f"),
    "timestamp": _timestamp,
}
