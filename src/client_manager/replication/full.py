"""Everything anew: loaded beside the replica, compared, and swapped in by one transaction."""

import os
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import sql

from client_manager.errors import ClientManagerError
from client_manager.replication import declaration, steps
from client_manager.replication.baseline import Baseline, Folder
from client_manager.replication.declaration import Kept
from client_manager.replication.digest import quoted
from client_manager.replication.image import FilePages
from client_manager.replication.load import Load, load_id
from client_manager.replication.progress import Job
from client_manager.replication.replica import SQL, Replica, as_json, qualified
from client_manager.replication.runs import Run
from client_manager.replication.tables import LOAD_TABLE, Table, schema_fingerprint
from client_manager.replication.trouble import SourceTrouble
from client_manager.replication.verify import Comparison
from client_manager.replication.writer import Written

_SHOWN: Final = 5


@dataclass(frozen=True)
class FullLoad:
    """One full load of a client from ``shadow.new``."""

    replica: Replica
    folder: Folder
    streams: int
    job: Job
    run: Run

    def load(self, tables: dict[str, Table], baseline: Baseline, *, steady: bool) -> Written:
        """Load, compare, swap; ``steady`` says that nothing was committed while the copy was made.

        Raises:
            SourceTrouble: the schema holds tables that this program did not make.
            ClientManagerError: what was loaded is not what the source holds; nothing was swapped.
        """
        name = self.replica.load_schema
        with self.replica.connect() as connection:
            self._refuse_foreign(connection)
            self.replica.refuse_outside_dependents(connection)
        descriptor = os.open(self.folder.next_shadow, os.O_RDONLY | os.O_CLOEXEC)
        try:
            load = Load(
                self.replica,
                name,
                self.folder.next_shadow,
                self.run.state,
                self.streams,
                self.job.progress,
                self.run.interrupt,
            )
            load.run(tables, FilePages(descriptor), load_id(baseline, steady=steady))
        finally:
            os.close(descriptor)
        self._is_over("load")
        self._compare(name, tables)
        self._is_over("verify")
        self.folder.write_replacement(baseline)
        run = self.run
        with self.replica.connect() as connection, self.replica.writing(connection, run.state, run.term, run.interrupt):
            self._swap(connection, name, baseline, tables)
            self.job.finish(connection, load.written, len(tables))
        self.folder.apply(baseline.generation)
        run.clock.phase("swap")
        return load.written

    def _is_over(self, phase: str) -> None:
        self.run.clock.phase(phase)
        self.run.interrupt()

    def _refuse_foreign(self, connection: psycopg.Connection[Any]) -> None:
        if self.run.state.generation == 0 and not self.run.confirmed and self.replica.shape(connection):
            raise SourceTrouble(
                "needs_confirmation",
                f"the schema {self.replica.name} holds tables that were not replicated from it and would be replaced",
            )

    def _compare(self, name: str, tables: dict[str, Table]) -> None:
        comparison = Comparison(self.replica, name, name, self.folder.next_shadow, tables, self.run.interrupt)
        found = [f"{d.table.name} {d.key}" for d in comparison.differences()]
        if found:
            raise ClientManagerError(
                "What was loaded is not what the client's database holds.",
                why=f"{len(found)} rows differ, among them {', '.join(found[:_SHOWN])}.",
                hint="The replica is as before. Run it again; if it stays so, report it.",
            )
        steps.reached("load verified")

    def _swap(
        self, connection: psycopg.Connection[Any], name: str, baseline: Baseline, tables: dict[str, Table]
    ) -> None:
        client = quoted(self.replica.name)
        connection.execute(sql.SQL("DROP TABLE {}").format(qualified(name, LOAD_TABLE)))
        self.replica.refuse_outside_dependents(connection)
        connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(client))
        connection.execute(sql.SQL("ALTER SCHEMA {} RENAME TO {}").format(quoted(name), client))
        connection.execute(SQL["drop_kept_client"], {"client": self.replica.name, "generation": baseline.generation})
        connection.execute(
            SQL["adopt_kept"], {"client": self.replica.name, "load": name, "generation": baseline.generation}
        )
        declared = declaration.of_copy(self.folder.next_shadow, None)
        parameters = advance_parameters(self.replica.name, baseline, tables, declared, verified=True)
        connection.execute(SQL["advance"], parameters)


def advance_parameters(
    client: str, baseline: Baseline, tables: dict[str, Table], declared: Kept, *, verified: bool
) -> dict[str, object]:
    """Return what a replica's state becomes with a new generation."""
    mark = {
        "token": baseline.token,
        "tables": sorted(tables),
        "frames": baseline.frames,
        "salts": baseline.salts,
        "declared": declared.digest,
        "sequence": declared.sequence,
    }
    return {
        "client": client,
        "mark": as_json(mark),
        "source_schema": declared.document,
        "schema_fingerprint": schema_fingerprint(tables),
        "verified": verified,
    }
