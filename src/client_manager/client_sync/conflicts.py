"""Rows that somebody has changed in a client's replica: seen side by side, and decided one by one."""

from typing import Any, get_args
from uuid import UUID

from client_manager.app import App
from client_manager.client_sync.control import Report, status, wait
from client_manager.client_sync.verify import conflict_store, queue_verification, require_enabled, verified
from client_manager.errors import ClientManagerError, Conflict, InvalidInput, NotFound
from client_manager.gateways import host
from client_manager.gateways.conflict_store import ConflictStore
from client_manager.models import sync
from client_manager.models.conflicts import ConflictColumn, ConflictRows, Resolution, Side


def conflicts(
    app: App, client: str | None = None, *, only_open: bool = True, limit: int = 100
) -> tuple[sync.Conflict, ...]:
    """Return the latest conflicts of a client, or of all; those that are open first."""
    with app.sync_store() as store:
        return store.conflicts(client, only_open=only_open, limit=limit)


def show(app: App, log_id: UUID) -> ConflictRows:
    """Return a conflict with both rows side by side, as they were when it was noticed.

    Raises:
        NotFound: there is none of this id.
    """
    with conflict_store(app) as store:
        found = _existing(store, log_id, lock=False)
        order = store.column_order(found.client_name, found.table_name)
    return _side_by_side(found, order)


def resolve(  # noqa: PLR0913  what, how, by whom, and who is told
    app: App,
    log_id: UUID,
    keep: Side,
    report: Report,
    *,
    operator: str | None = None,
    deadline_s: float | None = 3600,
) -> Resolution:
    """Decide a conflict, and return when it is settled.

    ``target``: the replica's row stands, and counts as equal as long as both rows stay what they are in the conflict.
    ``source``: the leader brings the source's row over, as it is by then, under its own term and generation.

    Raises:
        NotFound: there is no such conflict, or its client is not registered any more.
        Conflict: it is resolved already; says by whom.
        Blocked: the source is to be kept and no leader would do it, since the client's sync is not enabled.
        ClientManagerError: the leader's job has failed, or is not over at the deadline; the decision stands.
    """
    decided = decide(app, log_id, keep, operator=operator)
    if decided.job is None:
        return decided
    for job_id in (decided.job, None):  # the first may have begun to compare before the decision was there
        job = wait(app, job_id or queue_verification(app, show(app, log_id).conflict.client_name), report, deadline_s)
        if show(app, log_id).conflict.resolved_at is not None:
            return decided.model_copy(update={"job": job.job_id, "settled": True})
        verified(app, job.job_id)
    raise ClientManagerError(
        "The row of the source was not brought over.",
        why=f"The comparison {job.job_id} has ended without it.",
        hint=f"client-manager sync verify {job.client_name}",
    )


def decide(app: App, log_id: UUID, keep: Side, *, operator: str | None = None) -> Resolution:
    """Decide a conflict, and return the job that carries it out, if one has to.

    Raises:
        NotFound, Conflict, Blocked: as ``resolve``.
    """
    if keep not in get_args(Side):
        raise InvalidInput(f"{keep!r} is no side of a conflict.", hint="Keep the source or the target.")
    who = _named(operator or host.operator())
    arguments = {"keep": keep, "operator": who}
    with app.journal.action("sync resolve", str(log_id), arguments), conflict_store(app) as store:
        client = _existing(store, log_id, lock=False).client_name
        if keep == "source":
            require_enabled(status(app, client))
        with store.transaction():
            _require_open(_existing(store, log_id, lock=True))
            if keep == "target":
                store.decide_for_target(log_id, who)
                return Resolution(log_id=log_id, keep=keep, job=None, settled=True)
            store.decide_for_source(log_id, who)
            job = store.enqueue_verification(client, who)
            if job is None:
                raise NotFound(f"{client} is not registered any more.", why="Somebody has just deregistered it.")
            return Resolution(log_id=log_id, keep=keep, job=job, settled=False)


def _named(operator: str) -> str:
    """Return the operator's name so that it is not taken for the replication itself."""
    return f"{operator} (operator)" if operator == "replication" else operator


def _existing(store: ConflictStore, log_id: UUID, *, lock: bool) -> sync.Conflict:
    found = store.find(log_id, lock=lock)
    if found is None:
        raise NotFound(f"There is no conflict {log_id}.", hint="'client-manager sync conflicts' shows them.")
    return found


def _require_open(found: sync.Conflict) -> None:
    if found.resolved_at is not None:
        raise Conflict(
            f"The conflict {found.log_id} is resolved already.",
            why=f"{found.resolved_by or 'Somebody'} settled it at {found.resolved_at:%Y-%m-%d %H:%M:%S %Z} "
            f"({found.resolution_strategy}).",
            hint="If the row differs again, the next comparison logs it anew: client-manager sync verify "
            f"{found.client_name}",
        )


def _side_by_side(found: sync.Conflict, order: tuple[str, ...]) -> ConflictRows:
    source, target = _row(found.source_data), _row(found.target_data)
    both = source is not None and target is not None
    mine, theirs = source or {}, target or {}
    names = [*(name for name in order if name in mine or name in theirs)]
    names += sorted((mine.keys() | theirs.keys()) - set(names))
    return ConflictRows(
        conflict=found,
        columns=tuple(
            ConflictColumn(
                name=name,
                source=_text(mine.get(name)),
                target=_text(theirs.get(name)),
                changed=not both or mine.get(name) != theirs.get(name),
            )
            for name in names
        ),
        in_source=source is not None,
        in_target=target is not None,
        ordered=found.resolved_at is None and found.resolution_strategy == "source_wins",
    )


def _row(data: Any) -> dict[str, Any] | None:  # noqa: ANN401  what conflict_log holds
    return data if isinstance(data, dict) else None


def _text(value: object) -> str | None:
    """Return a value as text; the predecessor logged others than texts."""
    return value if value is None or isinstance(value, str) else str(value)
