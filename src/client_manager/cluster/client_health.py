"""How the clients of a cluster are replicated."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from client_manager.models.cluster import ClusterState, HealthFinding
from client_manager.models.sync import Deployment

_INTERVALS: Final = 3
# What waits for an operator, and what passes by itself.
_BLOCKED: Final = {
    "needs_confirmation": "waits for a confirmation",
    "source_missing": "has lost its database",
    "source_corrupt": "has a damaged database",
    "source_replaced": "has another database than before",
    "failed": "cannot be replicated",
}
_PASSING: Final = {"source_busy": "is busy", "source_migrating": "is being migrated"}


def judge(
    state: ClusterState, quarantined: Mapping[str, int], homeless: Sequence[Deployment]
) -> Iterator[HealthFinding]:
    """Return the findings about clients; one that is well is only counted."""
    enabled = [row for row in state.deployments if row.sync_enabled]
    troubled = [finding for row in enabled for finding in _client(row, state)]
    yield from troubled
    for name, count in quarantined.items():
        what = f"{count} values of {name} have no place in its replica, and are kept beside it."
        hint = f"'client-manager replicate quarantine --schema {name}' shows them."
        yield HealthFinding(severity="warning", what=what, hint=hint)
    for row in homeless:
        what = f"{row.client_name} belongs to no machine: no cluster replicates it."
        hint = f"client-manager sync register {row.client_name}, on its machine."
        yield HealthFinding(severity="warning", what=what, hint=hint)
    if not troubled:
        yield HealthFinding(severity="ok", what=f"clients replicated in time: {len(enabled)}")


def _client(row: Deployment, state: ClusterState) -> Iterator[HealthFinding]:
    name = row.client_name
    if row.replica_status in _BLOCKED:
        what = f"{name} {_BLOCKED[row.replica_status]}: {row.replica_reason or 'no reason is recorded'}"
        yield HealthFinding(severity="critical", what=what, hint=f"'client-manager sync status {name}' tells more.")
        return
    if row.replica_status in _PASSING:
        what = f"{name} {_PASSING[row.replica_status]}; its replica waits."
        yield HealthFinding(severity="warning", what=what, hint="It goes on by itself.")
    if row.last_sync_status == "failed":
        yield HealthFinding(
            severity="warning",
            what=f"The last run of {name} failed: {_reason(name, state)}",
            hint=f"'client-manager sync jobs {name}' shows it; it is tried again by itself.",
        )
    if row.lag_s is not None and row.lag_s > _INTERVALS * row.sync_interval:
        what = f"The replica of {name} is {row.lag_s:.0f} s behind; it should be {row.sync_interval} s at most."
        yield HealthFinding(severity="warning", what=what, hint=f"See client-manager sync jobs {name}.")


def _reason(client: str, state: ClusterState) -> str:
    failed = (job for job in state.jobs if job.client_name == client and job.status == "failed")
    return next((job.error_message for job in failed if job.error_message), "its job says no more")
