"""Fault x outcome x seconds, for people."""

import datetime
import os
from collections.abc import Iterable
from pathlib import Path

from tests.chaos.trial import Row

DOCUMENT = Path(__file__).parents[2] / "docs" / "faults.md"
UPDATE = "UPDATE_MATRIX"
_HEAD = ("fault", "outcome", "without a leader", "first row after", "all well after")
_INTRODUCTION = """# What faults the cluster survives

Each line is a fault done to a real cluster: a PostgreSQL server, two node containers from the node's image with the
default times (lease 8 s, renewed every 2 s, looked at every 1 s), two clients whose applications write all the time.
After each, every client's replica is compared with its source, row by row and value by value; a record that the server
keeps by triggers of the test's own is searched for a write by anybody but the leader of the newest term and for a term
with two leaders; no job may be left open; both nodes must be healthy again; and every answer that a node's `/health`
gave meanwhile, asked some six times a second from inside its network, is held against what was so.

Times are seconds since the fault, of one run, on two cores that all of it shares. *Without a leader*: until another
term was taken; a dash: none needed to be. *First row after*: until rows were committed again.

    UPDATE_MATRIX=1 make chaos

runs them and writes this page; `make test` runs them too.
"""


def table(rows: Iterable[Row]) -> list[str]:
    """The matrix in Markdown, as wide as it needs to be."""
    lines = [_HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(_HEAD))]
    padded = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return [padded[0], rule, *padded[1:]]


def _cells(row: Row) -> tuple[str, ...]:
    leaderless = "-" if row.leaderless_s is None else f"{row.leaderless_s:.2f} s"
    return (row.fault, row.outcome, leaderless, f"{row.first_row_s:.2f} s", f"{row.healed_s:.1f} s")


def write(rows: Iterable[Row]) -> None:
    """Keep it, if somebody asked for that."""
    if os.environ.get(UPDATE):
        when = f"Run on {datetime.datetime.now(datetime.UTC):%Y-%m-%d}."
        DOCUMENT.write_text("\n".join([_INTRODUCTION, when, "", *table(rows), ""]), encoding="utf-8")
