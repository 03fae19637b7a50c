"""Replace the nodes of a cluster one after the other: those that follow first, and the leader once it leads no more."""

from collections.abc import Callable, Sequence

from client_manager.app import App
from client_manager.cluster import switch_over as hand_over
from client_manager.errors import Blocked, Cancelled, ClientManagerError
from client_manager.models.cluster import ClusterSpec, ClusterState, NodeName
from client_manager.models.cluster_plan import PlanStep
from client_manager.models.operation import Progress
from client_manager.sync_node.nodes import NODES, cluster_here, is_current, opinions
from client_manager.sync_node.power import cluster_lock
from client_manager.sync_node.replace import replace

Report = Callable[[Progress], None]


def plan_update(app: App, cluster: str | None = None, nodes: Sequence[NodeName] = NODES) -> tuple[PlanStep, ...]:
    """Return what an update would do: which nodes are not what today's settings and image make of them.

    Raises:
        NotFound: the cluster is not deployed here.
    """
    spec = _wanted(app, cluster_here(app, cluster))
    built = app.node_image.current()
    image = PlanStep(subject=f"image {spec.image}", action="unchanged" if built else "create")
    steps = (_step(app, spec, node, rebuilt=built is None) for node in nodes)
    return (image, *steps)


def update(app: App, cluster: str | None, report: Report, *, nodes: Sequence[NodeName] = NODES) -> ClusterState:
    """Make nodes anew from today's image, never both at once, and return the cluster; what is current is left alone.

    Args:
        app: the gateways.
        cluster: its name; None: the one of this machine.
        report: told of every step.
        nodes: which; all by default.

    Raises:
        NotFound: the cluster is not deployed here.
        Conflict: another operator is at work on it.
        Blocked: the other node does not live, so that the leader cannot be replaced without a gap.
        Undone: a node did not turn healthy; it is back as it was, and those before it are new.
    """
    app.require_local_engine()
    spec = _wanted(app, cluster_here(app, cluster))
    with (
        cluster_lock(app, spec.name, "update"),
        app.journal.action("cluster update", spec.name, {"image": spec.image, "nodes": ",".join(nodes)}),
    ):
        report(Progress(step="Making the image"))
        app.node_image.ensure(
            lambda line, fraction: report(Progress(step="Making the image", detail=line, fraction=fraction))
        )
        outdated = [node for node in nodes if not is_current(app, spec, node, app.engine.find(spec.container(node)))]
        if outdated:
            app.cluster_files.write(spec)
            roll(app, spec, outdated, report)
    with app.sync_store() as store:
        return store.state(spec.name)


def roll(
    app: App,
    spec: ClusterSpec,
    nodes: Sequence[NodeName],
    report: Report,
    *,
    done: Callable[[], None] = lambda: None,
) -> None:
    """Replace nodes one after the other; the leader hands over before its turn, which comes last.

    Args:
        app: the gateways.
        spec: of the cluster.
        nodes: which.
        report: told of every step.
        done: called after each node, when there is no way back from it.

    Raises:
        Blocked: the leader cannot hand over, since the other node does not live.
        Undone: a node did not turn healthy; it is back as it was.
    """
    leader = _leader(app, spec)
    order = sorted(nodes, key=lambda node: node == leader)
    new: list[str] = []
    for node in order:
        try:
            if node == _leader(app, spec) and _runs(app, spec, node):
                _hand_over(app, spec, node, report)
            replace(app, spec, node, report)
        except ClientManagerError as error:
            if not new:
                raise
            kind = type(error) if isinstance(error, Cancelled) else ClientManagerError
            raise kind(
                f"{', '.join(new)} is new, {node} is not: {error.what}",
                why=error.why,
                hint=error.hint or "Repeat it; what is done already is left alone.",
            ) from error
        new.append(node)
        done()


def _hand_over(app: App, spec: ClusterSpec, node: NodeName, report: Report) -> None:
    other = next(each for each in NODES if each != node)
    said = next(opinion for opinion in opinions(spec) if opinion.node_name == other)
    if not said.healthy:
        raise Blocked(
            f"{node} leads, and {other} does not live to take over.",
            why=f"{other}: {said.problem or 'is stopped'}.",
            hint=f"Start it first (node start {other}), or deploy: client-manager cluster deploy {spec.name}.",
        )
    hand_over.switch_over(app, spec.name, report, to=other)


def _runs(app: App, spec: ClusterSpec, node: NodeName) -> bool:
    found = app.engine.find(spec.container(node))
    return found is not None and found.running


def _leader(app: App, spec: ClusterSpec) -> str | None:
    with app.sync_store() as store:
        lease = store.lease(spec.name)
    return lease.leader if lease and lease.is_valid else None


def _wanted(app: App, spec: ClusterSpec) -> ClusterSpec:
    return spec.model_copy(update={"image": app.settings.node_image})


def _step(app: App, spec: ClusterSpec, node: NodeName, *, rebuilt: bool) -> PlanStep:
    found = app.engine.find(spec.container(node))
    if found is None:
        return PlanStep(subject=node, action="create")
    current = not rebuilt and is_current(app, spec, node, found)
    return PlanStep(subject=node, action="unchanged" if current else "replace", what=f"container {found.name}")
