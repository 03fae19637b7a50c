"""What was looked at for an operator who has named no command, section by section."""

import shlex
from collections.abc import Callable, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from client_manager.errors import ClientManagerError
from client_manager.models.client import ClientSummary
from client_manager.models.database import NOT_IN_USE
from client_manager.models.finding import Finding
from client_manager.models.overview import NextStep, Overview
from client_manager.views.clusters import cluster_table
from client_manager.views.errors import error_text
from client_manager.views.findings import finding_table

_NO_DATABASE: Final = "There is no cluster yet, and no database is in use."


def overview_page(
    seen: Overview, draw: Callable[[Sequence[ClientSummary]], RenderableType], steps: Sequence[NextStep]
) -> RenderableType:
    """Return all of it; ``draw`` makes the list of clients as it is drawn where it is printed."""
    sections = (
        ("Clients", _clients(seen.clients, draw)),
        ("Clusters", _clusters(seen)),
        ("Doctor", _findings(seen)),
        ("Next", step_lines(steps)),
    )
    return Group(*(part for title, body in sections for part in (Text(f"\n{title}", style="heading"), body)))


def _clients(
    clients: Sequence[ClientSummary] | ClientManagerError, draw: Callable[[Sequence[ClientSummary]], RenderableType]
) -> RenderableType:
    if isinstance(clients, ClientManagerError):
        return error_text(clients)
    return draw(clients) if clients else Text("There are no clients yet.")


def _clusters(seen: Overview) -> RenderableType:
    if isinstance(seen.clusters, ClientManagerError):
        return error_text(seen.clusters)
    if not seen.clusters and seen.database in NOT_IN_USE:
        return Text(_NO_DATABASE)
    return cluster_table(seen.clusters)


def _findings(seen: Overview) -> RenderableType:
    found = [finding for finding in seen.findings if finding.verdict != "ok"]
    if not found:
        return Text(f"All {len({finding.check for finding in seen.findings})} checks are in order.", style="good")
    shown_above = [place for place in (seen.clients, seen.clusters) if isinstance(place, ClientManagerError)]
    return finding_table(_each_once(found, [Finding.of("", error) for error in shown_above]))


def _each_once(findings: Sequence[Finding], shown_above: Sequence[Finding]) -> list[Finding]:
    """Return each fault once, with all the checks that it stands in the way of; in brief where it stands above."""
    checks: dict[Finding, list[str]] = {}
    for finding in findings:
        checks.setdefault(finding.model_copy(update={"check": ""}), []).append(finding.check)
    brief = {"what": "could not be looked at: the error is above", "fix": ""}
    return [
        fault.model_copy(update={"check": ", ".join(dict.fromkeys(names)), **(brief if fault in shown_above else {})})
        for fault, names in checks.items()
    ]


def step_lines(steps: Sequence[NextStep]) -> Text:
    """Return the commands, one a line, each with what it is good for."""
    lines = Text()
    for index, step in enumerate(steps):
        lines.append("\n" if index else "").append(f"  {shlex.join(['client-manager', *step.words])}")
        lines.append(f"  # {step.why}", style="quiet")
    return lines
