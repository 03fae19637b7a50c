"""Replace a node's container: the new one beside the old, which goes only when the new one takes part.

Whatever ends it half-way, the old container is found again by its name, and the next replacement begins by putting it
back.
"""

from client_manager.app import App
from client_manager.errors import Cancelled, ClientManagerError, Conflict, Undone
from client_manager.gateways import interrupts, networks, node_http
from client_manager.models.cluster import ClusterSpec, NodeName
from client_manager.models.container import NEXT, PREVIOUS, ContainerDetail
from client_manager.models.operation import Progress
from client_manager.models.sync_node import whose
from client_manager.sync_node.container_config import container_config, labels, network_name
from client_manager.sync_node.health import Report, wait_healthy


def replace(app: App, spec: ClusterSpec, node: NodeName, report: Report) -> None:
    """Make a node's container what the spec says, and return when it takes part in the cluster.

    Raises:
        Conflict: a container of the node's name is neither ours nor the predecessor's.
        Undone: the new one did not turn healthy, and the old one is back.
        Cancelled: the operator ended it, and the old one is back.
    """
    name = spec.container(node)
    put_back_leftovers(app, name)
    old = require_replaceable(app, name)
    before = node_http.opinion(node, spec.ports[node]).node_id
    new = ""
    try:
        report(Progress(step=f"Creating {node}"))
        with interrupts.deferred():  # the Engine makes what it was asked for even when its asker has gone
            new = _create(app, spec, node)
        _switch(app, spec, node, old, new, report)
        wait_healthy(app, spec, node, report, before=before)
    except BaseException as error:
        with interrupts.deferred():
            _take_back(app, name, old, new)
        raise _after_undo(node, old, error) from error
    if old:
        with interrupts.deferred():
            app.engine.remove(old.id)


def require_replaceable(app: App, name: str) -> ContainerDetail | None:
    """Return the container of a node's name, or None.

    Raises:
        Conflict: it is somebody else's.
    """
    found = app.engine.find(name)
    if found and whose(found) == "other":
        raise Conflict(
            f"The container {name} is no sync node.",
            why="Something other than the console or its predecessor made it.",
            hint=f"Rename it first: docker rename {name} {name}-other",
        )
    return found


def put_back_leftovers(app: App, name: str) -> None:
    """Undo a replacement that was cut off: its new container has not proven itself, and the old one is still there."""
    with interrupts.deferred():
        beside = app.engine.find(f"{name}{NEXT}")
        if beside and whose(beside) == "ours":
            app.engine.remove(beside.id)
        previous = app.engine.find(f"{name}{PREVIOUS}")
        if previous and whose(previous) != "other":
            unproven = require_replaceable(app, name)
            if unproven:
                app.engine.remove(unproven.id)
            app.engine.rename(previous.id, name)
            app.engine.start(previous.id)


def _create(app: App, spec: ClusterSpec, node: NodeName) -> str:
    folder = app.cluster_files.folder(spec.name)
    if spec.network == "bridge":
        pool = str(app.settings.network_pool)
        networks.ensure(app.engine, network_name(spec), pool, labels(spec), of=f"the nodes of {spec.name}")
    return app.engine.create(f"{spec.container(node)}{NEXT}", container_config(spec, folder, node))


def _switch(  # noqa: PLR0913, PLR0917  the two containers and where they are
    app: App, spec: ClusterSpec, node: NodeName, old: ContainerDetail | None, new: str, report: Report
) -> None:
    name = spec.container(node)
    if old:
        report(Progress(step=f"Stopping the old {node}"))
        app.engine.stop(old.id, app.settings.node_stop_timeout_s)
        app.engine.rename(old.id, f"{name}{PREVIOUS}")
    app.engine.rename(new, name)
    report(Progress(step=f"Starting {node}"))
    app.engine.start(new)


def _take_back(app: App, name: str, old: ContainerDetail | None, new: str) -> None:
    if new:
        app.engine.remove(new)
    if old is None:
        return
    now = app.engine.find(old.id)
    if now is None:
        return
    if now.name != name:
        app.engine.rename(now.id, name)
    if old.running:
        app.engine.start(now.id)


def _after_undo(node: NodeName, old: ContainerDetail | None, error: BaseException) -> BaseException:
    state = f"the old {node} is back" if old else f"{node} was removed again"
    if isinstance(error, Cancelled | KeyboardInterrupt):
        kind = type(error) if isinstance(error, Cancelled) else Cancelled
        return kind(f"Interrupted; {state}.")
    if isinstance(error, ClientManagerError):
        return Undone(
            f"{node} could not be replaced; {state}.", why=f"{error.what} {error.why}".strip(), hint=error.hint
        )
    return error
