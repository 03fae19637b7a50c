"""What a deployment of a cluster has to do: what should be, held against what is."""

from collections.abc import Iterator
from typing import Final

from client_manager.app import App
from client_manager.cluster import machine_checks, nodes_url, preflight
from client_manager.cluster.draft import NO_ROW, draft
from client_manager.database import migrations
from client_manager.errors import ClientManagerError, ConfigurationError
from client_manager.gateways import host, sync_roles
from client_manager.models.base import parse
from client_manager.models.cluster import ClusterName, ClusterSpec
from client_manager.models.cluster_plan import Check, ClusterRequest, DeployPlan, PlanStep
from client_manager.models.database import DatabaseStatus
from client_manager.models.sync import Host
from client_manager.models.sync_node import whose
from client_manager.sync_node.nodes import NODES, is_current

_OLDEST_SERVER: Final = 15


def plan_deploy(app: App, name: str, request: ClusterRequest | None = None) -> DeployPlan:
    """Look at everything, and return what a deployment would do; changes nothing.

    Args:
        app: the gateways.
        name: of the cluster.
        request: what is asked beyond the defaults.

    Raises:
        InvalidInput: the name is none.
    """
    request = request or ClusterRequest(name=parse(ClusterName, name, what="cluster name"))
    try:
        status = migrations.status(app)
        hosts = _hosts(app, request.name, status)
        own = next((row for row in hosts if row.hostname == host.name() and not row.is_predecessor_node), None)
        spec = draft(app, request, own.host_id if own else NO_ROW)
    except ClientManagerError as error:
        what = f"{error.what} {error.why}".strip()
        check = Check(name="database", severity="critical", what=what, hint=error.hint)
        docker = preflight.made("Docker", lambda: machine_checks.docker(app))
        return DeployPlan(request=request, spec=None, checks=(*docker, check), steps=())
    checks = (*_server(status), *preflight.examine(app, request, spec, hosts))
    blocked = any(check.severity == "critical" for check in checks)
    steps = () if blocked else (*_steps(app, spec, status), *_moves(app, request, spec, hosts))
    return DeployPlan(request=request, spec=spec, checks=checks, steps=steps)


def movers(spec: ClusterSpec, hosts: tuple[Host, ...]) -> tuple[Host, ...]:
    """Return the rows whose clients are this machine's from now on: the predecessor's, and a lost machine's."""
    rows = (*machine_checks.predecessors(hosts), *machine_checks.others(spec, hosts))
    return tuple(row for row in rows if row.deployments)


def leavers(app: App, request: ClusterRequest, spec: ClusterSpec, hosts: tuple[Host, ...]) -> tuple[Host, ...]:
    """Return the rows that go once their clients have moved: a lost machine's, and the predecessor's nodes'.

    A predecessor's nodes here are replaced; elsewhere they are lost with their machine, or it is not to be taken over.
    """
    replaced = request.take_over or machine_checks.is_here(app, spec)
    return (*machine_checks.others(spec, hosts), *(machine_checks.predecessors(hosts) if replaced else ()))


def _hosts(app: App, name: str, status: DatabaseStatus) -> tuple[Host, ...]:
    """Return the rows of the cluster; a schema that is still to be made has none."""
    try:
        with app.sync_store() as store:
            return store.hosts(name)
    except ConfigurationError:
        if status.pending:
            return ()
        raise


def _server(status: DatabaseStatus) -> Iterator[Check]:
    number = status.server_version.partition(".")[0]
    if not number.isdecimal() or int(number) < _OLDEST_SERVER:
        what = f"It is PostgreSQL {status.server_version}; sync_metadata needs {_OLDEST_SERVER} or newer."
        yield Check(name="server", severity="critical", what=what, hint="Upgrade it, or use another.")
    elif status.read_only:
        what = "The server only lets us read; it may be a standby."
        yield Check(name="server", severity="critical", what=what, hint="Name the primary: database use URL.")
    else:
        yield Check(name="server", severity="ok", what=f"PostgreSQL {status.server_version}")


def _steps(app: App, spec: ClusterSpec, status: DatabaseStatus) -> Iterator[PlanStep]:
    pending = ", ".join(f"{each.version:04} {each.name}" for each in status.pending)
    yield PlanStep(subject="schema sync_metadata", action="change" if pending else "unchanged", what=pending)
    yield PlanStep(subject=f"machine {spec.hostname}", action="create" if spec.host_id == NO_ROW else "unchanged")
    yield _role(app, spec)
    yield from _files(app, spec)
    yield _image(app, spec)
    for node in NODES:
        yield _node(app, spec, node)


def _moves(app: App, request: ClusterRequest, spec: ClusterSpec, hosts: tuple[Host, ...]) -> Iterator[PlanStep]:
    for row in movers(spec, hosts):
        what = f"{row.deployments} clients, to {spec.hostname}"
        yield PlanStep(subject=f"clients of {row.hostname}", action="move", what=what)
    for row in leavers(app, request, spec, hosts):
        what = "the predecessor's node" if row.is_predecessor_node else "it is lost, and so is its record"
        yield PlanStep(subject=f"machine {row.hostname}", action="remove", what=what)


def _role(app: App, spec: ClusterSpec) -> PlanStep:
    role = sync_roles.node_role(spec.name)
    with sync_roles.of(app.database) as roles:
        return PlanStep(subject=f"role {role}", action="unchanged" if roles.exists(role) else "create")


def _files(app: App, spec: ClusterSpec) -> Iterator[PlanStep]:
    files, folder = app.cluster_files, app.cluster_files.folder(spec.name)
    before = files.read(spec.name)
    if before is None:
        yield PlanStep(subject="cluster.json", action="create", what=str(folder.path))
    else:
        changed = [field for field in type(spec).model_fields if getattr(before, field) != getattr(spec, field)]
        action = "change" if changed else "unchanged"
        yield PlanStep(subject="cluster.json", action=action, what=", ".join(changed))
    url = nodes_url.find_url(app, spec)
    password = "" if url.url else "with a new password"
    yield PlanStep(subject="database.url", action=url.action, what=password)
    yield PlanStep(subject="token", action="unchanged" if files.token(spec.name) else "create")


def _image(app: App, spec: ClusterSpec) -> PlanStep:
    built = "unchanged" if app.node_image.current() else "create"
    return PlanStep(subject=f"image {spec.image}", action=built)


def _node(app: App, spec: ClusterSpec, node: str) -> PlanStep:
    name = next(each for each in NODES if each == node)
    found = app.engine.find(spec.container(name))
    if found is None:
        return PlanStep(subject=node, action="create", what=f"container {spec.container(name)}")
    if whose(found) == "predecessor":
        return PlanStep(subject=node, action="replace", what=f"the predecessor's container {found.name}")
    if not app.node_image.current() or not is_current(app, spec, name, found):
        return PlanStep(subject=node, action="replace", what=f"container {found.name}")
    return PlanStep(subject=node, action="unchanged" if found.running else "start", what=f"container {found.name}")
