"""What an operator does with sync nodes. Menus and commands both end here."""

from collections.abc import Iterable

from rich.text import Text

from client_manager.errors import ClientManagerError
from client_manager.menu.session import Session
from client_manager.models.cluster import NodeName
from client_manager.models.sync_node import NodeStatus
from client_manager.sync_node import nodes, power
from client_manager.views.nodes import container_page, log_line, node_page, opinion_page, status_table
from client_manager.views.text import plain


def list_nodes(session: Session, cluster: str | None = None) -> None:
    """Show the nodes of this machine."""
    found = nodes.list_nodes(session.app, cluster)
    session.show(status_table(found))
    session.result(nodes=found)


def show_status(session: Session, node: NodeName, cluster: str | None = None) -> None:
    """Show a node's container, what it says, and its place in the cluster; the first two without the database too."""
    status = nodes.status(session.app, node, cluster)
    try:
        with session.app.sync_store() as store:
            state = store.state(status.cluster)
    except ClientManagerError:
        session.show(container_page(status, alone=True))
        raise
    session.show(container_page(status, alone=False))
    session.show(node_page(state, node, status.opinion))
    session.result(node=status, cluster=state)


def show_health(session: Session, node: NodeName, cluster: str | None = None) -> bool:
    """Show what a node answers when it is asked how it is; return whether it is healthy."""
    status = nodes.status(session.app, node, cluster)
    session.show(opinion_page(status.opinion))
    session.result(health=status.opinion)
    return status.opinion.reachable and status.opinion.healthy


def show_log(session: Session, node: NodeName, *, lines: int, follow: bool, cluster: str | None = None) -> None:
    """Show a node's log, and with ``follow`` go on until Ctrl-C; in a pipe the lines are the node's own JSON."""
    shown = log_line if session.console.is_terminal else lambda line: Text(plain(line))
    try:
        for line in _lines(session, node, lines, cluster, follow=follow):
            session.console.print(shown(line), soft_wrap=True)
    except KeyboardInterrupt:
        return


def _lines(session: Session, node: NodeName, lines: int, cluster: str | None, *, follow: bool) -> Iterable[str]:
    read = power.follow_log if follow else power.last_log
    return read(session.app, node, lines, cluster=cluster)


def switch(session: Session, action: str, node: NodeName, cluster: str | None = None) -> None:
    """Start, stop or restart a node; what that means for the lead is said before it is asked."""
    found = nodes.statuses(session.app, nodes.cluster_here(session.app, cluster))
    status = next(each for each in found if each.node == node)
    other = next(each for each in found if each.node != node)
    session.show(status_table(found))
    if action != "start":
        session.say(_what_follows(status, other), "" if other.opinion.healthy else "attention")
    if session.dry_run:
        session.say("Dry run: nothing was done.", "attention")
        session.result(dry_run=True, action=action, node=status)
        return
    if action != "start":
        session.confirm(f"{action.capitalize()} {node}?")
    _carry_out(session, action, node, status.cluster)


def _what_follows(status: NodeStatus, other: NodeStatus) -> str:
    if not other.opinion.healthy:
        return f"{other.node} cannot lead now: nothing is replicated until {status.node} or {other.node} is healthy."
    if status.opinion.is_leader:
        return f"{status.node} leads: it ends its jobs and hands over to {other.node}."
    return f"{other.node} goes on; meanwhile no other node could take over from it."


def _carry_out(session: Session, action: str, node: NodeName, cluster: str) -> None:
    with session.working() as report:
        if action == "stop":
            power.stop(session.app, node, report, cluster=cluster)
        else:
            (power.start if action == "start" else power.restart)(session.app, node, report, cluster=cluster)
    status = nodes.status(session.app, node, cluster)
    session.say(f"{node} is stopped." if action == "stop" else f"{node} is running and healthy.", "good")
    session.result(action=action, node=status)


def update_node(session: Session, node: NodeName, cluster: str | None = None) -> None:
    """Make one node anew from today's image; one that leads hands over first."""
    from client_manager.menu import cluster_actions

    cluster_actions.update_cluster(session, cluster, (node,))
