"""The menu of the sync cluster."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from client_manager.errors import ClientManagerError, InvalidInput
from client_manager.menu import cluster_actions
from client_manager.menu.main import Action, loop
from client_manager.menu.nodes import node_menu
from client_manager.menu.prompts import Option
from client_manager.menu.session import Session
from client_manager.models.base import parse
from client_manager.models.cluster import ClusterName, NodeName
from client_manager.models.cluster_plan import ClusterRequest
from client_manager.sync_node import nodes
from client_manager.views.nodes import container_state
from client_manager.views.text import one_line


def manage(session: Session) -> None:
    """Show the menu of this machine's cluster; without one, that of deploying it."""
    loop(session, lambda: _title(session), lambda: _options(session))


def _options(session: Session) -> list[Option[Action | None]]:
    # The numbers are the predecessor's.
    deploy: Option[Action | None] = Option("Deploy Sync Cluster", _deploy, "1")
    back: tuple[Option[Action | None], ...] = (
        Option("Deregister Cluster", _deregister, "5"),
        Option("Restore a Cluster", _restore, "r"),
        Option("Back", None, "0"),
    )
    if not session.app.cluster_files.names():
        return [deploy, *back]
    return [
        deploy,
        Option("View Cluster Health", _of_cluster(cluster_actions.show_health, "health"), "2"),
        Option("Manage Sync Node A", partial(_node, node="sync-node-a"), "3"),
        Option("Manage Sync Node B", partial(_node, node="sync-node-b"), "4"),
        Option("Update Sync Nodes", _of_cluster(cluster_actions.update_cluster, "update"), "6"),
        Option("Switch over", _of_cluster(cluster_actions.switch_over, "switch-over"), "s"),
        Option("View Cluster Status", _of_cluster(cluster_actions.show_cluster, "show"), "v"),
        Option("Watch (live, until q)", _of_cluster(cluster_actions.watch_cluster, "watch"), "w"),
        *back,
    ]


def _title(session: Session) -> str:
    """Return which cluster this is and how its nodes are; that Docker is gone must not close the way to its menu."""
    names = session.app.cluster_files.names()
    if not names:
        return "Sync cluster: none is deployed on this machine"
    try:
        found = nodes.list_nodes(session.app)
    except ClientManagerError as error:
        return f"Sync cluster {', '.join(names)}  (its nodes: {one_line(error.what)})"
    said = ", ".join(f"{each.node} {container_state(each)[0]}" for each in found)
    return f"Sync cluster {', '.join(names)}  {said}"


def chosen(session: Session) -> str:
    """Return the cluster that is meant: the only one of this machine, or the one that the operator chooses."""
    names = session.app.cluster_files.names()
    if len(names) > 1:
        keys = [str((index + 1) % 10) for index in range(len(names))] if len(names) <= 10 else [""] * len(names)  # noqa: PLR2004
        return session.ask.choose(
            "Which cluster?", [Option(name, name, key) for name, key in zip(names, keys, strict=True)]
        )
    return nodes.cluster_here(session.app).name


def _deploy(session: Session) -> None:
    names = session.app.cluster_files.names()
    default = names[0] if names else session.app.settings.cluster
    name = session.ask.text("Cluster name:", partial(parse, ClusterName, what="cluster name"), default=default)
    cluster_actions.deploy_cluster(session, ClusterRequest(name=name))
    session.equivalent("cluster", "deploy", name)


def _of_cluster(action: Callable[[Session, str], object], verb: str) -> Action:
    """Return an entry that does something with the cluster that is meant, and shows the command that does the same."""

    def entry(session: Session) -> None:
        name = chosen(session)
        action(session, name)
        session.equivalent("cluster", verb, name)

    return entry


def _node(session: Session, node: NodeName) -> None:
    node_menu(session, node, chosen(session))


def _deregister(session: Session) -> None:
    from client_manager.menu import deregistration

    names = session.app.cluster_files.names()
    name = (
        chosen(session)
        if names
        else session.ask.text("Cluster name:", partial(parse, ClusterName, what="cluster name"))
    )
    deregistration.deregister(session, name, deregistration.Asked())
    session.equivalent("cluster", "deregister", name)


def _restore(session: Session) -> None:
    from client_manager.menu import deregistration

    folder = session.app.settings.data_root / "bundles"
    found = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    default = str(found[0]) if found else ""
    bundle = Path(session.ask.text("Bundle:", _file, default=default))
    deregistration.restore(session, bundle)
    session.equivalent("cluster", "restore", str(bundle))


def _file(text: str) -> str:
    if not Path(text).is_file():
        raise InvalidInput("There is no such file.", why=f"{text or 'Nothing'} is no file.")
    return text
