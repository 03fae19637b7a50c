"""Waiting until somebody leads a cluster."""

import time
from typing import Final

from client_manager.app import App
from client_manager.errors import ClientManagerError
from client_manager.gateways import node_http
from client_manager.models.cluster import ClusterSpec
from client_manager.models.sync import Lease

_PAUSE_S: Final = 0.1


def wait_for_leader(app: App, spec: ClusterSpec, deadline_s: float) -> Lease:
    """Return the lease once it is a living node's of this machine, and that node says so itself.

    Raises:
        ClientManagerError: nobody came to lead in time.
    """
    end = time.monotonic() + deadline_s
    with app.sync_store() as store:
        while True:
            lease = store.lease(spec.name)
            said = [node_http.opinion(node, port) for node, port in spec.ports.items()]
            if lease and lease.is_valid and any(each.is_leader and each.node_id == lease.leader_id for each in said):
                return lease
            if time.monotonic() > end:
                why = " ".join(f"{each.node_name}: {each.problem or 'follows'}." for each in said)
                raise ClientManagerError(
                    f"After {deadline_s:.0f} s nobody leads {spec.name}.",
                    why=why,
                    hint="Look at the logs: client-manager node logs sync-node-a, and sync-node-b.",
                )
            time.sleep(_PAUSE_S)
