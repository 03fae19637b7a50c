"""Look at everything at once, and start, write and change nothing: for the doctor, and where no command was named."""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from client_manager.app import App
from client_manager.database.presence import presence
from client_manager.deployment import doctor
from client_manager.deployment.clients import list_clients
from client_manager.errors import ClientManagerError, ConfigurationError, value_or_error
from client_manager.gateways.patience import within
from client_manager.models.cluster import ClusterState
from client_manager.models.database import NOT_IN_USE, Presence
from client_manager.models.finding import Finding
from client_manager.models.overview import Overview
from client_manager.workflows import find_orphans

T = TypeVar("T")
# The doctor is asked on purpose, and takes its time with a machine under load; a status must not keep anyone waiting.
_DOCTOR_S: Final = 20.0
STATUS_S: Final = 5.0
# Many answers, each in time, may take this often as long as one.
_MANY: Final = 4


def examine(app: App) -> tuple[Finding, ...]:
    """Return what the doctor finds, of clients and of their replication; who is silent is waited for once."""
    look = app.for_a_look(_DOCTOR_S)
    return (*doctor.examine(look), *_orphans(look, _DOCTOR_S))


def look_around(app: App) -> Overview:
    """Return how everything is; what does not answer within a few seconds is an error in its place."""
    look = app.for_a_look(STATUS_S)
    clients = value_or_error(lambda: list_clients(look))
    here = value_or_error(look.cluster_files.names)
    database = value_or_error(lambda: _patiently(lambda: presence(look), STATUS_S))
    clusters = database if isinstance(database, ClientManagerError) else _clusters(look, database, here)
    if isinstance(clusters, ClientManagerError):  # who was silent once is not waited for again
        orphans: tuple[Finding, ...] = (Finding.of(find_orphans.CHECK, clusters),)
    else:
        orphans = _orphans(look, STATUS_S)
    findings = (*doctor.examine(look, clients), *orphans)
    return Overview(clients, database, clusters, clusters_here=here, findings=findings)


def _clusters(
    look: App, database: Presence, here: Sequence[str] | ClientManagerError
) -> Sequence[ClusterState] | ClientManagerError:
    if database not in NOT_IN_USE:
        return value_or_error(lambda: _patiently(lambda: _states(look), STATUS_S))
    if isinstance(here, ClientManagerError) or not here:
        return ()
    return ConfigurationError(
        f"The database of {', '.join(here)} is not the one that is set.",
        why=f"None is configured, and PostgreSQL was never started in {look.settings.postgres_dir}.",
        hint="Correct database_url or postgres_dir in the settings, or run as the user who deployed the cluster.",
    )


def _states(look: App) -> tuple[ClusterState, ...]:
    with look.sync_store() as store:
        return tuple(store.state(name) for name in store.clusters())


def _orphans(look: App, patience_s: float) -> tuple[Finding, ...]:
    found = value_or_error(lambda: _patiently(lambda: find_orphans.examine(look), patience_s))
    return (Finding.of(find_orphans.CHECK, found),) if isinstance(found, ClientManagerError) else found


def _patiently(ask: Callable[[], T], patience_s: float) -> T:
    return within(_MANY * patience_s, ask, "The database")
