"""Take a cluster down: look, confirm, export, stop its nodes, and delete what is still what was confirmed.

Whatever cannot be read stands in the way: there is no path on which an error counts as nothing being there.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from client_manager import guard
from client_manager.app import App
from client_manager.client_sync.deregister import deregister as drop_client
from client_manager.cluster.export import export
from client_manager.errors import Blocked, Cancelled, ClientManagerError, InvalidInput, NotFound, Unavailable
from client_manager.gateways import interrupts, lock
from client_manager.models.deregistration import (
    Circumstances,
    ClusterSnapshot,
    Confirmation,
    DeregistrationDecision,
    DeregistrationReport,
)
from client_manager.models.operation import Progress

Report = Callable[[Progress], None]
_LOOK: Final = "Look what is there now: client-manager cluster deregister NAME --check."


class OutcomeUnknown(Unavailable):
    """The database went away while it was being told to delete, and does not say what became of it."""


@dataclass(frozen=True)
class Nodes:
    """What is done to the cluster's nodes on this machine, by the feature that has their containers.

    Attributes:
        circumstances: what of the cluster is in this machine's hands.
        stop: stops the nodes and returns those that do not run now, once that is certain.
        start_again: starts those that ``stop`` stopped, where the deregistration came to nothing.
        remove: clears away what is left of them, after the cluster is gone.
    """

    circumstances: Circumstances
    stop: Callable[[], tuple[str, ...]]
    start_again: Callable[[], None]
    remove: Callable[[], None]


def check(app: App, cluster: str, circumstances: Circumstances) -> DeregistrationDecision:
    """Return whether a cluster may go and what goes with it; changes nothing.

    Raises:
        NotFound: there is no such cluster; suggests the nearest name.
        ClientManagerError: it could not be found out, which is no yes.
    """
    with app.deregistration_store() as store:
        return guard.decide(store.look(cluster, circumstances))


def deregister(
    app: App,
    confirmed: Confirmation,
    nodes: Nodes,
    report: Report,
    *,
    folder: Path | None = None,
) -> DeregistrationReport:
    """Deregister a cluster that may go, and is what the operator confirmed.

    Clients that were never registered and containers of clients are not touched; replicas only where that was
    confirmed, after everything else. The nodes are stopped; if then nothing is deleted after all, those that were
    stopped are started again. What is left of them is removed last.

    Args:
        app: the gateways.
        confirmed: the cluster's name as it was typed, the leader's where somebody leads, and what was looked at.
        nodes: the cluster's nodes here, and how they are stopped, started again and removed.
        report: told of the steps.
        folder: where the bundle goes; ``<data_root>/bundles`` where None.

    Raises:
        NotFound: there is no such cluster.
        InvalidInput: the leader was not confirmed.
        Blocked: it may not go, or has changed since; nothing was deleted.
        Unavailable: the database does not answer; says whether anything was deleted, or that this is not known.
        Conflict: another operator is at work on it, or somebody holds the rows; nothing was deleted.
    """
    cluster, circumstances = confirmed.cluster, nodes.circumstances
    arguments = {
        "leader": confirmed.leader or "",
        "lost_host": str(circumstances.lost_host).lower(),
        "drop_replicas": str(confirmed.drop_replicas).lower(),
    }
    with (
        lock.held(app.files.locks, f"cluster-{cluster}", "deregister"),
        app.journal.action("cluster deregister", cluster, arguments),
    ):
        report(Progress(step="Reading what is there"))
        require_confirmed(check(app, cluster, circumstances), confirmed)
        report(Progress(step="Exporting"))
        path, snapshot = export(app, cluster, circumstances=circumstances, folder=folder)
        require_confirmed(guard.decide(snapshot), confirmed)
        with _nodes_stopped(nodes, report) as stopped:
            report(Progress(step="Deleting"))
            now = circumstances.model_copy(update={"stops": stopped})
            decision = _delete(app, confirmed, now, snapshot, path)
        report(Progress(step="Verifying"))
        notes = (*_verified(app, snapshot, path), *_cleared_away(nodes))
        if confirmed.drop_replicas:
            notes += tuple(_dropped(app, decision, report))
        return DeregistrationReport(
            cluster=cluster, bundle=str(path), deleted=decision.goes, kept=decision.stays, stopped=stopped, notes=notes
        )


def require_confirmed(decision: DeregistrationDecision, confirmed: Confirmation) -> None:
    """Return if a cluster may go, and is what was confirmed.

    Raises:
        Blocked: it may not, or has changed since it was looked at.
        InvalidInput: another name was typed for its leader, or none.
    """
    if decision.blockers:
        raise Blocked(
            f"{decision.cluster} may not be deregistered.",
            why=" ".join(blocker.what for blocker in decision.blockers),
            hint=decision.blockers[0].hint,
        )
    if decision.leader and decision.leader != confirmed.leader:
        raise InvalidInput(
            f"{decision.leader} leads {decision.cluster} now, and was not confirmed.",
            hint=f"Confirm it too: --confirm-leader {decision.leader}",
        )
    if decision.fingerprint != confirmed.fingerprint:
        raise Blocked(f"{decision.cluster} has changed since you looked; nothing was deleted.", hint=_LOOK)


@contextmanager
def _nodes_stopped(nodes: Nodes, report: Report) -> Iterator[tuple[str, ...]]:
    """Hold the nodes stopped; whatever comes to nothing starts them again."""
    try:
        report(Progress(step="Stopping the nodes"))
        yield nodes.stop() if nodes.circumstances.stops else ()
    except OutcomeUnknown:
        raise
    except (ClientManagerError, KeyboardInterrupt) as error:
        if nodes.circumstances.stops:
            _start_again(nodes, error)
        raise


def _start_again(nodes: Nodes, error: BaseException) -> None:
    try:
        with interrupts.deferred():
            nodes.start_again()
    except ClientManagerError as second:
        first = error if isinstance(error, ClientManagerError) else Cancelled()
        raise type(first)(
            first.what,
            why=f"{first.why} Then the nodes could not be started again: {second.what} {second.why}".strip(),
            hint=second.hint or first.hint,
        ) from error


def _delete(
    app: App, confirmed: Confirmation, circumstances: Circumstances, snapshot: ClusterSnapshot, path: Path
) -> DeregistrationDecision:
    """Delete what is still what was confirmed; nothing interrupts it, and a lost answer is looked for.

    Raises:
        OutcomeUnknown: the connection was lost, and the database does not say whether it was before the end.
    """
    with interrupts.deferred():
        try:
            with app.deregistration_store() as store:
                return store.delete(confirmed, circumstances)
        except Unavailable as error:
            if not _was_done(app, snapshot, path, error):
                raise
    return guard.decide(snapshot)


def _was_done(app: App, snapshot: ClusterSnapshot, path: Path, error: ClientManagerError) -> bool:
    """Say whether a deletion took effect whose answer was lost."""
    try:
        with app.deregistration_store() as store:
            return store.is_gone(snapshot)
    except ClientManagerError as second:
        raise OutcomeUnknown(
            f"It is not known whether {snapshot.cluster} was deregistered.",
            why=f"{error.what} Then: {second.what}",
            hint=f"{_LOOK} Its bundle is {path}.",
        ) from error


def _verified(app: App, snapshot: ClusterSnapshot, path: Path) -> tuple[str, ...]:
    """Look once more, from outside of the transaction; what cannot be seen is said, for the deletion stands.

    Raises:
        ClientManagerError: something that was deleted is there.
    """
    try:
        with app.deregistration_store() as store:
            gone = store.is_gone(snapshot)
    except ClientManagerError as error:
        return (f"It was deleted and verified, but could not be looked at once more: {error.what}",)
    if gone:
        return ()
    raise ClientManagerError(
        f"{snapshot.cluster} was deregistered, and some of its rows are there again.",
        why="Somebody wrote rows with the same ids meanwhile, perhaps by a restore.",
        hint=f"{_LOOK} Its bundle is {path}.",
    )


def _cleared_away(nodes: Nodes) -> tuple[str, ...]:
    try:
        nodes.remove()
    except ClientManagerError as error:
        return (f"What is left of its nodes could not be cleared away: {error.what} {error.why} {error.hint}".strip(),)
    return ()


def _dropped(app: App, decision: DeregistrationDecision, report: Report) -> Iterator[str]:
    """Drop the replicas of the clients whose records are gone, and yield what could not be dropped."""
    for client in decision.disabled:
        report(Progress(step="Dropping the replicas", detail=client))
        try:
            drop_client(app, client, report, drop_data=True)
        except NotFound:
            continue  # it was never replicated
        except ClientManagerError as error:
            again = f"client-manager sync deregister {client} --drop-data"
            yield f"The replica of {client} is still there: {error.what} Drop it: {again}"
