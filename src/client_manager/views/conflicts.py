"""Conflicts on the screen: a list of them, one with both rows side by side, and what comparisons and restores found."""

from collections.abc import Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from client_manager.models.conflicts import ConflictColumn, ConflictRows, Strategies, Verified
from client_manager.models.sync import Conflict
from client_manager.views.lines import row_lines
from client_manager.views.nodes import folded_table
from client_manager.views.text import one_line, plain

_HEADINGS: Final = ("ID", "CLIENT", "TABLE", "ROW", "KIND", "NOTICED", "STATE")
_ID_LENGTH: Final = 8
_NOTHING: Final = "NULL"


def conflict_table(conflicts: Sequence[Conflict]) -> RenderableType:
    """Return conflicts, one a row; an id is shown as far as it takes to name it."""
    if not conflicts:
        return Text("There are no conflicts: every row of the replica is its source's.")
    return folded_table(
        _HEADINGS,
        [
            [
                (str(each.log_id)[:_ID_LENGTH], ""),
                (each.client_name, ""),
                (each.table_name, ""),
                (each.record_id or "-", ""),
                (each.conflict_type.replace("_", " "), ""),
                (f"{each.detected_at:%Y-%m-%d %H:%M}" if each.detected_at else "-", "quiet"),
                ("open", "attention") if each.resolved_at is None else (each.resolution_strategy or "settled", "good"),
            ]
            for each in conflicts
        ],
    )


def conflict_page(rows: ConflictRows, width: int) -> RenderableType:
    """Return both rows side by side, each column a line; those that differ are marked by a word and come first."""
    found = rows.conflict
    head = f"{plain(found.client_name)}, table {plain(found.table_name)}, row {plain(found.record_id or '-')}"
    lines = [Text(head, "heading")]
    if not rows.in_source:
        lines.append(Text("The source has no such row.", "attention"))
    if not rows.in_target:
        lines.append(Text("The replica has no such row.", "attention"))
    ordered = sorted(rows.columns, key=lambda column: not column.changed)
    table = [
        [
            ("differs" if column.changed else "", "bad"),
            (column.name, "heading" if column.changed else "quiet"),
            _side(column.source, column, there=rows.in_source),
            _side(column.target, column, there=rows.in_target),
        ]
        for column in ordered
    ]
    lines += row_lines(("", "COLUMN", "SOURCE", "REPLICA"), table, width, gives=(1, 2, 3))
    if rows.ordered:
        lines.append(Text("Decided for the source; the next run brings its row over.", "attention"))
    return Group(*lines)


def _side(value: str | None, column: ConflictColumn, *, there: bool) -> tuple[str, str]:
    style = "bad" if column.changed else "quiet"
    return (one_line(value) if value is not None else _NOTHING, style) if there else ("-", "quiet")


def verified_page(client: str, found: Verified) -> RenderableType:
    """Return what a comparison of source and replica has found."""
    if not found.conflicts:
        return Text(f"{plain(client)}: all {found.rows} rows are equal on both sides.", "good")
    left = found.conflicts - found.settled
    lines = [
        Text(f"{plain(client)}: {found.conflicts} of {found.rows} rows differed; {found.settled} are settled.", "bad"),
        folded_table(
            ("TABLE", "ROW", "COLUMNS", "KIND"),
            [[(one.table, ""), (one.key, ""), (one.column or "-", ""), (one.kind, "attention")] for one in found.first],
        ),
    ]
    if left:
        lines.append(Text(f"{left} wait for you: client-manager sync conflicts {plain(client)}", "attention"))
    return Group(*lines)


def strategies_table(found: Strategies) -> RenderableType:
    """Return what is done about rows that differ, by table."""
    named = found.strategies
    rows = [
        [("all others" if table == "*" else table, ""), (strategy, "")] for table, strategy in sorted(named.items())
    ]
    if "*" not in named:
        rows.append([("all others", ""), ("source_wins (the default)", "quiet")])
    return folded_table(("TABLE", "WHAT HAPPENS"), rows)
