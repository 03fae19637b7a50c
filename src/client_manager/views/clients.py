"""Clients on the screen."""

from collections.abc import Sequence
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from client_manager.guard import RemovalDecision
from client_manager.models.client import Change, ClientDetail, ClientSpec, ClientSummary, masked
from client_manager.models.environment import public_url
from client_manager.views.columns import HEADINGS, client_row
from client_manager.views.text import age, plain, size

_WIDE: Final = 140
_SHORT: Final = {"DATABASE": "DB", "postgresql": "pg"}
_FOLDED: Final = frozenset({"NAME", "DOMAIN", "IMAGE", "VERSION", "DRIFT"})
# "not managed" in two lines leaves the room to names and domains; a version may be a whole digest.
_MOST: Final = {"DRIFT": 7, "VERSION": 12}
_STYLES: Final = {
    "running": "good",
    "healthy": "good",
    "no": "quiet",
    "none": "quiet",
    "starting": "attention",
    "stopped": "attention",
    "not managed": "attention",
    "changed": "bad",
    "missing": "bad",
    "unreadable": "bad",
    "unhealthy": "bad",
    "restarting": "bad",
}
_FIELDS: Final = {"memory_bytes": "memory", "image_digest": "image digest"}


def client_table(clients: Sequence[ClientSummary], width: int) -> RenderableType:
    """Return the clients as a table that fits the width; the image's name only where there is room.

    What is long is folded, never cut: the operator must be able to read and copy it.
    """
    if not clients:
        return Text("There are no clients yet. 'client-manager client create NAME --domain D' makes the first.")
    wide = width >= _WIDE
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, int(wide), 0, 0), header_style="heading")
    headings = [heading for heading in HEADINGS if heading != "IMAGE" or wide]
    for heading in headings:
        table.add_column(
            heading if wide else _SHORT.get(heading, heading),
            no_wrap=heading not in _FOLDED,
            overflow="fold",
            max_width=None if wide else _MOST.get(heading),
        )
    for client in clients:
        cells = dict(zip(HEADINGS, client_row(client), strict=True))
        if not wide:
            cells["DATABASE"] = _SHORT.get(cells["DATABASE"], cells["DATABASE"])
        table.add_row(*(Text(cells[heading], style=_STYLES.get(cells[heading], "")) for heading in headings))
    return table


def client_page(detail: ClientDetail, *, reveal: bool) -> RenderableType:
    """Return everything about one client; secrets masked unless revealed."""
    summary, spec = detail.summary, detail.spec
    facts = [
        ("Client", f"{summary.name} ({summary.kind})"),
        ("Address", public_url(summary.domain, summary.port) if summary.domain else "-"),
        ("Container", summary.container),
        ("Image", summary.image),
        ("Digest", (spec.image_digest if spec else None) or "-"),
        ("State", f"{summary.state}, health: {summary.health}, restarts: {detail.restarts}"),
        ("Drift", summary.drift),
        (
            "Port",
            f"127.0.0.1:{summary.port}" if summary.port and not (spec and spec.carried) else str(summary.port or "-"),
        ),
        ("Data", detail.data or "-"),
        ("Network", ", ".join(detail.network) or "-"),
        ("Database", summary.database or "-"),
        ("Age", age(summary.created_at)),
    ]
    if spec:
        facts += [("Memory", size(spec.memory_bytes)), ("CPUs", str(spec.cpus or "no limit"))]
    parts: list[RenderableType] = [_facts(facts)]
    if spec:
        parts += [Text("\nVariables", style="heading"), _facts(_variables(spec, reveal=reveal))]
    if detail.differences:
        parts += [
            Text("\nDrift: should be -> is", style="bad"),
            change_table(detail.differences),
            Text(f"Next: client-manager client repair {summary.name}"),
        ]
    return Group(*parts)


def plan_page(spec: ClientSpec) -> RenderableType:
    """Return what a new client would be."""
    facts = [
        ("Client", f"{spec.name}, container {spec.container}"),
        ("Address", public_url(spec.domain, spec.port)),
        ("Port", str(spec.port or "none")),
        ("Image", spec.image),
        ("Limits", f"memory {size(spec.memory_bytes)}, CPUs {spec.cpus or 'no limit'}"),
        ("Database", spec.database),
    ]
    return Group(_facts(facts), _facts(_variables(spec, reveal=False)))


def change_table(changes: Sequence[Change]) -> RenderableType:
    """Return what changes, before and after."""
    grid = Table.grid(padding=(0, 2), pad_edge=False)
    for change in changes:
        shown = [_words(change.field, value) for value in (change.before, change.after)]
        grid.add_row(
            Text(_FIELDS.get(change.field, plain(change.field)), style="heading"),
            Text(shown[0]),
            Text("->"),
            Text(shown[1]),
        )
    return grid


def removal_page(name: str, decision: RemovalDecision) -> RenderableType:
    """Return what goes with a client and what stays, or why it may not go."""
    if decision.blockers:
        return Text("\n".join([f"{name} may not be removed:", *decision.blockers]), style="bad")
    text = Text(f"Removing {name}")
    for thing in decision.goes:
        text.append("\n  goes   ", style="bad").append(plain(thing))
    for thing in decision.stays:
        text.append("\n  stays  ", style="good").append(plain(thing))
    return text


def _facts(rows: Sequence[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2), pad_edge=False)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for heading, value in rows:
        grid.add_row(Text(heading, style="quiet"), Text(plain(value), style=_STYLES.get(value, "")))
    return grid


def _variables(spec: ClientSpec, *, reveal: bool) -> list[tuple[str, str]]:
    return [(name, value if reveal else masked(name, value)) for name, value in sorted(spec.variables().items())]


def _words(field: str, value: str) -> str:
    if field == "memory_bytes" and value.isdigit():
        return size(int(value) or None)
    return plain(value)
