"""How a cluster is, for a monitoring system: one line, and an exit code that such systems know."""

from enum import IntEnum

from rich.text import Text

from client_manager.cluster import health
from client_manager.errors import ClientManagerError, Unavailable
from client_manager.menu.session import Session
from client_manager.models.cluster import ClusterState, HealthFinding
from client_manager.sync_node import nodes
from client_manager.views.clusters import check_line, worst
from client_manager.views.text import one_line


class Verdict(IntEnum):
    """The exit codes of monitoring plugins (Monitoring Plugins Development Guidelines, section 2.3)."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


def check(session: Session, name: str | None) -> Verdict:
    """Print how a cluster is, in one line, and return its verdict; what cannot be looked at is never well."""
    try:
        cluster = name or nodes.cluster_here(session.app).name
        seen = health.look(session.app, cluster)
    except Unavailable as error:
        return _cannot_tell(session, Verdict.CRITICAL, error)
    except ClientManagerError as error:
        return _cannot_tell(session, Verdict.UNKNOWN, error)
    findings = health.judge(seen)
    verdict = Verdict[worst(findings).upper()]
    return _say(session, verdict, check_line(cluster, findings, seen.state), findings, seen.state)


def _cannot_tell(session: Session, verdict: Verdict, error: ClientManagerError) -> Verdict:
    said = one_line(f"{error.what} {error.why}").replace("|", "/").rstrip()
    return _say(session, verdict, f"CLUSTER {verdict.name} - {said}", (), None)


def _say(
    session: Session,
    verdict: Verdict,
    line: str,
    findings: tuple[HealthFinding, ...],
    state: ClusterState | None,
) -> Verdict:
    if not session.as_json:
        session.console.print(Text(line), soft_wrap=True)
    session.result(verdict=verdict.name.lower(), exit_code=int(verdict), text=line, findings=findings, cluster=state)
    return verdict
