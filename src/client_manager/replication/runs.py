"""What one run knows when it begins, and what its baseline will be."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from uuid import uuid4

import apsw

from client_manager.replication.baseline import Baseline
from client_manager.replication.replica import ReplicaState
from client_manager.replication.source import Snapshot
from client_manager.replication.steps import Interrupt, uninterrupted
from client_manager.replication.tables import Table, unfinished_copies, unfit_name
from client_manager.replication.trouble import SourceTrouble


class Clock:
    """Seconds per phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = perf_counter()

    def phase(self, name: str) -> None:
        """Say that a phase is over."""
        now = perf_counter()
        self.seconds[name] = round(self.seconds.get(name, 0.0) + now - self._last, 6)
        self._last = now

    def total(self) -> float:
        """Return the seconds of all phases that are over."""
        return sum(self.seconds.values())


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        fingerprint: of the source, taken before it was read.
        confirmed: the operator has seen what a guard stopped at.
        interrupt: ends the run by raising.
    """

    state: ReplicaState
    term: int
    fingerprint: tuple[int | str, ...] | None
    confirmed: bool
    interrupt: Interrupt = uninterrupted
    clock: Clock = field(default_factory=Clock)


def next_baseline(snapshot: Snapshot, run: Run, *, unaudited: int = 0) -> Baseline:
    """Return the baseline that a snapshot becomes."""
    return Baseline(
        generation=run.state.generation + 1,
        token=uuid4().hex,
        fingerprint=run.fingerprint,
        frames=snapshot.mark.frames if snapshot.mark else None,
        salts=snapshot.mark.salts if snapshot.mark else None,
        inode=snapshot.inode,
        change_counter=snapshot.change_counter,
        unaudited=unaudited,
    )


def refuse_unfit(connection: apsw.Connection, now: dict[str, Table], before: set[str]) -> None:
    """Refuse what cannot be followed as it is.

    Raises:
        SourceTrouble: there is no table; a migration has dropped one whose new copy is not in its place yet; or a name
            has no place in PostgreSQL.
    """
    if not now:
        raise SourceTrouble("source_missing", "the file holds no table")
    name = unfit_name(now)
    if name:
        raise SourceTrouble("failed", f"{name} has a name that PostgreSQL cannot hold")
    for name in unfinished_copies(connection):
        if name not in now and (name in before or not before):
            raise SourceTrouble("source_migrating", f"the table {name} is being rebuilt")


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """Hold a file of our own open for reading."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
