"""Waiting until a started node takes part in its cluster."""

import time
from collections.abc import Callable
from typing import Final

from client_manager.app import App
from client_manager.errors import ClientManagerError
from client_manager.gateways import node_http
from client_manager.gateways.container_ends import ContainerEnds
from client_manager.models.cluster import ClusterSpec, NodeName, NodeOpinion
from client_manager.models.container import ContainerDetail
from client_manager.models.operation import Progress

Report = Callable[[Progress], None]

_PAUSE_S: Final = 0.1
_LAST_LINES: Final = 8


def wait_healthy(app: App, spec: ClusterSpec, node: NodeName, report: Report, *, before: str | None) -> NodeOpinion:
    """Return when the node answers that it can use the database and knows a leader.

    Args:
        app: the gateways.
        spec: of its cluster.
        node: which.
        report: told while it is waited for.
        before: the node id that answered there earlier, and does not count any more.

    Raises:
        ClientManagerError: the container ended, keeps ending, or did not turn healthy in ``node_health_timeout_s``;
            the reason holds its last log lines.
    """
    began = time.monotonic()
    ends = ContainerEnds(app.engine.get(spec.container(node)))
    said = ""
    while True:
        found = app.engine.get(spec.container(node))
        opinion = node_http.opinion(node, spec.ports[node])
        if opinion.healthy and opinion.node_id != before:
            return opinion
        ended = ends.reason(found)
        if ended:
            raise _unhealthy(app, node, found, ended)
        waited = time.monotonic() - began
        if waited > app.settings.node_health_timeout_s:
            raise _unhealthy(app, node, found, f"after {waited:.0f} s it says: {opinion.problem or 'nothing'}")
        if opinion.problem != said:
            said = opinion.problem
            report(Progress(step=f"Waiting for {node}", detail=said))
        time.sleep(_PAUSE_S)


def _unhealthy(app: App, node: NodeName, found: ContainerDetail, reason: str) -> ClientManagerError:
    lines = app.engine.log_tail(found.id, _LAST_LINES)
    said = "\n".join(["Its last words:", *(f"  {line}" for line in lines)]) if lines else "It logged nothing."
    return ClientManagerError(
        f"{node} does not turn healthy: {reason}.", why=said, hint=f"docker logs {found.name} shows more."
    )
