"""Is the replica what the source is? Bucket sums of row digests on both sides, then single rows where they differ.

Both sides are read whole and apart from each other; only 4,096 sums a table cross the wire. Rows whose originals are in
quarantine count as what stands for them, and their originals are compared too.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import apsw
import psycopg
from psycopg import sql

from client_manager.models.replication import Difference, Strategy
from client_manager.replication.descriptors import open_private
from client_manager.replication.digest import RowText, key_local_text, key_text, quoted, row_text
from client_manager.replication.expectation import Expectation, Kept, LocalRow, shown, text_row
from client_manager.replication.reading import read_table
from client_manager.replication.replica import SQL, Replica, qualified, set_transaction
from client_manager.replication.steps import Interrupt, uninterrupted
from client_manager.replication.tables import LOAD_TABLE, Table
from client_manager.replication.values import (
    Stored,
    Value,
    row_key,
)

_BUCKET_DIGITS: Final = 3  # of an md5 in hexadecimal: 4,096 buckets
_SUM_DIGITS: Final = 15  # 60 bits, so that a sum of 64-bit numbers cannot overflow
_SHOWN: Final = 200
_CANCEL_S: Final = 5.0
_PAUSE_ROWS: Final = 1000  # after so many it asks whether to go on

Sums: TypeAlias = dict[str, tuple[int, int]]


@dataclass(frozen=True)
class RowDifference:
    """One row that is not the same on both sides; a side that lacks it is None. ``key`` is as in ``quarantine``."""

    table: Table
    key: str
    local: LocalRow | None
    remote: tuple[Stored, ...] | None
    columns: tuple[str, ...]
    remote_digest: str = ""

    @property
    def is_table(self) -> bool:
        """Whether the table as a whole is missing or of another shape."""
        return self.local is None and self.remote is None


@dataclass
class Comparison:
    """Compares a private copy of the source with a schema."""

    replica: Replica
    schema: str
    client: str
    copy: Path
    tables: dict[str, Table]
    interrupt: Interrupt = uninterrupted
    told: Callable[[str, int], None] | None = None
    rows: int = 0
    _read: int = 0
    _wrongly_kept: set[str] = field(default_factory=set)

    def differences(self) -> Iterator[RowDifference]:
        """Yield every row that differs; one table at a time, PostgreSQL and this process side by side."""
        with self.replica.connect() as connection, connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            set_transaction(connection, "pglz", None)
            yield from self.differences_in(connection)

    def differences_in(self, connection: psycopg.Connection[Any]) -> Iterator[RowDifference]:
        """Yield what differs from the replica as the caller's transaction sees it."""
        with (
            closing(open_private(self.copy)) as source,
            ThreadPoolExecutor(1, thread_name_prefix="verify") as other_side,
        ):
            compared = Replica(self.replica.database, self.schema)
            present, keys = compared.shape(connection), compared.keys(connection)
            yield from self._strangers(present)
            kept = self._kept(connection)
            waiting = {
                name: other_side.submit(self._remote_sums, connection, table)
                for name, table in self.tables.items()
                if present.get(name) == table.shape and keys.get(name, []) == [column.name for column in table.key]
            }
            with _given_up(connection, other_side):
                local = {name: self._told_sums(source, table, kept[name]) for name, table in self.tables.items()}
            remote = {name: sums.result() for name, sums in waiting.items()}
            for name, table in self.tables.items():
                if name not in remote:
                    yield self._missing_table(table, present)
                    continue
                if name in self._wrongly_kept:
                    yield RowDifference(table, "", None, None, ())
                    continue
                buckets = {
                    b for b in local[name].keys() | remote[name].keys() if local[name].get(b) != remote[name].get(b)
                }
                if buckets:
                    yield from self._rows(source, connection, table, buckets, kept[name])

    def _strangers(self, present: Mapping[str, Mapping[str, str]]) -> Iterator[RowDifference]:
        """Yield the tables that the source does not have."""
        for name in sorted(present.keys() - self.tables.keys() - {LOAD_TABLE}):
            yield RowDifference(Table(name, sql="", root=0, rowid=None, columns=()), "", None, None, ())

    def _missing_table(self, table: Table, present: Mapping[str, Mapping[str, str]]) -> RowDifference:
        columns = present.get(table.name, {})
        wrong = tuple(sorted({name for name, _ in columns.items() ^ table.shape.items()}))
        return RowDifference(table, "", None, None, wrong)

    def _kept(self, connection: psycopg.Connection[Any]) -> dict[str, Kept]:
        kept = {name: Kept() for name in self.tables}
        with_entries = [name for (name,) in connection.execute(SQL["list_kept_tables"], {"client": self.client})]
        for name in with_entries:
            if name in kept:
                found = connection.execute(SQL["list_kept"], {"client": self.client, "table": name})
                for key, column, kind, digest, how in found:
                    kept[name].entries.setdefault((key, column), []).append((kind, digest, how))
        return kept

    def _remote_sums(self, connection: psycopg.Connection[Any], table: Table) -> Sums:
        statement = sql.SQL(
            "SELECT left(bucket, {digits}), count(*), sum(('x' || left(row, {sum_digits}))::bit(60)::bigint)"
            " FROM (SELECT {bucket} AS bucket, md5({row}) AS row FROM {table} OFFSET 0) digests GROUP BY 1"
        ).format(
            digits=sql.Literal(_BUCKET_DIGITS),
            sum_digits=sql.Literal(_SUM_DIGITS),
            bucket=_bucket_expression(table),
            row=row_text(table.columns),
            table=qualified(self.schema, table.name),
        )
        return {bucket: (int(count), int(total)) for bucket, count, total in connection.execute(statement, ())}

    def _told_sums(self, source: apsw.Connection, table: Table, kept: Kept) -> Sums:
        before = self._read
        sums = self._local_sums(source, table, kept)
        self.rows += self._read - before
        if self.told:
            self.told(table.name, self._read - before)
        return sums

    def _local_sums(self, source: apsw.Connection, table: Table, kept: Kept) -> Sums:
        sums: Sums = {}
        text = RowText(table.columns)
        expectation = Expectation(table, kept)
        for row in self._local_rows(source, table, expectation):
            digest = _md5(text.of(row.stored))
            bucket = _bucket(table, row.stored, digest)
            count, total = sums.get(bucket, (0, 0))
            sums[bucket] = (count + 1, total + int(digest[:_SUM_DIGITS], 16))
        if expectation.is_wrong:
            self._wrongly_kept.add(table.name)
        return sums

    def _local_rows(self, source: apsw.Connection, table: Table, expectation: Expectation) -> Iterator[LocalRow]:
        """Yield the rows that should stand in the replica."""
        for row in read_table(source, table):
            self._read += 1
            if not self._read % _PAUSE_ROWS:
                self.interrupt()
            found = expectation.of(row)
            if found is not None:
                yield found

    def _rows(
        self, source: apsw.Connection, connection: psycopg.Connection[Any], table: Table, buckets: set[str], kept: Kept
    ) -> Iterator[RowDifference]:
        digests = self._remote_digests(connection, table, buckets)
        local: dict[tuple[Stored, ...], list[LocalRow]] = {}
        text = RowText(table.columns)
        for row in self._local_rows(source, table, Expectation(table, kept)):
            digest = _md5(text.of(row.stored))
            if _bucket(table, row.stored, digest) not in buckets:
                continue
            if digests.get(digest):
                digests[digest] -= 1
            else:
                local.setdefault(_stored_key(table, row.stored), []).append(row)
        yield from self._paired(connection, table, local, {digest: many for digest, many in digests.items() if many})

    def _remote_digests(self, connection: psycopg.Connection[Any], table: Table, buckets: set[str]) -> dict[str, int]:
        statement = sql.SQL(
            "SELECT md5({row}), count(*) FROM {table} WHERE left({bucket}, {digits}) = ANY (%s) GROUP BY 1"
        ).format(
            row=row_text(table.columns),
            table=qualified(self.schema, table.name),
            bucket=_bucket_expression(table),
            digits=sql.Literal(_BUCKET_DIGITS),
        )
        return {digest: int(many) for digest, many in connection.execute(statement, (list(buckets),))}

    def _paired(
        self,
        connection: psycopg.Connection[Any],
        table: Table,
        local: dict[tuple[Stored, ...], list[LocalRow]],
        digests: dict[str, int],
    ) -> Iterator[RowDifference]:
        """Pair the rows that are left on both sides by their keys."""
        statement = sql.SQL("SELECT {texts}, md5({row}) FROM {table} WHERE md5({row}) = ANY (%s)").format(
            texts=sql.SQL(", ").join([sql.SQL("{}::text").format(quoted(c.name)) for c in table.columns]),
            table=qualified(self.schema, table.name),
            row=row_text(table.columns),
        )
        for *remote, digest in connection.execute(statement, (list(digests),)) if digests else ():
            if not digests[digest]:  # rows of the same content, of which the source has some
                continue
            digests[digest] -= 1
            same = local.get(tuple(remote[place] for place in table.key_places)) if table.key else None
            yield self._difference(table, same.pop() if same else None, tuple(remote), digest)
        for rows in local.values():
            for row in rows:
                yield self._difference(table, row, None)

    def _difference(
        self, table: Table, local: LocalRow | None, remote: tuple[Stored, ...] | None, digest: str = ""
    ) -> RowDifference:
        columns: tuple[str, ...] = ()
        if local is not None and remote is not None:
            mine = text_row(table, local.stored)
            columns = tuple(c.name for c, a, b in zip(table.columns, mine, remote, strict=True) if a != b)
        return RowDifference(table, difference_key(table, local, remote), local, remote, columns, digest)


@contextmanager
def _given_up(connection: psycopg.Connection[Any], other_side: ThreadPoolExecutor) -> Iterator[None]:
    """Let the server's side end too where this one does."""
    try:
        yield
    except BaseException:
        other_side.shutdown(wait=False, cancel_futures=True)
        connection.cancel_safe(timeout=_CANCEL_S)
        raise


def difference_key(table: Table, local: LocalRow | None, remote: tuple[Stored, ...] | None) -> str:
    """Return the key of a differing row as ``quarantine`` writes keys; of a table without one, the row's start."""
    if local is not None:
        return row_key(tuple(local.source[place] for place in table.key_places) or ("no key",))
    values = remote or ()
    return row_key(tuple(_from_text(table, place, values[place]) for place in table.key_places) or ("no key",))


def _from_text(table: Table, place: int, value: Stored) -> Value:
    return int(value) if table.columns[place].kind == "bigint" and isinstance(value, str) else value


def as_report(difference: RowDifference, strategy: Strategy) -> Difference:
    """Return a difference as it is reported: which table, which key, which column."""
    kind: Literal["missing", "extra", "changed", "table"]
    if difference.is_table:
        kind = "table"
    elif difference.local is None:
        kind = "extra"
    else:
        kind = "missing" if difference.remote is None else "changed"
    column = ", ".join(difference.columns) or None
    return Difference(
        table=difference.table.name, key=difference.key[:_SHOWN], column=column, kind=kind, strategy=strategy
    )


def _stored_key(table: Table, stored: tuple[Stored, ...]) -> tuple[Stored, ...]:
    return tuple(shown(column.kind, stored[place]) for column, place in zip(table.key, table.key_places, strict=True))


def _bucket_expression(table: Table) -> sql.Composed:
    return sql.SQL("md5({})").format(key_text(table.key) if table.key else row_text(table.columns))


def _bucket(table: Table, stored: tuple[Stored, ...], digest: str) -> str:
    if not table.key:
        return digest[:_BUCKET_DIGITS]
    return _md5(key_local_text(table.key, [stored[place] for place in table.key_places]))[:_BUCKET_DIGITS]


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
