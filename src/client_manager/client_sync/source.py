"""Where a client's database is, and whether the nodes of a cluster may read it."""

from pathlib import Path
from typing import Final

from client_manager.app import App
from client_manager.errors import Blocked, Conflict, NotFound
from client_manager.gateways.node_access import Account, obstacle
from client_manager.models.client import ClientSpec
from client_manager.models.cluster import ClusterSpec
from client_manager.models.container import DATA_PATH

_FILE: Final = "webui.db"


def find_client(app: App, client: str) -> ClientSpec:
    """Return a client whose data is in SQLite.

    Raises:
        NotFound: the console does not manage a client of the name.
        Conflict: its data is in PostgreSQL already.
    """
    spec = app.files.read(client)
    if spec is None:
        raise NotFound(
            f"There is no managed client {client}.",
            why=f"Nothing is in {app.files.folder(client)}.",
            hint=f"'client-manager client list' shows the names; adopt it first: client-manager client adopt {client}",
        )
    if spec.database != "sqlite":
        raise Conflict(
            f"{client} keeps its data in PostgreSQL already.",
            why="Its DATABASE_URL says so; there is nothing to replicate.",
            hint="Back its database up where it is.",
        )
    return spec


def database_file(app: App, client: ClientSpec, cluster: ClusterSpec) -> Path:
    """Return a client's database, which the nodes of the cluster may read.

    Raises:
        Blocked: it is not there, lies outside the data root, or is closed to the nodes.
    """
    path = _data(app, client) / _FILE
    fault = obstacle(path, cluster.data_root, Account(cluster.uid, cluster.gid))
    if fault:
        raise Blocked(
            f"The nodes of {cluster.name} cannot read the database of {client.name}.",
            why=f"{fault}.",
            hint="Start the client once if it is new; move its data into the data root; or let the group read it. "
            f"Then deploy again, which looks for the account that may: client-manager cluster deploy {cluster.name}",
        )
    return path


def _data(app: App, client: ClientSpec) -> Path:
    """Return the folder of a client's data: what its container has mounted, else where the console puts it."""
    found = app.engine.find(client.container)
    kind, source, _ = found.mounts.get(DATA_PATH, ("", "", True)) if found else ("", "", True)
    if kind == "bind":
        return Path(source)
    device = app.engine.volume_device(source) if kind == "volume" else None
    return Path(device) if device else app.files.data(client.name)
