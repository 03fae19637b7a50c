"""What the sync system has lost sight of: machines, records, containers and replicas without the other half of them."""

from collections.abc import Collection, Iterator
from typing import Final

from client_manager.app import App
from client_manager.database.presence import presence
from client_manager.errors import ClientManagerError, value_or_error
from client_manager.gateways.sync_store import SyncStore
from client_manager.models.container import LABEL_CLUSTER, LABEL_ROLE
from client_manager.models.database import NOT_IN_USE
from client_manager.models.finding import Finding
from client_manager.models.sync import STALE_AFTER_S

CHECK: Final = "sync"
_PATIENCE_S: Final = 20.0


def examine(app: App) -> tuple[Finding, ...]:
    """Return a finding for each orphan; a database that cannot be asked is a problem, one that is not there is none.

    The embedded database is not started for this.
    """
    look = app.for_a_look(_PATIENCE_S)
    found = value_or_error(lambda: _all(look))
    return (Finding.of(CHECK, found),) if isinstance(found, ClientManagerError) else found


def _all(look: App) -> tuple[Finding, ...]:
    if presence(look) in NOT_IN_USE:
        return (Finding(check=CHECK, verdict="ok", what="no database is in use yet"),)
    with look.sync_store() as store:
        found = [*_hosts(store), *_records(look, store), *_replicas(store)]
        known = {node.cluster_name for node in store.nodes()}
    containers = value_or_error(lambda: list(_containers(look, known)))  # that Docker is gone hides nothing else
    found += [Finding.of(CHECK, containers)] if isinstance(containers, ClientManagerError) else containers
    return tuple(found) or (Finding(check=CHECK, verdict="ok", what="no orphans"),)


def _hosts(store: SyncStore) -> Iterator[Finding]:
    for host in store.hosts():
        if host.is_stale:
            what = f"{host.hostname} of {host.cluster_name} has not been heard of for {STALE_AFTER_S // 60} minutes."
            fix = f"Start its nodes; if it is lost: client-manager cluster deregister {host.cluster_name} --lost-host."
            yield _warning(what, fix)


def _records(app: App, store: SyncStore) -> Iterator[Finding]:
    here = {spec.host_id for spec in map(app.cluster_files.read, app.cluster_files.names()) if spec}
    clients = set(app.files.names())
    for row in store.deployments():
        if row.host_id is None:
            yield _warning(
                f"{row.client_name} is registered without a host, so that no cluster replicates it.",
                f"client-manager sync register {row.client_name}, where it runs; or sync deregister.",
            )
        elif row.host_id in here and row.client_name not in clients:
            yield _warning(
                f"{row.client_name} is registered here, and this machine has no such client.",
                f"client-manager sync deregister {row.client_name}; its replica stays.",
            )


def _replicas(store: SyncStore) -> Iterator[Finding]:
    for name in store.replicas_without_client():
        yield _warning(
            f"The replica {name} is kept, and its client is not registered.",
            f"Keep it, or drop it for good: client-manager sync deregister {name} --drop-data.",
        )


def _containers(app: App, known: Collection[str]) -> Iterator[Finding]:
    for container in app.engine.containers():
        cluster = container.labels.get(LABEL_CLUSTER)
        if container.labels.get(LABEL_ROLE) == "sync-node" and cluster not in known:
            yield _warning(
                f"The container {container.name} is a node of {cluster}, which the database does not know.",
                f"client-manager cluster deploy {cluster}, or 'docker rm -f {container.name}'.",
            )


def _warning(what: str, fix: str) -> Finding:
    return Finding(check=CHECK, verdict="warning", what=what, fix=fix)
