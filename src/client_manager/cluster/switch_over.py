"""Let the other node lead, while both live."""

import time
from collections.abc import Callable
from typing import Final

from client_manager.app import App
from client_manager.errors import Blocked, ClientManagerError, Conflict, NotFound
from client_manager.gateways.sync_store import SyncStore
from client_manager.models.operation import Progress
from client_manager.models.sync import NODE_NAMES, Lease

Report = Callable[[Progress], None]

_ALIVE_S: Final = 10
_PAUSE_S: Final = 0.05
# The leader ends its runs first; longer than it gives them.
DEADLINE_S: Final = 120.0


def switch_over(
    app: App, cluster: str, report: Report, *, to: str | None = None, deadline_s: float = DEADLINE_S
) -> Lease:
    """Have another node lead, and return its lease once it does; one that leads already is left alone.

    Args:
        app: the gateways.
        cluster: its name; it may be on another machine.
        report: told while the leader ends its runs.
        to: the node that shall lead; left out, the one that does not.
        deadline_s: after which the request is withdrawn.

    Raises:
        NotFound: there is no node of that name.
        Conflict: nobody leads, or another switch-over is under way.
        Blocked: the node that shall lead does not live.
        ClientManagerError: it did not come to lead in time; the request is withdrawn.
    """
    if to is not None and to not in NODE_NAMES:
        raise NotFound(f"There is no node {to}.", hint=f"The nodes are {' and '.join(NODE_NAMES)}.")
    with app.sync_store() as store:
        lease = _valid_lease(store, cluster)
        target = to or next(name for name in NODE_NAMES if name != lease.leader)
        if lease.leader == target:
            return lease
        _require_alive(store, cluster, target)
        with app.journal.action("cluster switch-over", cluster, {"to": target}):
            if not store.request_switch_over(cluster, target):
                raise _nobody_leads(cluster)
            try:
                return _wait(store, lease, target, report, deadline_s)
            except BaseException:
                store.withdraw_switch_over(cluster)
                raise


def _valid_lease(store: SyncStore, cluster: str) -> Lease:
    lease = store.lease(cluster)
    if lease is None or not lease.is_valid:
        raise _nobody_leads(cluster)
    if lease.wanted_name and lease.wanted_name != lease.leader:
        raise Conflict(
            f"A switch-over of {cluster} to {lease.wanted_name} is under way.",
            hint="Wait until it has ended: client-manager cluster show.",
        )
    return lease


def _nobody_leads(cluster: str) -> Conflict:
    return Conflict(
        f"Nobody leads {cluster}, so that nobody can hand over.",
        hint="A node that lives takes the lead by itself: client-manager cluster health.",
    )


def _require_alive(store: SyncStore, cluster: str, target: str) -> None:
    node = next((row for row in store.nodes(cluster) if row.node_name == target), None)
    if node is None or node.stopped_at or node.heartbeat_age_s > _ALIVE_S:
        seen = "It has never run." if node is None else f"It was last heard of {node.heartbeat_age_s:.0f} s ago."
        raise Blocked(
            f"{target} cannot lead: it does not live.", why=seen, hint=f"Start it: client-manager node start {target}"
        )


def _wait(store: SyncStore, before: Lease, target: str, report: Report, deadline_s: float) -> Lease:
    end = time.monotonic() + deadline_s
    report(Progress(step=f"Waiting until {before.leader} has ended its runs"))
    while True:
        lease = store.lease(before.cluster_name)
        if lease and lease.is_valid and lease.term > before.term:
            if lease.leader == target:
                return lease
            raise ClientManagerError(
                f"{lease.leader} leads instead of {target}.",
                why=f"{target} did not take the lead in time.",
                hint=f"See client-manager node logs {target}.",
            )
        if time.monotonic() > end:
            raise ClientManagerError(
                f"{target} did not come to lead within {deadline_s:.0f} s; the request is withdrawn.",
                why=f"{before.leader} still leads." if lease and lease.is_valid else "Nobody leads at the moment.",
                hint="Look at both logs: client-manager node logs sync-node-a, and sync-node-b.",
            )
        time.sleep(_PAUSE_S)
