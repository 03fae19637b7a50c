"""What a run of replication did, and what a comparison found."""

from typing import Literal

from pydantic import AwareDatetime, Field

from client_manager.models.base import Model

Level = Literal["idle", "pages", "sql", "reconcile", "full"]
Strategy = Literal["source_wins", "target_wins", "newest_wins", "manual"]


class RunResult(Model):
    """One run of one client.

    Attributes:
        level: how the changes were found: not at all, by differing pages, by comparing tables with the baseline,
            by comparing with the replica, or everything loaded anew.
        tables: how many tables were written.
        bytes: of the values sent.
        quarantined: values and rows of the whole replica that do not fit.
        converted: values of the whole replica that stand in another form, their originals kept.
        generation: of the replica now.
        missed: rows that an audit found and page-pruned runs had not; anything but 0 is a bug.
        seconds: phase -> duration.
    """

    level: Level
    tables: int = 0
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    bytes: int = 0
    quarantined: int = 0
    converted: int = 0
    generation: int
    missed: int = 0
    seconds: dict[str, float] = Field(default_factory=dict)


class Difference(Model):
    """One row, or one table, that is not the same on both sides.

    Attributes:
        key: of the row, as a JSON array.
        column: the columns that differ, where the row is on both sides.
        kind: what the replica is seen from the source: the row is missing, extra or changed; or the table is not its.
        strategy: what is done about it.
    """

    table: str
    key: str
    column: str | None
    kind: Literal["missing", "extra", "changed", "table"]
    strategy: Strategy


class VerifyResult(Model):
    """One comparison of source and replica.

    Attributes:
        rows: of the source.
        differences: what was not the same at first, what the source had changed meanwhile included.
        healed: differences that no change of the source explains, settled as their strategies say.
        conflicts: those.
    """

    equal: bool
    differences: tuple[Difference, ...] = ()
    rows: int = 0
    healed: int = 0
    conflicts: tuple[Difference, ...] = ()
    generation: int = 0
    seconds: dict[str, float] = Field(default_factory=dict)


class QuarantineEntry(Model):
    """One original that is kept because the replica cannot hold it as it is.

    Attributes:
        row_key: of the row, as a JSON array.
        column_name: None where the whole row has no place in the replica.
        sqlite_type: null, integer, real, text, blob, or row.
        raw_start: the first 200 bytes, hexadecimal.
    """

    table_name: str
    row_key: str
    column_name: str | None
    sqlite_type: str
    raw_bytes: int
    raw_start: str
    kind: Literal["quarantined", "converted"]
    reason: str
    generation: int
    noticed_at: AwareDatetime


class RestoreResult(Model):
    """A SQLite database that was made of a replica.

    Attributes:
        generation: of the replica that it equals.
        verified_at: when that replica was last known to equal its source.
        originals: values and rows that the replica could not hold and that are as they were again.
        file_bytes: size of the file.
        left_out: tables in the replica's schema that are none of the source's.
    """

    tables: int
    rows: int
    originals: int
    file_bytes: int
    generation: int
    verified_at: AwareDatetime | None
    left_out: tuple[str, ...] = ()
    seconds: dict[str, float] = Field(default_factory=dict)
