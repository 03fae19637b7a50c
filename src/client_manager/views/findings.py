"""What the doctor found, on the screen."""

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from client_manager.models.finding import Finding
from client_manager.models.operation import Operation
from client_manager.views.text import age, plain

_STYLES = {"ok": "good", "warning": "attention", "problem": "bad"}


def finding_table(findings: Sequence[Finding]) -> RenderableType:
    """Return every check with its verdict, and the fix below what needs one."""
    grid = Table.grid(padding=(0, 2), pad_edge=False)
    for finding in findings:
        text = Text(plain(finding.what))
        if finding.fix:
            text.append(f"\nFix: {plain(finding.fix)}", style="heading")
        grid.add_row(Text(finding.verdict, style=_STYLES[finding.verdict]), Text(finding.check), text)
    return grid


def operation_text(operation: Operation) -> Text:
    """Return an operation that was cut off, in one line."""
    return Text.assemble(
        ("Cut off: ", "attention"),
        f"{operation.action} of {operation.client}, begun by {plain(operation.operator)} ",
        f"{age(operation.started_at)} ago, last step: {operation.step}.",
    )
