"""One incremental run: the rows that differ between baseline and source, into the replica, exactly once."""

from array import array
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg

from client_manager.models.replication import Level
from client_manager.replication.audit import missed
from client_manager.replication.baseline import Baseline, Folder
from client_manager.replication.candidates import CandidateSearch, too_many
from client_manager.replication.changes import Changes
from client_manager.replication.conflicts import log_missed
from client_manager.replication.guards import DeleteGuard
from client_manager.replication.image import FilePages, MalformedPage, Pages, differing_pages
from client_manager.replication.owners import Owners
from client_manager.replication.replica import Replica
from client_manager.replication.runs import Run, next_baseline, opened, refuse_unfit
from client_manager.replication.source import Snapshot
from client_manager.replication.tables import Table, read_tables

_NONE: Final = array("q")


@dataclass
class Search:
    """Where to look: for each table the rowids, or all of it (None)."""

    differing: set[int]
    candidates: dict[str, "array[int] | None"]
    touched: set[int] = field(default_factory=set)
    by_pages: bool = False


def find_candidates(  # noqa: PLR0913, PLR0917  both versions, and how they are known
    folder: Folder,
    old: Pages,
    snapshot: Snapshot,
    before: dict[str, Table],
    now: dict[str, Table],
    known: tuple[str, set[int]],
) -> Search:
    """Narrow the comparison down to tables and rowids (level 1); to whole tables where that cannot be (level 2)."""
    token, differing = known
    unchanged = [
        (before[name], table)
        for name, table in now.items()
        if name in before and (before[name].root, before[name].sql) == (table.root, table.sql)
    ]
    same = [(old_table, table) for old_table, table in unchanged if table.rowid]
    candidates: dict[str, array[int] | None] = {name: None for name in now if name in before}
    if too_many(differing, old, snapshot.pages):
        return Search(differing, candidates)
    owners = Owners(folder.owners)
    try:
        if not owners.valid_for(token):
            owners.build(old, before.values(), token)
        search = CandidateSearch(old, snapshot.pages, same, owners)
        found = search.run(differing)
    except MalformedPage:
        return Search(differing, candidates)
    finally:
        owners.close()
    for _, table in same:
        candidates[table.name] = found.get(table.name, _NONE)
    return Search(differing, candidates, search.touched, by_pages=len(unchanged) == len(now) == len(before))


def differing(old: FilePages, snapshot: Snapshot, baseline: Baseline) -> set[int]:
    """Return the pages that differ from the baseline: those in the log since its mark, else by comparing all."""
    now, pages = snapshot.mark, snapshot.pages
    since = baseline.frames
    if now is None or since is None or baseline.salts != now.salts or not since <= now.frames <= len(snapshot.written):
        return differing_pages(old, pages)
    fewer, more = sorted((old.count, pages.count))
    return {*snapshot.written[since : now.frames], *range(fewer + 1, more + 1)}


@dataclass
class Increment:
    """The steps of one run around the transaction that the caller holds."""

    folder: Folder
    replica: Replica
    run: Run
    baseline: Baseline
    snapshot: Snapshot
    now: dict[str, Table] = field(init=False)
    before: dict[str, Table] = field(init=False)
    found: Search = field(init=False)
    following: Baseline = field(init=False)
    audited: Search | None = None
    missed: int = 0

    def search(self, *, audit: bool) -> None:
        """Find where to look and write down how the shadow follows; an audit looks everywhere.

        Raises:
            SourceTrouble: the source holds no table, or is in the middle of a migration.
        """
        source = self.snapshot.connection
        self.now, self.before = read_tables(source), read_tables(source, "base")
        refuse_unfit(source, self.now, set(self.before))
        self.following = next_baseline(self.snapshot, self.run, unaudited=0 if audit else self.baseline.unaudited + 1)
        with opened(self.folder.shadow) as descriptor:
            self._search(FilePages(descriptor))
        if audit:
            self.audited = self.found
            self.found = Search(self.found.differing, dict.fromkeys(self.found.candidates, None))

    def _search(self, old: FilePages) -> None:
        pages = self.snapshot.pages
        if old.page_size != pages.page_size:
            self.found = Search(set(), dict.fromkeys(self.now.keys() & self.before.keys()))
            self.folder.write_next_shadow(pages)
            self.folder.write_replacement(self.following)
            return
        differ = differing(old, self.snapshot, self.baseline)
        self.found = find_candidates(
            self.folder, old, self.snapshot, self.before, self.now, (self.baseline.token, differ)
        )
        self.folder.write_pending(self.following, pages, differ)

    @property
    def level(self) -> Level:
        """How the changes were found."""
        return "pages" if self.found.by_pages else "sql"

    def apply(self, connection: psycopg.Connection[Any]) -> Changes:
        """Write what differs, in the caller's transaction.

        Raises:
            SourceTrouble: a guard stops it.
        """
        source = self.snapshot.connection
        if self.audited:
            for table, before, now in missed(source, self.audited.candidates, self.now, self.before):
                log_missed(connection, self.replica.name, table, before, now)
                self.missed += 1
        guard = DeleteGuard(self.run.confirmed)
        kept = self.replica.kept_tables(connection) if self.run.state.has_quarantine else set()
        changes = Changes(self.replica, connection, source, self.following.generation, kept, guard, self.run.interrupt)
        changes.apply(self.now, self.before, self.found.candidates)
        replaced = (
            self.snapshot.inode != self.baseline.inode or self.snapshot.change_counter < self.baseline.change_counter
        )
        guard.check_replaced(replaced=replaced, changes=changes.changes())
        return changes

    def finish(self) -> None:
        """Let shadow and map follow what is committed."""
        self.folder.apply(self.following.generation)
        if self.found.by_pages:
            owners = Owners(self.folder.owners)
            try:
                owners.move(self.snapshot.pages, self.found.touched, self.following.token)
            finally:
                owners.close()
