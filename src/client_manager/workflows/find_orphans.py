"""What the sync system has lost sight of: machines, records, containers and replicas without the other half of them."""

from collections.abc import Iterator
from typing import Final

from client_manager.app import App
from client_manager.errors import ClientManagerError
from client_manager.gateways import embedded_postgres
from client_manager.gateways.sync_store import SyncStore
from client_manager.models.container import LABEL_CLUSTER, LABEL_ROLE
from client_manager.models.finding import Finding
from client_manager.models.sync import STALE_AFTER_S

_CHECK: Final = "sync"


def examine(app: App) -> tuple[Finding, ...]:
    """Return a finding for each orphan; a database that cannot be asked is a problem, one that is not there is none.

    The embedded database is not started for this.
    """
    if app.settings.database_url is None:
        if not embedded_postgres.exists(app.settings.postgres_dir):
            return (Finding(check=_CHECK, verdict="ok", what="no database is in use yet"),)
        if not embedded_postgres.is_running(app.settings.postgres_dir):
            what, fix = "The embedded PostgreSQL does not run.", "client-manager database status starts it."
            return (Finding(check=_CHECK, verdict="problem", what=what, fix=fix),)
    try:
        with app.sync_store() as store:
            found = [*_hosts(store), *_records(app, store), *_replicas(store), *_containers(app, store)]
    except ClientManagerError as error:
        what = f"{error.what} {error.why}".strip()
        return (Finding(check=_CHECK, verdict="problem", what=what, fix=error.hint),)
    return tuple(found) or (Finding(check=_CHECK, verdict="ok", what="no orphans"),)


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


def _containers(app: App, store: SyncStore) -> Iterator[Finding]:
    known = {node.cluster_name for node in store.nodes()}
    for container in app.engine.containers():
        cluster = container.labels.get(LABEL_CLUSTER)
        if container.labels.get(LABEL_ROLE) == "sync-node" and cluster not in known:
            yield _warning(
                f"The container {container.name} is a node of {cluster}, which the database does not know.",
                f"client-manager cluster deploy {cluster}, or 'docker rm -f {container.name}'.",
            )


def _warning(what: str, fix: str) -> Finding:
    return Finding(check=_CHECK, verdict="warning", what=what, fix=fix)
