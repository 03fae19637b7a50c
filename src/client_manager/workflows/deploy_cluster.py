"""Deploy a cluster on this machine: schema, role, files, both nodes, a leader; again, only what differs.

What a first deployment has made is taken back when it fails. Of a later one the files are, until the first node has
been replaced; from then on the error says which node is new, and a repetition goes on from there.
"""

from collections.abc import Callable, Mapping
from typing import Final

from client_manager.app import App
from client_manager.cluster import machine_checks, nodes_url
from client_manager.cluster.database_checks import connections
from client_manager.cluster.lead import wait_for_leader
from client_manager.database.migrations import migrate
from client_manager.errors import Blocked, Cancelled, ClientManagerError, Conflict, Undone
from client_manager.gateways import interrupts, sync_roles
from client_manager.gateways.sync_registry import SyncRegistry
from client_manager.gateways.sync_roles import SyncRoles
from client_manager.models.cluster import ClusterSpec, ClusterState
from client_manager.models.cluster_plan import DeployPlan
from client_manager.models.operation import Progress
from client_manager.models.sync import Host
from client_manager.sync_node.container_config import network_name
from client_manager.sync_node.health import wait_healthy
from client_manager.sync_node.nodes import NODES, is_current
from client_manager.sync_node.power import cluster_lock
from client_manager.workflows.deploy_plan import leavers, movers, plan_deploy
from client_manager.workflows.update_cluster import roll

Report = Callable[[Progress], None]
# What makes the row a machine's; the predecessor's, one for each node, have none.
_MACHINE: Final[Mapping[str, object]] = {"kind": "machine"}

__all__ = ["deploy", "plan_deploy", "prepare"]


class _Undo:
    """What is to be taken back, the last first."""

    def __init__(self) -> None:
        self._steps: list[tuple[str, Callable[[], object]]] = []

    def add(self, what: str, step: Callable[[], object]) -> None:
        """Remember how to take something back."""
        self._steps.append((what, step))

    def forget(self) -> None:
        """Keep everything so far."""
        self._steps.clear()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be taken back."""
        return not self._steps

    def run(self) -> list[str]:
        """Take everything back; return what could not be."""
        left = []
        for what, step in reversed(self._steps):
            try:
                step()
            except ClientManagerError as error:
                left.append(f"{what} ({error.what} {error.why})".replace(" )", ")"))
        self._steps.clear()
        return left


def deploy(app: App, plan: DeployPlan, report: Report) -> ClusterState:
    """Do what the plan says, and return the cluster once one of its nodes leads.

    Raises:
        Blocked: a check stands in the way.
        Conflict: another operator is at work on the cluster, or something is not what it was when this was planned.
        Undone: it failed, and what it had made is gone again; migrations that were applied stay.
        ClientManagerError: it failed half-way; says what is new and what is not.
        Cancelled: the operator ended it; says the same.
    """
    app.require_local_engine()
    _require_unblocked(plan)
    arguments = {"steps": "; ".join(f"{step.action} {step.subject}" for step in plan.changes) or "none"}
    with (
        cluster_lock(app, plan.name, "deploy"),
        app.journal.action("cluster deploy", plan.name, arguments),
    ):
        spec = _require_unchanged(app, plan)
        undo = _Undo()
        try:
            _carry_out(app, plan, spec, undo, report)
        except BaseException as error:
            with interrupts.deferred():
                raise _failed(plan.name, error, undo) from error
    with app.sync_store() as store:
        return store.state(plan.name)


def _require_unblocked(plan: DeployPlan) -> None:
    if plan.blockers:
        raise Blocked(
            f"{plan.name} cannot be deployed.",
            why=" ".join(check.what for check in plan.blockers),
            hint=next((check.hint for check in plan.blockers if check.hint), ""),
        )


def _require_unchanged(app: App, plan: DeployPlan) -> ClusterSpec:
    """Migrate, look again under the lock, and return what the cluster shall be."""
    migrated = migrate(app.database)
    now = plan_deploy(app, plan.name, plan.request)
    _require_unblocked(now)
    if now.spec is None or (not migrated and now.steps != plan.steps):
        raise Conflict(
            f"{plan.name} is not what it was when this was planned.",
            why="Another operator was quicker, or a node has stopped or started meanwhile.",
            hint=f"Look again: client-manager cluster deploy {plan.name} --dry-run",
        )
    return now.spec


def _carry_out(app: App, plan: DeployPlan, spec: ClusterSpec, undo: _Undo, report: Report) -> None:
    here = machine_checks.is_here(app, spec)  # before it is replaced
    with app.sync_store() as store:
        gone = leavers(app, plan.request, spec, store.hosts(spec.name))
    report(Progress(step="Preparing the database"))
    spec = _prepare_database(app, spec, undo)
    report(Progress(step="Writing the cluster's files"))
    _write_files(app, spec, undo)
    app.node_image.ensure(
        lambda line, fraction: report(Progress(step="Making the image", detail=line, fraction=fraction))
    )
    _start_stopped(app, spec, report)
    _replace_outdated(app, spec, undo, report)
    report(Progress(step="Waiting for a leader"))
    wait_for_leader(app, spec, app.settings.node_health_timeout_s)
    undo.forget()
    if any(step.action in {"move", "remove"} for step in plan.changes):
        report(Progress(step="Taking the clients over"))
        _take_over(app, spec, gone, here=here)


def prepare(app: App, spec: ClusterSpec) -> ClusterSpec:
    """Do of a deployment what needs no Docker: the nodes' role, the machine's row, the files that ``node run`` reads.

    Returns:
        the spec with the id of the machine's row.

    Raises:
        Conflict: another operator is at work on the cluster.
        ClientManagerError: it failed; what it had made is gone again, or the error says what is not.
    """
    with cluster_lock(app, spec.name, "prepare"), app.journal.action("cluster prepare", spec.name, {}):
        undo = _Undo()
        try:
            spec = _prepare_database(app, spec, undo)
            _write_files(app, spec, undo)
        except BaseException as error:
            with interrupts.deferred():
                raise _failed(spec.name, error, undo) from error
    return spec


def _prepare_database(app: App, spec: ClusterSpec, undo: _Undo) -> ClusterSpec:
    with app.database.connect() as connection, connection.transaction():
        made = SyncRoles(connection).ensure_node(spec.name, connections(spec))
        if made:
            undo.add("the role", lambda: _drop_role(app, spec.name))
    with app.sync_store() as store:
        known = {row.host_id for row in store.hosts(spec.name)}
        host_id = store.upsert_host(spec.name, spec.hostname, _MACHINE, None)
    if host_id not in known:
        undo.add("the machine's row", lambda: _delete_host(app, spec.model_copy(update={"host_id": host_id})))
    if made:
        _give_replicas(app, spec.name)
    return spec.model_copy(update={"host_id": host_id})


def _give_replicas(app: App, cluster: str) -> None:
    """Give the replicas of clients that a bundle brought back to the cluster's new role."""
    with app.sync_store() as store, sync_roles.of(app.database) as roles:
        for row in store.deployments(cluster=cluster):
            roles.ensure_owner(row.client_name, cluster)


def _write_files(app: App, spec: ClusterSpec, undo: _Undo) -> None:
    files, before = app.cluster_files, app.cluster_files.read(spec.name)
    if before is None:
        undo.add("the cluster's files", lambda: files.discard(spec.name))
    elif before != spec:
        undo.add("cluster.json", lambda: _restore(app, before))
    files.prepare(spec)
    nodes_url.write_url(app, spec)
    files.ensure_token(spec)
    files.write(spec)


def _restore(app: App, before: ClusterSpec) -> None:
    """Put a spec back, and give the files to the account that it names."""
    app.cluster_files.prepare(before)
    app.cluster_files.write(before)
    nodes_url.write_url(app, before)
    app.cluster_files.ensure_token(before)


def _start_stopped(app: App, spec: ClusterSpec, report: Report) -> None:
    for node in NODES:
        found = app.engine.find(spec.container(node))
        if found and not found.running and is_current(app, spec, node, found):
            report(Progress(step=f"Starting {node}"))
            app.engine.start(found.id)
            wait_healthy(app, spec, node, report, before=None)


def _replace_outdated(app: App, spec: ClusterSpec, undo: _Undo, report: Report) -> None:
    found = {node: app.engine.find(spec.container(node)) for node in NODES}
    outdated = [node for node in NODES if not is_current(app, spec, node, found[node])]
    if any(found.values()):
        roll(app, spec, outdated, report, done=undo.forget)
        return
    if spec.network == "bridge" and not app.engine.has_network(network_name(spec)):
        undo.add("the nodes' network", lambda: app.engine.remove_network(network_name(spec)))
    undo.add("the containers", lambda: _remove(app, spec))
    roll(app, spec, outdated, report)


def _remove(app: App, spec: ClusterSpec) -> None:
    for node in NODES:
        found = app.engine.find(spec.container(node))
        if found:
            app.engine.stop(found.id, app.settings.node_stop_timeout_s)
            app.engine.remove(found.id)


def _take_over(app: App, spec: ClusterSpec, gone: tuple[Host, ...], *, here: bool) -> None:
    """Give the clients of the predecessor's rows, or of a lost machine, to this one, with their replicas.

    The rows that are gone with what wrote them go in the same transaction: they would stand in the way for ever. The
    predecessor's that were not replaced ``here`` are looked at again, as a lost machine's are.
    """
    with app.sync_store() as store:
        hosts = store.hosts(spec.name)
    with app.database.connect() as connection, connection.transaction():
        registry, roles = SyncRegistry(connection), SyncRoles(connection)
        for client in registry.move([row.host_id for row in movers(spec, hosts)], spec.host_id):
            roles.ensure_owner(client, spec.name)
        replaced = [row.host_id for row in gone if here and row.is_predecessor_node]
        registry.forget([row.host_id for row in gone if row.host_id not in replaced], replaced)


def _drop_role(app: App, cluster: str) -> None:
    with sync_roles.of(app.database) as roles:
        roles.drop_node(cluster)


def _delete_host(app: App, spec: ClusterSpec) -> None:
    with app.database.connect() as connection:
        SyncRegistry(connection).delete_host(spec.host_id)


def _failed(cluster: str, error: BaseException, undo: _Undo) -> BaseException:
    """Take back what is to be, and return the error that says what is and what is not."""
    undone = not undo.is_empty
    left = undo.run()
    if isinstance(error, KeyboardInterrupt | Cancelled):
        kind = type(error) if isinstance(error, Cancelled) else Cancelled
        return kind(f"The deployment of {cluster} was interrupted; {_state(undone, left)}", why=_said(error))
    if not isinstance(error, ClientManagerError):
        return error
    if undone and not left:
        return Undone(f"{cluster} could not be deployed; {_state(undone, left)}", why=_said(error), hint=error.hint)
    return ClientManagerError(
        f"The deployment of {cluster} did not succeed; {_state(undone, left)}", why=_said(error), hint=error.hint
    )


def _state(undone: bool, left: list[str]) -> str:  # noqa: FBT001
    if left:
        return f"what could not be taken back: {', '.join(left)}."
    return "what it had made is gone again." if undone else "repeat it, and it goes on from where it is."


def _said(error: BaseException) -> str:
    return f"{error.what} {error.why}".strip() if isinstance(error, ClientManagerError) else ""
