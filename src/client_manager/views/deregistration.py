"""Taking a cluster down, on the screen: what stands in the way, what goes and what stays, and what was done."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from client_manager.models.deregistration import (
    Blocker,
    ClientSeen,
    DeregistrationDecision,
    DeregistrationReport,
    Destination,
    RestoreReport,
)
from client_manager.views.lines import Cell, row_lines
from client_manager.views.nodes import folded_table
from client_manager.views.text import one_line, plain

_MOST_CLIENTS: Final = 8  # the rest is said in a line: the question below must stay on the screen
_MOST_REASONS: Final = 4
_HEADINGS: Final = ("client_name", "container_name", "last_sync_at", "status")
_UNTOUCHED: Final = "Clients that were never registered are not touched; nor is any container of one."


def decision_page(decision: DeregistrationDecision, width: int) -> RenderableType:
    """Return whether a cluster may go: why not, or what goes with it."""
    return _blocked(decision, width) if decision.blockers else _allowed(decision)


def _blocked(decision: DeregistrationDecision, width: int) -> RenderableType:
    enabled, others = decision.enabled, [each for each in decision.blockers if each.kind != "enabled"]
    lines = [
        Text.assemble(("Blocked: ", "bad"), f"{plain(decision.cluster)} may not be deregistered. Nothing was done.")
    ]
    if enabled:
        count = len(enabled)
        said = (
            f"{count} client{'' if count == 1 else 's'} of it {'is' if count == 1 else 'are'} still being replicated:"
        )
        lines += [Text(said), *client_lines(enabled, width)]
    lines += [line for each in others[:_MOST_REASONS] for line in _reason(each)]
    if len(others) > _MOST_REASONS:
        lines.append(Text(f"and {len(others) - _MOST_REASONS} more reasons; --check --json has all.", "quiet"))
    if enabled:
        lines += [
            Text("Ways out, for one, several or all: disable the sync, migrate the record to"),
            Text("another cluster, or decommission the client (stop, back up, remove)."),
        ]
    return Group(*lines)


def client_lines(clients: Sequence[ClientSeen], width: int) -> list[Text]:
    """Return clients that stand in the way, a line each, and how many more there are."""
    shown = clients if len(clients) <= _MOST_CLIENTS else clients[: _MOST_CLIENTS - 1]
    lines = row_lines(_HEADINGS, [_row(client) for client in shown], width, gives=(0, 1))
    more = len(clients) - len(shown)
    return [*lines, Text(f"and {more} more", "quiet")] if more else lines


def _row(client: ClientSeen) -> list[Cell]:
    at = f"{client.last_sync_at:%Y-%m-%d %H:%M:%S %Z}" if client.last_sync_at else "never"
    return [(client.client_name, ""), (client.container_name, ""), (at, ""), (client.status or "-", "attention")]


def _reason(blocker: Blocker) -> Iterator[Text]:
    yield Text.assemble(("- ", "bad"), one_line(blocker.what))
    if blocker.hint:
        yield Text(f"  {one_line(blocker.hint)}", "quiet")


def _allowed(decision: DeregistrationDecision) -> RenderableType:
    lines = [
        Text.assemble(("Allowed: ", "good"), f"nothing stands in the way of deregistering {plain(decision.cluster)}.")
    ]
    lines += [Text.assemble(("Warning: ", "attention"), one_line(warning)) for warning in decision.warnings]
    if decision.leader:
        lines.append(
            Text.assemble(("Warning: ", "attention"), f"{one_line(decision.leader)} leads it now and is stopped.")
        )
    return Group(
        *lines,
        Text.assemble(("Goes:  ", "bad"), counts(decision.goes)),
        Text.assemble(("Stays: ", "good"), counts(decision.stays), ", and the replicas"),
        Text(_UNTOUCHED),
        Text("A bundle that brings all of it back is written first.", "quiet"),
    )


def counts(tables: Mapping[str, int]) -> str:
    """Return how many rows of each table, in one line."""
    return ", ".join(f"{rows} {name}" for name, rows in tables.items() if rows) or "nothing"


def report_page(report: DeregistrationReport) -> RenderableType:
    """Return what a deregistration did, and how it is taken back."""
    return Group(
        Text.assemble((f"{plain(report.cluster)} is deregistered.", "good")),
        Text(f"Deleted and verified: {counts(report.deleted)}. Kept: {counts(report.kept)}."),
        Text(f"Stopped and removed: {', '.join(report.stopped) or 'no node'}."),
        *(Text.assemble(("Note: ", "attention"), plain(note)) for note in report.notes),
        Text(f"Its bundle: {plain(report.bundle)}"),
        Text.assemble(("To bring it back: ", "heading"), f"client-manager cluster restore {plain(report.bundle)}"),
    )


def restore_page(report: RestoreReport) -> RenderableType:
    """Return what a bundle brings back, or cannot."""
    verb = "would bring back" if report.dry_run or report.clashes else "has brought back"
    lines = [Text(f"The bundle of {plain(report.cluster)} {verb}: {counts(report.restored)}.")]
    if any(report.present.values()):
        lines.append(Text(f"There already, and left as it is: {counts(report.present)}."))
    if any(report.linked.values()):
        lines.append(Text(f"History that belongs to its clients again: {counts(report.linked)}."))
    lines += [Text.assemble(("Clash: ", "bad"), one_line(clash)) for clash in report.clashes]
    return Group(*lines, *(Text.assemble(("Note: ", "attention"), plain(note)) for note in report.notes))


def destination_table(destinations: Sequence[Destination]) -> RenderableType:
    """Return the clusters that a client's record can move to."""
    return folded_table(
        ("CLUSTER", "HOST", "LEADER"), [[(d.cluster, ""), (d.hostname, ""), (d.leader, "good")] for d in destinations]
    )
