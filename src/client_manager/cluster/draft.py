"""What a cluster on this machine should be: how its nodes reach the database, and as whom they run."""

import os
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from client_manager.app import App
from client_manager.gateways import database_url, host
from client_manager.gateways.node_access import Account, may_enter, obstacle, owner
from client_manager.models.cluster import ClusterSpec, Network
from client_manager.models.cluster_plan import ClusterRequest
from client_manager.models.sync import NODE_NAMES

NO_ROW: Final = UUID(int=0)
# The image's own; nobody's on the machine, so that a group is all that it shares with anybody.
NODE_UID: Final = 65532
_DATABASE_FILE: Final = "webui.db"


def draft(app: App, request: ClusterRequest, host_id: UUID = NO_ROW) -> ClusterSpec:
    """Return the spec that a request leads to; what it does not name stays as it was.

    Raises:
        ConfigurationError: the cluster's file cannot be read.
        Unavailable: the database's host has no address.
    """
    before = app.cluster_files.read(request.name)
    asked = request.model_dump(exclude={"take_over"}, exclude_none=True)
    kept = before.model_dump() if before else {"container_prefix": app.settings.node_container_prefix}
    account = _account(app, before)
    values: dict[str, Any] = {
        **kept,
        "image": app.settings.node_image,
        "ports": dict(zip(NODE_NAMES, app.settings.node_ports, strict=True)),
        **asked,
        "hostname": host.name(),
        "host_id": host_id,
        "data_root": app.settings.data_root,
        "network": network(app),
        "socket_folder": _socket_folder(app),
        "database": app.database.name,
        "uid": account.uid,
        "gid": account.gid,
        "open_files": min(65536, host.open_files()),
    }
    return ClusterSpec.model_validate(values)


def network(app: App) -> Network:
    """Return the network from which a container reaches the database.

    A bridge of Docker's has no loopback of this machine's, and by default no IPv6.
    """
    parameters = app.database.parameters
    place = database_url.placed(parameters)
    if place == "loopback":
        return "host"
    if place == "remote" and not all(host.has_ipv4(name) for name in database_url.hosts(parameters)):
        return "host"
    return "bridge"


def databases(app: App) -> tuple[Path, ...]:
    """Return the SQLite databases of the clients that keep their data in the data root."""
    own = (spec.name for spec in app.files.readable_specs()[0] if spec.database == "sqlite" and not spec.carried)
    found = (app.files.data(name) / _DATABASE_FILE for name in own)
    return tuple(path for path in found if path.exists())


def _socket_folder(app: App) -> Path | None:
    parameters = app.database.parameters
    if database_url.placed(parameters) != "socket":
        return None
    folder = database_url.hosts(parameters)[0]
    return Path(folder or "/var/run/postgresql")


def _account(app: App, before: ClusterSpec | None) -> Account:
    """Return the least account that may read what there is to replicate.

    Only root can give files away. Where every database can be read through the data root's group, the nodes are an
    account of nobody's; else they are the owner of the data root.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    root = app.settings.data_root
    candidates = [Account(before.uid, before.gid)] if before else []
    candidates += [Account(NODE_UID, owner(root).gid), owner(root), Account(0, 0)]
    return next((account for account in candidates if _suits(app, root, account)), candidates[-1])


def _suits(app: App, root: Path, account: Account) -> bool:
    return may_enter(root, account) and not any(obstacle(path, root, account) for path in databases(app))
