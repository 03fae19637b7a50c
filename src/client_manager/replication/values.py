"""What a SQLite value becomes in PostgreSQL; what does not fit, or would not come back as it was, is kept beside.

The rules in order: exact; an equal value of another form, its original kept (``converted``); otherwise NULL or
best-effort text, its bytes kept (``quarantined``). Nothing is altered in silence.
"""

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final, Literal, TypeAlias

from client_manager.replication.tables import Column, PostgresType


@dataclass(frozen=True)
class Undecodable:
    """A TEXT value whose bytes are not UTF-8."""

    raw: bytes


Value: TypeAlias = str | int | float | bytes | Undecodable | None
Stored: TypeAlias = str | int | float | bytes | bool | None
Row: TypeAlias = tuple[Value, ...]


@dataclass(frozen=True)
class Kept:
    """Why the original of a value is kept in ``quarantine``."""

    kind: Literal["quarantined", "converted"]
    reason: str


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None)
_MILLISECONDS_FROM: Final = 10**11  # as seconds this is the year 5138, as milliseconds 1973
_LARGEST: Final = 2**63
_CANONICAL_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{6})?", re.ASCII)
_CANONICAL_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)

Converted: TypeAlias = tuple[Stored, Kept | None]


def sqlite_type(value: Value) -> str:
    """Return SQLite's name of the value's storage class."""
    match value:
        case None:
            return "null"
        case int():
            return "integer"
        case float():
            return "real"
        case bytes():
            return "blob"
        case _:
            return "text"


def raw_bytes(value: Value) -> bytes:
    """Return the value's bytes as ``quarantine`` keeps them; with the storage class they give the value back."""
    match value:
        case None:
            return b""
        case Undecodable():
            return value.raw
        case bytes():
            return value
        case str():
            return value.encode()
        case _:
            return repr(value).encode()


def row_key(key: Row) -> str:
    """Return a key as the JSON array that ``quarantine`` and ``conflict_log`` name rows by."""
    return json.dumps([_key_part(part) for part in key], separators=(",", ":"))


def _key_part(part: Value) -> object:
    match part:
        case Undecodable():
            return {"text": part.raw.hex()}
        case bytes():
            return {"blob": part.hex()}
        case float():
            return {"real": repr(part)}
        case _:
            return part


def whole_row(columns: tuple[Column, ...], row: Row) -> bytes:
    """Return a row that has no place in the replica in the form that ``quarantine`` keeps."""
    parts = [
        [column.name, sqlite_type(value), raw_bytes(value).hex()] for column, value in zip(columns, row, strict=True)
    ]
    return json.dumps(parts, separators=(",", ":")).encode()


def convert(kind: PostgresType, value: Value) -> Converted:
    """Return what stands in the replica for a value, and why its original is kept, if it is."""
    return (None, None) if value is None else _RULES[kind](value)


def _quarantined(reason: str, stored: Stored = None) -> Converted:
    return stored, Kept("quarantined", reason)


def _converted(reason: str, stored: Stored) -> Converted:
    return stored, Kept("converted", reason)


def _text(value: Value) -> Converted:
    match value:
        case str() if "\0" in value:
            return _quarantined("text with a NUL character", value.replace("\0", "�"))
        case str():
            return value, None
        case Undecodable():
            return _quarantined("text that is not UTF-8", value.raw.decode(errors="replace").replace("\0", "�"))
        case float() if not math.isfinite(value):
            return _quarantined("an infinite number in a text column")
        case int() | float():
            return repr(value), None
        case _:
            return _quarantined("a BLOB in a text column")


def _json(value: Value) -> Converted:
    match value:
        case str() if "\0" in value:
            return _quarantined("text with a NUL character in a JSON column")
        case str():
            return value, None
        case int() | float() if math.isfinite(value):
            return repr(value), None
        case _:
            return _quarantined(f"{sqlite_type(value)} that is no JSON")


def _bigint(value: Value) -> Converted:
    match value:
        case int():
            return value, None
        case float() if value.is_integer() and -_LARGEST <= value < _LARGEST:
            return _converted("a whole number stored as REAL", int(value))
        case _:
            return _quarantined(f"{sqlite_type(value)} that is no 64-bit integer")


def _boolean(value: Value) -> Converted:
    match value:
        case 0 | 1 if isinstance(value, int):
            return bool(value), None
        case str() if value.lower() in ("true", "false"):
            return _converted("a truth value stored as text", value.lower() == "true")
        case _:
            return _quarantined(f"{sqlite_type(value)} that is neither 0 nor 1")


def _double(value: Value) -> Converted:
    match value:
        case float():
            return value, None
        case int() if float(value) == value:
            return _converted("a whole number stored as INTEGER", float(value))
        case _:
            return _quarantined(f"{sqlite_type(value)} that is no floating-point number")


def _numeric(value: Value) -> Converted:
    match value:
        case float() if math.isfinite(value):
            return format(Decimal(repr(value)), "f"), None
        case int():
            return str(value), None
        case _:
            return _quarantined(f"{sqlite_type(value)} that is no number")


def _bytea(value: Value) -> Converted:
    match value:
        case bytes():
            return value, None
        case str() | Undecodable():
            return _converted("text in a BLOB column", raw_bytes(value))
        case _:
            return _quarantined(f"{sqlite_type(value)} in a BLOB column")


def _timestamp(value: Value) -> Converted:
    moment = _moment(value)
    if moment is None:
        return _quarantined(f"{sqlite_type(value)} that is no date and time")
    plain = moment.replace(tzinfo=None) if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
    stored = plain.isoformat(" ")
    if value == stored and _CANONICAL_TIME.fullmatch(stored):
        return stored, None
    return _converted("a date and time in another form", stored)


def _date(value: Value) -> Converted:
    if isinstance(value, str) and _CANONICAL_DATE.fullmatch(value):
        try:
            return date.fromisoformat(value).isoformat(), None
        except ValueError:
            return _quarantined("text that is no date")
    moment = _moment(value)
    if moment is None:
        return _quarantined(f"{sqlite_type(value)} that is no date")
    if moment.time() != datetime.min.time() or moment.tzinfo:
        return _quarantined("a date with a time of day")
    return _converted("a date in another form", moment.date().isoformat())


def _moment(value: Value) -> datetime | None:
    try:
        match value:
            case str():
                return datetime.fromisoformat(value)
            case int() | float() if abs(value) < _MILLISECONDS_FROM:
                return _EPOCH + timedelta(seconds=value)
            case int() | float():
                return _EPOCH + timedelta(milliseconds=value)
            case _:
                return None
    except (ValueError, OverflowError):
        return None


_RULES: Final[dict[PostgresType, Callable[[Value], Converted]]] = {
    "text": _text,
    "json": _json,
    "bigint": _bigint,
    "boolean": _boolean,
    "double precision": _double,
    "numeric": _numeric,
    "date": _date,
    "timestamp": _timestamp,
    "bytea": _bytea,
}


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


def is_json(text: str) -> bool | None:
    """Say whether PostgreSQL takes the text as ``json``; None where only the server can tell (too deep for us)."""
    try:
        json.loads(text, parse_constant=_refuse_constant, parse_int=len, parse_float=len)
    except RecursionError:
        return None
    except ValueError:
        return False
    return True
