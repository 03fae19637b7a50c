"""Rows that are not the same in a client's database and in its replica, as an operator looks at and decides them."""

from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime

from client_manager.models.base import Model
from client_manager.models.replication import Strategy
from client_manager.models.sync import Conflict, Job

Side = Literal["source", "target"]


class ConflictColumn(Model):
    """One column on both sides, as text; None is NULL, or a side that has no such row."""

    name: str
    source: str | None
    target: str | None
    changed: bool


class ConflictRows(Model):
    """One conflict with both rows side by side, as they were when it was noticed.

    Attributes:
        in_source, in_target: whether the row is there at all.
        ordered: an operator has decided for the source, and no run has brought its row over yet.
    """

    conflict: Conflict
    columns: tuple[ConflictColumn, ...]
    in_source: bool
    in_target: bool
    ordered: bool

    @property
    def changed(self) -> tuple[str, ...]:
        """The columns that differ."""
        return tuple(column.name for column in self.columns if column.changed)


class Resolution(Model):
    """What became of a decision.

    Attributes:
        job: the comparison that brings the source's row over; None where the replica's stands.
        settled: whether it is done.
    """

    log_id: UUID
    keep: Side
    job: UUID | None
    settled: bool


class Strategies(Model):
    """What is done about rows that differ: by table, ``*`` for all others; without that the source wins."""

    client: str
    tables: tuple[str, ...]
    strategies: dict[str, Strategy]


class FoundDifference(Model):
    """One of the first differences that a comparison has found."""

    table: str
    key: str
    column: str | None
    kind: str


class Verified(Model):
    """A comparison of a client's database with its replica that has ended well.

    Attributes:
        rows: that were compared.
        conflicts: rows that differed and that no change of the source explains.
        settled: those of them that are settled as their strategies say; the others wait for the operator.
        first: where, the first twenty.
        verified_at: when both were last known to be equal.
    """

    job: Job
    rows: int
    conflicts: int
    settled: int
    first: tuple[FoundDifference, ...]
    verified_at: AwareDatetime | None
