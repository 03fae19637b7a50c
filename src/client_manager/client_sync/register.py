"""Register a client with the cluster of its machine: an owner for its replica, a row, and only then the go-ahead."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from client_manager.app import App
from client_manager.client_sync.source import database_file, find_client
from client_manager.errors import ClientManagerError, Conflict, NotFound
from client_manager.gateways import lock, sync_roles
from client_manager.gateways.sync_registry import Registered, SyncRegistry
from client_manager.gateways.sync_roles import SyncRoles
from client_manager.gateways.sync_store import SyncStore
from client_manager.models.base import parse
from client_manager.models.client_sync import Registration
from client_manager.models.cluster import ClusterSpec
from client_manager.models.cluster_plan import Check
from client_manager.models.names import ClientName
from client_manager.models.sync import STALE_AFTER_S, Deployment, Host

DEFAULT_INTERVAL_S = 300
T = TypeVar("T")


def plan_register(
    app: App, client: str, interval_s: int = DEFAULT_INTERVAL_S, cluster: str | None = None
) -> Registration:
    """Look at everything that a registration needs, and return what it would write; changes nothing.

    Args:
        app: the gateways.
        client: its name.
        interval_s: from one run to the next.
        cluster: one of this machine; None: the only one.

    Raises:
        NotFound: there is no such client, or no such cluster here.
        Conflict: its data is not in SQLite, nobody leads the cluster, or it is registered elsewhere.
        Blocked: the nodes cannot read its database.
        ConfigurationError: the console may not do in PostgreSQL what it takes.
    """
    spec = find_client(app, parse(ClientName, client, what="client name"))
    here = _cluster(app, cluster)
    database = database_file(app, spec, here)
    with app.database.connect() as connection:
        store = SyncStore(connection)
        SyncRoles(connection).require_rights()
        _require_leader(store, here)
        with connection.transaction(force_rollback=True):
            rows = SyncRegistry(connection).lock(client, spec.container)
            own = _own_row(store, here, client, rows)
    return Registration(
        client=client,
        container=spec.container,
        domain=spec.domain,
        port=spec.port,
        cluster=here.name,
        host_id=here.host_id,
        hostname=here.hostname,
        database=database,
        interval_s=interval_s,
        kind="new" if own is None else "again" if own.host_id == here.host_id else "adopted",
        was="" if own is None else _place(own),
    )


def preflight(app: App, client: str, cluster: str | None = None) -> tuple[Check, ...]:
    """Look at everything that a registration needs, whatever of it is found wanting; changes nothing.

    Returns:
        one check each of the client, its cluster, its database, the rights, the leader and the record; what could not
        be looked at because of another is a warning that says so.
    """
    looks = _Looks()
    spec = looks.at("client", lambda: find_client(app, parse(ClientName, client, what="client name")))
    here = looks.at("cluster", lambda: _cluster(app, cluster))
    if spec is None or here is None:
        looks.skipped("database", "rights", "leader", "record")
        return tuple(looks.checks)
    looks.at("database", lambda: database_file(app, spec, here))

    def rights() -> str:
        with sync_roles.of(app.database) as roles:
            roles.require_rights()
        return "the console may make the replica's owner"

    def leads() -> str:
        with app.sync_store() as store:
            _require_leader(store, here)
        return f"somebody leads {here.name}"

    def record() -> str:
        with app.database.connect() as connection, connection.transaction(force_rollback=True):
            rows = SyncRegistry(connection).lock(client, spec.container)
            own = _own_row(SyncStore(connection), here, client, rows)
        return f"registered {_place(own)} until now" if own else "not registered anywhere"

    looks.at("rights", rights)
    looks.at("leader", leads)
    looks.at("record", record)
    return tuple(looks.checks)


class _Looks:
    """Checks one after another, none of which ends the others."""

    def __init__(self) -> None:
        self.checks: list[Check] = []

    def at(self, name: str, look: Callable[[], T]) -> T | None:
        """Look; a refusal is a check with its remedy, and None."""
        try:
            found = look()
        except ClientManagerError as error:
            what = f"{error.what} {error.why}".strip()
            self.checks.append(Check(name=name, severity="critical", what=what, hint=error.hint))
            return None
        said = getattr(found, "name", None) or str(found)
        self.checks.append(Check(name=name, severity="ok", what=said))
        return found

    def skipped(self, *names: str) -> None:
        """Say what was not looked at."""
        what = "not looked at: what stands above comes first"
        self.checks += [Check(name=name, severity="warning", what=what) for name in names]


def register(
    app: App,
    client: str,
    interval_s: int = DEFAULT_INTERVAL_S,
    cluster: str | None = None,
    *,
    enable: bool = True,
) -> Deployment:
    """Register a client, and return its row; replication begins at once unless ``enable`` is false.

    Raises:
        NotFound, Conflict, Blocked, ConfigurationError: as ``plan_register``.
    """
    arguments = {"cluster": cluster or "", "interval_s": str(interval_s)}
    with (
        lock.held(app.files.locks, client, "sync register"),
        app.journal.action("sync register", client, arguments),
    ):
        return record(app, plan_register(app, client, interval_s, cluster), enable=enable)


def record(app: App, wanted: Registration, *, enable: bool = True) -> Deployment:
    """Write what was planned: the owner of the replica, the row, and only then the go-ahead. Needs no Docker.

    Raises:
        NotFound, Conflict: as ``plan_register``, of what has changed since.
    """
    _write(app, wanted)
    with app.sync_store() as store:
        if enable:
            store.set_deployment(wanted.client, sync_enabled=True, status="active")
        return store.deployments(client=wanted.client)[0]


def _write(app: App, wanted: Registration) -> None:
    """Make the owner and the row in one transaction; the row is disabled, so that nothing can begin before the end."""
    with app.database.connect() as connection, connection.transaction():
        registry, store = SyncRegistry(connection), SyncStore(connection)
        here = _cluster(app, wanted.cluster)
        _own_row(store, here, wanted.client, registry.lock(wanted.client, wanted.container))
        SyncRoles(connection).ensure_owner(wanted.client, wanted.cluster)
        values = {
            "container": wanted.container,
            "fqdn": wanted.domain,
            "port": wanted.port,
            "interval": wanted.interval_s,
        }
        registry.register(wanted.client, wanted.host_id, values, {"sqlite_path": str(wanted.database)})


def _cluster(app: App, cluster: str | None) -> ClusterSpec:
    names = app.cluster_files.names()
    name = cluster or (names[0] if len(names) == 1 else None)
    spec = app.cluster_files.read(name) if name else None
    if spec is not None:
        return spec
    raise NotFound(
        f"The cluster {cluster} is not on this machine." if cluster else "It is not clear which cluster is meant.",
        why=f"On this machine: {', '.join(names) or 'none'}.",
        hint="Name one of them with --cluster." if names else f"client-manager cluster deploy {app.settings.cluster}",
    )


def _require_leader(store: SyncStore, cluster: ClusterSpec) -> None:
    lease = store.lease(cluster.name)
    if lease is None or not lease.is_valid:
        raise Conflict(
            f"Nobody leads the cluster {cluster.name}, so that nobody would replicate.",
            hint=f"See client-manager cluster health {cluster.name}.",
        )


def _own_row(store: SyncStore, cluster: ClusterSpec, client: str, rows: Sequence[Registered]) -> Registered | None:
    """Return the client's row where it may be taken, or None where it has none.

    Raises:
        Conflict: another client has its container, or it belongs to a machine that lives.
    """
    for row in rows:
        if row.client_name != client:
            raise Conflict(
                f"The container {row.container_name} is registered as {row.client_name}.",
                why=f"A container is one client's; {row.client_name} is {_place(row)}.",
                hint=f"Deregister that one first: client-manager sync deregister {row.client_name}",
            )
    own = next(iter(rows), None)
    if own and not _may_take(store, cluster, own):
        raise Conflict(
            f"{client} is registered {_place(own)}, which lives.",
            why=f"Here it would be on {cluster.hostname}, cluster {cluster.name}; and one replica has one writer.",
            hint="Deregister it there first, or give this client another name.",
        )
    return own


def _may_take(store: SyncStore, cluster: ClusterSpec, row: Registered) -> bool:
    if row.host_id is None or row.host_id == cluster.host_id:
        return True
    if row.heartbeat_age_s is None or row.heartbeat_age_s > STALE_AFTER_S:
        return True
    return row.cluster_name == cluster.name and _host(store, row).is_predecessor_node


def _host(store: SyncStore, row: Registered) -> Host:
    found = next((host for host in store.hosts(row.cluster_name) if host.host_id == row.host_id), None)
    if found is None:
        raise ClientManagerError(f"The machine of {row.client_name} is gone.", hint="Try again.")
    return found


def _place(row: Registered) -> str:
    return f"on {row.hostname}, cluster {row.cluster_name}" if row.host_id else "without a machine"
