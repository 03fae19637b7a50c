"""Is the replica the source? Read with the standard library's sqlite3 and plain psycopg, and none of the engine's code.

Every value of the source is rebuilt from the replica by the inverse of the rules of types: its text is put into a
SQLite column of the source's declared type, whose affinity gives numbers back; then the originals in ``quarantine``
take the place of what stands in the replica. Both sides are compared as multisets of (storage class, bytes).
"""

import json
import shutil
import sqlite3
import struct
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, cast

import psycopg

Value: TypeAlias = tuple[str, bytes]
Row: TypeAlias = tuple[Value, ...]
NULL: Value = ("null", b"")
_SHOWN = 3
_BATCH = 5000
_SKIPPED = ("sqlite_", "_litestream_", "_alembic_tmp_")


@dataclass(frozen=True)
class Column:
    name: str
    declared: str
    required: bool


@dataclass(frozen=True)
class Table:
    """A table as the source declares it, with every key that the replica may have."""

    name: str
    columns: tuple[Column, ...]
    keys: tuple[tuple[str, ...], ...]

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]


@dataclass
class Originals:
    """What ``quarantine`` keeps of one table."""

    values: dict[tuple[str, str], Value] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    loose: Counter[tuple[str, Value]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    used: set[tuple[str, str]] = field(default_factory=set)


def differences(source: Path, url: str, schema: str, *, in_place: bool = False) -> list[str]:
    """Return what is not equal, each as one line; an empty list says that all of the source is in the replica.

    Args:
        in_place: read the source itself, which nobody may have open, and not a copy of it and of its log.
    """
    with _opened(source, in_place=in_place) as before, psycopg.connect(url) as replica:
        replica.read_only = True
        tables = source_tables(before)
        found = _missing_tables(replica, schema, tables)
        for table in tables:
            if not any(line.startswith(f"{table.name}: ") for line in found):
                found += [f"{table.name}: {line}" for line in _table_differences(before, replica, schema, table)]
        return found + _stray_originals(replica, schema, tables)


def assert_equal(source: Path, url: str, schema: str, *, in_place: bool = False) -> None:
    found = differences(source, url, schema, in_place=in_place)
    assert not found, "\n".join(found[:20])


@contextmanager
def _opened(source: Path, *, in_place: bool) -> Iterator[sqlite3.Connection]:
    """Open a copy of the source, log and journal included: reading must not touch what is being tested."""
    with tempfile.TemporaryDirectory(prefix="oracle-") as folder:
        path = source if in_place else Path(folder, "copy.db")
        for suffix in () if in_place else ("", "-wal", "-journal"):
            part = Path(f"{source}{suffix}")
            if part.exists():
                shutil.copyfile(part, f"{path}{suffix}")
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA query_only = 1")
            yield connection


def source_tables(connection: sqlite3.Connection) -> list[Table]:
    """Return the tables that are to be in the replica."""
    listed = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'"
    ).fetchall()
    return [_table(connection, name) for (name,) in listed if not name.startswith(_SKIPPED)]


def _table(connection: sqlite3.Connection, name: str) -> Table:
    described = connection.execute(
        'SELECT name, type, "notnull", pk FROM pragma_table_xinfo(?) WHERE hidden <> 1', (name,)
    ).fetchall()
    primary = tuple(column for column, _, _, place in sorted(described, key=lambda row: row[3]) if place)
    columns = tuple(Column(column, kind or "", bool(required)) for column, kind, required, _ in described)
    keys = (primary,) if primary else _unique_keys(connection, name, {c.name for c in columns if c.required})
    return Table(name, columns, keys)


def _unique_keys(connection: sqlite3.Connection, table: str, required: set[str]) -> tuple[tuple[str, ...], ...]:
    indexes = connection.execute(
        'SELECT name FROM pragma_index_list(?) WHERE "unique" AND NOT partial', (table,)
    ).fetchall()
    keys = [
        tuple(column for (column,) in connection.execute("SELECT name FROM pragma_index_info(?)", (index,)))
        for (index,) in indexes
    ]
    return tuple(key for key in keys if all(column in required for column in key))


def _missing_tables(replica: psycopg.Connection[Any], schema: str, tables: Sequence[Table]) -> list[str]:
    listed = replica.execute(
        "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relkind IN ('r', 'p')",
        (schema,),
    )
    there = {name for (name,) in listed}
    wanted = {table.name for table in tables}
    lines = [f"{name}: the table is not in the replica" for name in sorted(wanted - there)]
    return lines + [f"{name}: the replica has a table that the source has not" for name in sorted(there - wanted)]


def _stray_originals(replica: psycopg.Connection[Any], schema: str, tables: Sequence[Table]) -> list[str]:
    listed = replica.execute(
        "SELECT DISTINCT table_name FROM sync_metadata.quarantine WHERE client_name = %s AND table_name <> ALL (%s)",
        (schema, [table.name for table in tables]),
    )
    return [f"{name}: quarantine keeps values of a table that is not there" for (name,) in listed]


def _table_differences(
    source: sqlite3.Connection, replica: psycopg.Connection[Any], schema: str, table: Table
) -> list[str]:
    shape = _shape(replica, schema, table)
    if sorted(shape) != sorted(table.names):
        return [f"columns are {sorted(shape)}, not {sorted(table.names)}"]
    key = _replica_key(replica, schema, table)
    if (key not in table.keys) if table.keys else key:
        return [f"the key is {key}, not one of {table.keys}"]
    originals = _originals(replica, schema, table, keyed=bool(key))
    there = Counter(_replica_rows(replica, schema, table, shape, key, originals))
    there.update(originals.rows)
    here = Counter(source_rows(source, table))
    faults = list(originals.faults)
    faults += [f"quarantine keeps {entry}, which is no row's" for entry in originals.values.keys() - originals.used]
    return faults + _unequal(here - there, there - here, table, originals)


def _unequal(missing: Counter[Row], extra: Counter[Row], table: Table, originals: Originals) -> list[str]:
    """Return the rows that are left over; without a key, those that their loose originals explain are not."""
    for row in list(missing.elements()) if originals.loose else ():
        match = next((other for other in extra if _explained(row, other, table, originals.loose)), None)
        if match is not None:
            originals.loose -= _apart(row, match, table)
            missing[row] -= 1
            extra[match] -= 1
            extra += Counter()
    lines = [f"{n} x only in the source: {_shown(row, table)}" for row, n in (+missing).most_common(_SHOWN)]
    lines += [f"{n} x only in the replica: {_shown(row, table)}" for row, n in (+extra).most_common(_SHOWN)]
    return lines + [f"quarantine keeps {entry}, which is no row's" for entry in +originals.loose]


def _apart(row: Row, other: Row, table: Table) -> Counter[tuple[str, Value]]:
    return Counter((name, a) for name, a, b in zip(table.names, row, other, strict=True) if a != b)


def _explained(row: Row, other: Row, table: Table, loose: Counter[tuple[str, Value]]) -> bool:
    return _apart(row, other, table) <= loose


def _shown(row: Row, table: Table) -> str:
    return ", ".join(f"{name}={kind}:{raw[:40]!r}" for name, (kind, raw) in zip(table.names, row, strict=True))


def source_rows(source: sqlite3.Connection, table: Table) -> Iterator[Row]:
    """Yield the rows of the source, each value as its storage class and its bytes."""
    source.text_factory = bytes
    try:
        columns = ", ".join(f"typeof({_name(name)}), {_name(name)}" for name in table.names)
        for row in source.execute(f"SELECT {columns} FROM {_name(table.name)}"):
            yield tuple(as_bytes(kind.decode(), value) for kind, value in zip(row[::2], row[1::2], strict=True))
    finally:
        source.text_factory = str


def as_bytes(kind: str, value: object) -> Value:
    """Return a value so that two are equal only where nothing at all tells them apart."""
    match value:
        case None:
            return NULL
        case float():
            return kind, struct.pack(">d", value)
        case int():
            return kind, str(value).encode()
        case str():
            return kind, value.encode()
        case _:
            return kind, bytes(cast("bytes", value))


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _shape(replica: psycopg.Connection[Any], schema: str, table: Table) -> dict[str, str]:
    listed = replica.execute(
        "SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a"
        " JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relname = %s AND a.attnum > 0 AND NOT a.attisdropped",
        (schema, table.name),
    )
    return {column: kind.removesuffix(" without time zone") for column, kind in listed}


def _replica_key(replica: psycopg.Connection[Any], schema: str, table: Table) -> tuple[str, ...]:
    listed = replica.execute(
        "SELECT a.attname FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid"
        " JOIN pg_namespace n ON n.oid = c.relnamespace"
        " CROSS JOIN LATERAL unnest(k.conkey) WITH ORDINALITY AS place (number, nth)"
        " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = place.number"
        " WHERE n.nspname = %s AND c.relname = %s AND k.contype = 'p' ORDER BY place.nth",
        (schema, table.name),
    )
    return tuple(name for (name,) in listed)


def _originals(replica: psycopg.Connection[Any], schema: str, table: Table, *, keyed: bool) -> Originals:
    found = Originals()
    for row_key, column, kind, raw in replica.execute(
        "SELECT row_key, column_name, sqlite_type, raw FROM sync_metadata.quarantine"
        " WHERE client_name = %s AND table_name = %s",
        (schema, table.name),
    ):
        if column is None:
            found.rows.append(_whole(bytes(raw), table))
        elif not keyed:
            found.loose[column, _original(kind, bytes(raw))] += 1
        elif (row_key, column) in found.values:
            found.faults.append(f"quarantine keeps two values of {column} of the row {row_key}")
        else:
            found.values[row_key, column] = _original(kind, bytes(raw))
    return found


def _original(kind: str, raw: bytes) -> Value:
    """Return a value from the form that quarantine keeps it in."""
    match kind:
        case "null":
            return NULL
        case "real":
            return kind, struct.pack(">d", float(raw))
        case "integer":
            return kind, str(int(raw)).encode()
        case _:
            return kind, raw


def _whole(raw: bytes, table: Table) -> Row:
    parts = {name: _original(kind, bytes.fromhex(text)) for name, kind, text in json.loads(raw)}
    return tuple(parts[name] for name in table.names)


def _replica_rows(  # noqa: PLR0913, PLR0917  a table on both sides
    replica: psycopg.Connection[Any],
    schema: str,
    table: Table,
    shape: dict[str, str],
    key: tuple[str, ...],
    originals: Originals,
) -> Iterator[Row]:
    columns = ", ".join(f"{_name(name)}::text" for name in table.names)
    statement = f"SELECT {columns} FROM {_name(schema)}.{_name(table.name)}"
    places = [table.names.index(name) for name in key]
    with closing(_affinities(table)) as memory, replica.cursor() as cursor:
        cursor.execute(statement)
        while batch := cursor.fetchmany(_BATCH):
            stored = ([_stored(shape[n], v) for n, v in zip(table.names, row, strict=True)] for row in batch)
            for row in _given_back(memory, table, stored):
                yield _with_originals(row, table, _row_key(row, places), originals) if key else row


def _stored(kind: str, text: str | None) -> object:
    """Return what the source's column is given to give the value back."""
    if text is None:
        return None
    match kind:
        case "boolean":
            return int(text == "true")
        case "bigint":
            return int(text)
        case "double precision":
            return float(text)
        case "bytea":
            return bytes.fromhex(text.removeprefix("\\x"))
        case "timestamp" if "." in text:
            return text[:20] + text[20:].ljust(6, "0")
        case _:
            return text


def _affinities(table: Table) -> sqlite3.Connection:
    """Make a table whose columns have the source's declared types and nothing else."""
    memory = sqlite3.connect(":memory:", isolation_level=None)
    columns = ", ".join(f"c{place} {column.declared}" for place, column in enumerate(table.columns))
    memory.execute(f"CREATE TABLE t ({columns})")
    memory.text_factory = bytes
    return memory


def _given_back(memory: sqlite3.Connection, table: Table, rows: Iterable[list[object]]) -> Iterator[Row]:
    marks = ", ".join("?" * len(table.columns))
    memory.execute("DELETE FROM t")
    memory.executemany(f"INSERT INTO t VALUES ({marks})", rows)
    columns = ", ".join(f"typeof(c{place}), c{place}" for place in range(len(table.columns)))
    for row in memory.execute(f"SELECT {columns} FROM t ORDER BY rowid"):
        yield tuple(as_bytes(kind.decode(), value) for kind, value in zip(row[::2], row[1::2], strict=True))


def _row_key(row: Row, places: Sequence[int]) -> str:
    parts: list[object] = []
    for kind, raw in (row[place] for place in places):
        match kind:
            case "integer":
                parts.append(int(raw))
            case "real":
                parts.append({"real": repr(struct.unpack(">d", raw)[0])})
            case "blob":
                parts.append({"blob": raw.hex()})
            case _:
                parts.append(raw.decode())
    return json.dumps(parts, separators=(",", ":"))


def _with_originals(row: Row, table: Table, key: str, originals: Originals) -> Row:
    if not originals.values:
        return row
    values = list(row)
    for place, name in enumerate(table.names):
        if (key, name) in originals.values:
            values[place] = originals.values[key, name]
            originals.used.add((key, name))
    return tuple(values)
