"""What the server saw, and what may not be in it. Shares nothing with the product but the names of two tables."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import psycopg
from psycopg.rows import class_row

SCHEMA = Path(__file__).with_name("audit.sql")
_LEASES = """
SELECT number, extract(epoch FROM at)::float8 AS at, leader_id, term,
       extract(epoch FROM expires_at)::float8 AS expires_at, application
  FROM chaos.leases WHERE number > %s ORDER BY number
"""
_WRITES = """
SELECT number, extract(epoch FROM at)::float8 AS at,
       extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 AS committed_at,
       client, generation, advanced, fence, fence_was, application
  FROM chaos.writes WHERE number > %s ORDER BY number
"""


@dataclass(frozen=True)
class LeaseRow:
    """The lease, as one transaction left it."""

    number: int
    at: float
    leader_id: str
    term: int
    expires_at: float
    application: str


@dataclass(frozen=True)
class WriteRow:
    """A client's generation or fence, as one transaction left it."""

    number: int
    at: float
    committed_at: float | None
    client: str
    generation: int
    advanced: bool
    fence: int
    fence_was: int
    application: str


@dataclass(frozen=True)
class Term:
    """One leader's time: from when the row had it, to when the row had another or its lease had run out.

    Attributes:
        lasted: until when the lease was, whoever took it before.
    """

    term: int
    leader_id: str
    begun: float
    ended: float
    lasted: float


@dataclass
class Audit:
    """Everything since the cluster was made. A restored server forgets; what was read before is kept here."""

    leases: list[LeaseRow]
    writes: list[WriteRow]
    restored_at: list[tuple[int, int]]  # places in ``leases`` and ``writes`` from which on a restored server speaks
    _read: tuple[int, int] = (0, 0)

    @classmethod
    def empty(cls) -> "Audit":
        return cls([], [], [])

    def read(self, connection: psycopg.Connection) -> None:
        """Take over what is new."""
        with connection.cursor(row_factory=class_row(LeaseRow)) as cursor:
            leases = cursor.execute(_LEASES, (self._read[0],)).fetchall()
        with connection.cursor(row_factory=class_row(WriteRow)) as cursor:
            writes = cursor.execute(_WRITES, (self._read[1],)).fetchall()
        self.leases += leases
        self.writes += writes
        self._read = (
            leases[-1].number if leases else self._read[0],
            writes[-1].number if writes else self._read[1],
        )

    def restored(self, leases: int, writes: int) -> None:
        """The server stands where its audit ended with these numbers; everything later has not happened for it."""
        self.restored_at.append((len(self.leases), len(self.writes)))
        self._read = (leases, writes)

    def terms(self) -> list[Term]:
        """Every term in the order in which they were taken; one whose lease ran out and was renewed comes twice."""
        found: list[Term] = []
        for row in self.leases:
            last = found[-1] if found else None
            if last and (last.term, last.leader_id) == (row.term, row.leader_id) and row.at <= last.ended:
                found[-1] = replace(last, ended=row.expires_at, lasted=row.expires_at)
                continue
            if last:
                found[-1] = replace(last, ended=min(last.ended, row.at))
            found.append(Term(row.term, row.leader_id, row.at, row.expires_at, row.expires_at))
        return found

    def faults(self) -> list[str]:
        """Everything that may never be, each as one line."""
        return [*_two_leaders(self.leases), *self._shrinking_terms(), *self._wrong_writers()]

    def _shrinking_terms(self) -> Iterable[str]:
        for before, after in pairwise(self.leases):
            if after.term < before.term:
                yield f"the term went back from {before.term} to {after.term}"

    def _wrong_writers(self) -> Iterable[str]:
        leaders = {row.term: row.leader_id for row in self.leases}
        parts = [0, *(place for _, place in self.restored_at), len(self.writes)]
        for begin, end in pairwise(parts):
            for client in sorted({row.client for row in self.writes}):
                yield from _wrong_writers([row for row in self.writes[begin:end] if row.client == client], leaders)


def _two_leaders(leases: Sequence[LeaseRow]) -> Iterable[str]:
    leaders: dict[int, str] = {}
    for row in leases:
        if leaders.setdefault(row.term, row.leader_id) != row.leader_id:
            yield f"term {row.term} has two leaders: {leaders[row.term]} and {row.leader_id}"


def _wrong_writers(writes: Sequence[WriteRow], leaders: dict[int, str]) -> Iterable[str]:
    """A fence that was raised is the last word: from then on nobody but the leader of that term may write."""
    for row in writes:
        if row.fence < row.fence_was:
            yield f"{row.client}: the fence went back from {row.fence_was} to {row.fence}, by {row.application}"
        if row.advanced and row.application != leaders.get(row.fence):
            yield (
                f"{row.client}: {row.application} wrote generation {row.generation} under the fence {row.fence}"
                f" of {leaders.get(row.fence)}"
            )
