"""Runs, differences and quarantine of a replica, on the screen."""

from collections.abc import Sequence

from rich.text import Text

from client_manager.models.replication import QuarantineEntry, RunResult, VerifyResult
from client_manager.views.text import plain

_SHOWN = 50
_HOW = {
    "idle": "nothing had changed",
    "pages": "found by changed pages",
    "sql": "found by comparing tables with the last state",
    "reconcile": "found by comparing with the replica",
    "full": "everything loaded anew, and verified",
}


def run_lines(schema: str, result: RunResult) -> Text:
    """Return what a run did, in a few lines."""
    seconds = sum(result.seconds.values())
    text = Text(f"{schema}: up to date, generation {result.generation} ({_HOW[result.level]}, {seconds:.2f} s).")
    if result.level != "idle":
        rows = f"{result.inserted} rows inserted, {result.updated} updated, {result.deleted} deleted"
        text.append(f"\n{rows} in {result.tables} tables, {result.bytes} bytes sent.")
    if result.quarantined:
        text.append(
            f"\n{result.quarantined} values do not fit PostgreSQL and are in quarantine:"
            f" client-manager replicate quarantine --schema {schema}",
            style="attention",
        )
    if result.missed:
        text.append(
            f"\nAn audit found {result.missed} rows that runs before had missed; please report it.", style="bad"
        )
    return text


def difference_lines(schema: str, result: VerifyResult) -> Text:
    """Return what a comparison found: table, key and column of each difference."""
    if result.equal and not result.differences:
        return Text(f"{schema}: equal, {result.rows} rows compared.", style="good")
    text = Text(f"{schema}: {len(result.differences)} differences in {result.rows} rows.\n", style="attention")
    for found in result.differences[:_SHOWN]:
        column = f" {found.column}" if found.column else ""
        text.append(
            f"  {plain(found.table)} {plain(found.key)}{plain(column)}: {found.kind}, {found.strategy}\n", style=""
        )
    if len(result.differences) > _SHOWN:
        text.append(f"  and {len(result.differences) - _SHOWN} more; --json shows all\n")
    return text.append(f"{result.healed} of them were the replica's own and are settled as their strategies say.")


def quarantine_lines(schema: str, entries: Sequence[QuarantineEntry]) -> Text:
    """Return what is in quarantine, one value a line."""
    if not entries:
        return Text(f"{schema}: nothing is in quarantine.", style="good")
    return Text("\n").join(
        Text(
            f"{plain(entry.table_name)} {plain(entry.row_key)} {plain(entry.column_name or '(whole row)')}:"
            f" {plain(entry.reason)} ({entry.sqlite_type}, {entry.raw_bytes} bytes, {entry.raw_start[:32]})"
        )
        for entry in entries
    )
