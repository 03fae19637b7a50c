"""What a cluster needs of its machine: Docker, ports, files that its nodes may read, and nobody else of its name."""

from collections.abc import Iterator
from typing import Final

from client_manager.app import App
from client_manager.cluster.draft import databases
from client_manager.gateways import host
from client_manager.gateways.node_access import Account, may_enter, obstacle
from client_manager.models.cluster import ClusterSpec
from client_manager.models.cluster_plan import Check, ClusterRequest
from client_manager.models.container import ContainerDetail
from client_manager.models.sync import Host
from client_manager.models.sync_node import cluster_of, whose

_LEAST_DISK_BYTES: Final = 1024**3


def docker(app: App) -> Iterator[Check]:
    """Say whether Docker answers, and is this machine's."""
    version = app.engine.version()
    app.require_local_engine()
    yield Check(name="Docker", severity="ok", what=f"Engine {version} at {app.engine.endpoint}")


def ports(app: App, spec: ClusterSpec) -> Iterator[Check]:
    """Say whether the nodes' ports are free, or are already theirs."""
    for node, port in spec.ports.items():
        if host.port_is_free(port):
            yield Check(name="ports", severity="ok", what=f"{port} is free for {node}")
        elif _is_theirs(app.engine.find(spec.container(node)), spec):
            yield Check(name="ports", severity="ok", what=f"{port} is {node}'s")
        else:
            yield Check(
                name="ports",
                severity="critical",
                what=f"Port {port}, for {node}, is taken by something else.",
                hint=f"'ss -ltnp sport = :{port}' shows it. End it, or set node_ports in the settings.",
            )


def _is_theirs(found: ContainerDetail | None, spec: ClusterSpec) -> bool:
    return bool(found and found.running and whose(found) != "other" and cluster_of(found) == spec.name)


def containers(app: App, spec: ClusterSpec) -> Iterator[Check]:
    """Say what the containers are that have the nodes' names now."""
    for node in spec.ports:
        found = app.engine.find(spec.container(node))
        if found is None:
            continue
        if whose(found) == "other":
            yield Check(
                name="containers",
                severity="critical",
                what=f"The container {found.name} is no sync node.",
                hint=f"Rename it: docker rename {found.name} {found.name}-other",
            )
        elif cluster_of(found) != spec.name:
            yield Check(
                name="containers",
                severity="critical",
                what=f"The container {found.name} is a node of the cluster {cluster_of(found)}.",
                hint=f"Deploy that one: client-manager cluster deploy {cluster_of(found)}. Two clusters on one machine "
                "need node_container_prefix and node_ports set for each.",
            )
        elif whose(found) == "predecessor":
            what = f"{found.name} is the predecessor's; it is replaced, and comes back if that fails"
            yield Check(name="containers", severity="ok", what=what)


def readable(app: App, spec: ClusterSpec) -> Iterator[Check]:
    """Say whether the account that the nodes run as may read the clients' databases."""
    account, root = Account(spec.uid, spec.gid), spec.data_root
    if not may_enter(root, account):
        what = f"{root} is closed to uid {account.uid}, gid {account.gid}."
        yield Check(name="files", severity="critical", what=what, hint=f"chmod g+x {root}")
        return
    closed = [found for path in databases(app) if (found := obstacle(path, root, account))]
    for what in closed:
        hint = "Give the group the right to read it; until then this client cannot be replicated."
        yield Check(name="files", severity="warning", what=what, hint=hint)
    if not closed:
        as_whom = "the data root's owner" if spec.uid == 0 else f"uid {spec.uid}"
        what = f"the nodes run as {as_whom}, gid {spec.gid}, and may read {len(databases(app))} databases"
        yield Check(name="files", severity="ok", what=what)


def disk(app: App, spec: ClusterSpec) -> Iterator[Check]:
    """Say whether there is room for the baselines: a copy of each database, and another while it is made."""
    sizes = [path.stat().st_size for path in databases(app)]
    free, needed = host.free_bytes(spec.data_root), sum(sizes) + max(sizes, default=0)
    what = f"{_gib(free)} free under {spec.data_root}; baselines take up to {_gib(needed)}"
    hint = "Free space, or give the data root a larger disk."
    if free < _LEAST_DISK_BYTES // 4:
        yield Check(name="disk", severity="critical", what=what, hint=hint)
    elif free < needed + _LEAST_DISK_BYTES:
        yield Check(name="disk", severity="warning", what=what, hint=hint)
    else:
        yield Check(name="disk", severity="ok", what=what)


def machines(app: App, request: ClusterRequest, spec: ClusterSpec, hosts: tuple[Host, ...]) -> Iterator[Check]:
    """Say whether the cluster is another machine's."""
    for row in others(spec, hosts):
        seen = "was never heard of" if row.heartbeat_age_s is None else f"was heard of {row.heartbeat_age_s:.0f} s ago"
        what = f"The cluster {spec.name} is on {row.hostname}, which {seen}."
        if not row.is_stale:
            hint = "Choose another name, or take the cluster down there first."
            yield Check(name="machines", severity="critical", what=what, hint=hint)
        elif not request.take_over:
            hint = f"If {row.hostname} is lost for good, take its {row.deployments} clients over: --take-over."
            yield Check(name="machines", severity="critical", what=what, hint=hint)
        else:
            what = f"{what} Its {row.deployments} clients are this machine's from now on."
            yield Check(name="machines", severity="warning", what=what, hint="Their data must be in the data root.")
    if not is_here(app, spec):
        yield from _foreign_predecessors(request, hosts)


def _foreign_predecessors(request: ClusterRequest, hosts: tuple[Host, ...]) -> Iterator[Check]:
    for row in predecessors(hosts):
        if not row.is_stale:
            what = f"The predecessor's node {row.hostname} is alive, and not on this machine."
            hint = "Deploy on its machine, or choose another name."
            yield Check(name="machines", severity="critical", what=what, hint=hint)
        elif row.deployments and not request.take_over:
            what = f"{row.deployments} clients belong to the predecessor's node {row.hostname}, not on this machine."
            hint = "If its machine is lost for good, take them over: --take-over."
            yield Check(name="machines", severity="critical", what=what, hint=hint)


def others(spec: ClusterSpec, hosts: tuple[Host, ...]) -> tuple[Host, ...]:
    """Return the rows of other machines."""
    return tuple(row for row in hosts if row.hostname != spec.hostname and not row.is_predecessor_node)


def predecessors(hosts: tuple[Host, ...]) -> tuple[Host, ...]:
    """Return the rows of the predecessor's nodes."""
    return tuple(row for row in hosts if row.is_predecessor_node)


def is_here(app: App, spec: ClusterSpec) -> bool:
    """Say whether the cluster's nodes, the predecessor's or ours, are on this machine."""
    found = (app.engine.find(spec.container(node)) for node in spec.ports)
    return any(container and whose(container) != "other" and cluster_of(container) == spec.name for container in found)


def _gib(size: int) -> str:
    return f"{size / 1024**3:.1f} GiB"
