"""The doctor: everything that clients and their replication depend on, each fault with its fix."""

from client_manager.menu.session import Session
from client_manager.views.findings import finding_table
from client_manager.workflows import look_around


def examine(session: Session) -> bool:
    """Show what was found; return whether nothing of it is a problem."""
    findings = look_around.examine(session.app)
    session.show(finding_table(findings))
    session.result(findings=findings)
    return not any(finding.verdict == "problem" for finding in findings)
