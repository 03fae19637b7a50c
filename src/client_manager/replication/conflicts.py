"""Rows that are not the same on both sides, in ``conflict_log``: both of them, and what became of the matter."""

from collections.abc import Iterable
from typing import Any, Final

import psycopg

from client_manager.replication.expectation import text_row
from client_manager.replication.replica import SQL, as_json
from client_manager.replication.strategies import Decision
from client_manager.replication.tables import Table
from client_manager.replication.values import Row, convert, row_key
from client_manager.replication.verify import RowDifference, as_report

_KINDS: Final = {"missing": "delete_conflict", "extra": "custom", "changed": "update_conflict", "table": "custom"}


def log_difference(
    connection: psycopg.Connection[Any], client: str, difference: RowDifference, decision: Decision
) -> None:
    """Log what a comparison with the replica has found, in the caller's transaction."""
    report = as_report(difference, decision.strategy)
    source, target = both_sides(difference)
    connection.execute(
        SQL["log_conflict"],
        {
            "client": client,
            "table": report.table,
            "record": report.key,
            "kind": _KINDS[report.kind],
            "source": source,
            "target": target,
            "strategy": decision.strategy,
            "resolved": (source if decision.write_source else target) if decision.settled else None,
            "is_resolved": decision.settled,
            "notes": f"{report.kind} in the replica" + (f": {report.column}" if report.column else ""),
        },
    )


def both_sides(difference: RowDifference) -> tuple[str | None, str | None]:
    """Return the row of the source and that of the replica as JSON; None where there is none."""
    mine = text_row(difference.table, difference.local.stored) if difference.local else None
    if mine is not None:  # jsonb holds no NUL, which stands where an original is missing
        mine = tuple(text and text.replace("\0", "") for text in mine)
    return _as_object(difference.table, mine), _as_object(difference.table, difference.remote)


def log_missed(
    connection: psycopg.Connection[Any], client: str, table: Table, before: Row | None, now: Row | None
) -> None:
    """Log a row that only the audit of an incremental run has found; the run writes it like the others."""
    row = now or before or ()
    source, target = _as_object(table, _as_text(table, now)), _as_object(table, _as_text(table, before))
    connection.execute(
        SQL["log_conflict"],
        {
            "client": client,
            "table": table.name,
            "record": row_key(tuple(row[place] for place in table.key_places) or ("no key",)),
            "kind": "custom",
            "source": source,
            "target": target,
            "strategy": "source_wins",
            "resolved": source,
            "is_resolved": True,
            "notes": "missed by the search of pages, found by its audit; please report it",
        },
    )


def _as_text(table: Table, row: Row | None) -> tuple[str | None, ...] | None:
    if row is None:
        return None
    return text_row(table, (convert(c.kind, value)[0] for c, value in zip(table.columns, row, strict=True)))


def _as_object(table: Table, values: Iterable[object] | None) -> str | None:
    if values is None:
        return None
    return as_json({column.name: value for column, value in zip(table.columns, values, strict=True)})
