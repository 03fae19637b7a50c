"""The menu of a sync node."""

from functools import partial
from typing import Final

from client_manager.menu import node_actions
from client_manager.menu.main import Action, loop
from client_manager.menu.prompts import Option
from client_manager.menu.session import Session
from client_manager.models.cluster import NodeName
from client_manager.sync_node import nodes
from client_manager.views.nodes import container_state, said_by

_LOG_LINES: Final = 50


def deployments(session: Session) -> list[tuple[str, Action]]:
    """Return every node of this machine as the list of deployments shows it, and its menu."""
    found: list[tuple[str, Action]] = []
    for name in session.app.cluster_files.names():
        spec = nodes.spec_of(session.app, name)
        for node in nodes.NODES:
            container = session.app.engine.find(spec.container(node))
            state = container.state if container else "missing"
            found.append((f"{node}  {name}  {state}  sync node", partial(node_menu, node=node, cluster=name)))
    return found


def node_menu(session: Session, node: NodeName, cluster: str) -> None:
    """Show the menu of one node until the operator goes back."""

    def options() -> list[Option[Action | None]]:
        running = nodes.status(session.app, node, cluster).running
        power = Option("Stop", partial(_switch, action="stop", node=node, cluster=cluster), "6")
        if not running:
            power = Option("Start", partial(_switch, action="start", node=node, cluster=cluster), "6")
        return [
            Option("View Cluster Status", partial(_status, node=node, cluster=cluster), "1"),
            Option("View Health Check", partial(_health, node=node, cluster=cluster), "2"),
            Option("View Logs", partial(_log, node=node, cluster=cluster), "3"),
            Option("Live Logs", partial(_log, node=node, cluster=cluster, follow=True), "4"),
            Option("Restart", partial(_switch, action="restart", node=node, cluster=cluster), "5"),
            power,
            Option("Update", partial(_update, node=node, cluster=cluster), "7"),
            Option("Back", None, "0"),
        ]

    loop(session, lambda: _title(session, node, cluster), options)


def _title(session: Session, node: NodeName, cluster: str) -> str:
    status = nodes.status(session.app, node, cluster)
    return f"{node} of {cluster}  {container_state(status)[0]}, says: {said_by(status)[0]}"


def _status(session: Session, node: NodeName, cluster: str) -> None:
    node_actions.show_status(session, node, cluster)
    session.equivalent("node", "status", node)


def _health(session: Session, node: NodeName, cluster: str) -> None:
    node_actions.show_health(session, node, cluster)
    session.equivalent("node", "health", node)


def _log(session: Session, node: NodeName, cluster: str, *, follow: bool = False) -> None:
    if follow:
        session.say("Ctrl-C ends it; the node goes on.", "quiet")
    node_actions.show_log(session, node, lines=_LOG_LINES, follow=follow, cluster=cluster)
    session.equivalent("node", "logs", node, *(["--follow"] if follow else []))


def _switch(session: Session, action: str, node: NodeName, cluster: str) -> None:
    node_actions.switch(session, action, node, cluster)
    session.equivalent("node", action, node)


def _update(session: Session, node: NodeName, cluster: str) -> None:
    node_actions.update_node(session, node, cluster)
    session.equivalent("node", "update", node)
