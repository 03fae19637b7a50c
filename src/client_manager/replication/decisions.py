"""What becomes of rows that differ: what an operator has decided of the single row, else the strategy of its table."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import psycopg

from client_manager.gateways import queries
from client_manager.models.replication import Difference
from client_manager.replication.conflicts import both_sides, log_difference
from client_manager.replication.strategies import Decision, decide
from client_manager.replication.verify import RowDifference, as_report

_SQL: Final = queries.load("conflicts")
_TABLE_LENGTH: Final = 100  # of conflict_log's columns
_RECORD_LENGTH: Final = 255
_SOURCE_WINS: Final = Decision("source_wins", write_source=True, settled=True)


@dataclass(frozen=True)
class Decided(Decision):
    """A decision; ``log_id`` is of the conflict about which an operator has made it."""

    log_id: UUID | None = None


class Decisions:
    """The decisions about one client's rows, read in the caller's connection."""

    def __init__(self, connection: psycopg.Connection[Any], client: str, strategies: Mapping[str, str]) -> None:
        self._connection = connection
        self._client = client
        self._strategies = strategies
        logged = connection.execute(_SQL["list_logged"], {"client": client})
        self._logged = {(str(table), str(record)): bool(decided) for table, record, decided in logged}

    def of(self, difference: RowDifference) -> Decision:
        """Return what is to become of a difference."""
        found = self._find("find_decision", difference) if self._log_of(difference) else None
        if found is None:
            return decide(difference, self._strategies)
        log_id, strategy = found
        return Decided(strategy, write_source=strategy == "source_wins", settled=True, log_id=log_id)

    def without_baseline(self, difference: RowDifference) -> Decision:
        """Return what is to become of a difference that the source itself may have made.

        Only a row that differs in exactly the way that was let stand before, or waits for the operator, is left alone.
        """
        found = self._find("find_standing", difference) if self._log_of(difference) is not None else None
        if found is None:
            return _SOURCE_WINS
        return Decision(found[0], write_source=False, settled=found[0] == "target_wins")

    def log(self, difference: RowDifference, decision: Decision) -> None:
        """Log a conflict, or that what an operator has decided of it is done; in the transaction of the rows."""
        if not isinstance(decision, Decided):
            log_difference(self._connection, self._client, difference, decision)
        elif decision.write_source:
            source, _ = both_sides(difference)
            self._connection.execute(_SQL["settle_decided"], {"log_id": decision.log_id, "source": source})

    def settle_equal(self, differing: list[Difference], term: int) -> None:
        """Close the open conflicts of all other rows."""
        self._connection.execute(
            _SQL["settle_equal"],
            {
                "client": self._client,
                "tables": [difference.table for difference in differing],
                "records": [difference.key for difference in differing],
                "term": term,
            },
        )

    def _log_of(self, difference: RowDifference) -> bool | None:
        """Say whether an operator has decided about a row; None where the log does not know it."""
        report = as_report(difference, "source_wins")
        key = report.table[:_TABLE_LENGTH], report.key[:_RECORD_LENGTH]
        return None if difference.is_table else self._logged.get(key)

    def _find(self, query: str, difference: RowDifference) -> Any:  # noqa: ANN401  psycopg's row
        report = as_report(difference, "source_wins")
        source, target = both_sides(difference)
        parameters = {
            "client": self._client,
            "table": report.table,
            "record": report.key,
            "source": source,
            "target": target,
        }
        return self._connection.execute(_SQL[query], parameters).fetchone()
