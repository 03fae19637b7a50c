"""Conflicts, comparisons, restores and deregistration of a client's replication. Menus and commands both end here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final
from uuid import UUID

import typer

from client_manager.client_sync import conflicts as decisions
from client_manager.client_sync import deregister as removal
from client_manager.client_sync import restore as restoring
from client_manager.client_sync import strategies as settings
from client_manager.client_sync import verify as comparison
from client_manager.errors import ExitCode, InvalidInput, NotFound
from client_manager.menu.session import Session
from client_manager.menu.sync_actions import existing
from client_manager.models.client_deregistration import ClientTraces
from client_manager.models.conflicts import Side
from client_manager.views.conflicts import conflict_page, conflict_table, strategies_table, verified_page

_SHORTEST_ID: Final = 4
_SEARCHED: Final = 10_000
HELP: Final = """\
Register     makes an owner, rights and a record; the first full load begins at once.
Start/Resume replicates every so many seconds; Pause stops that, and says what was under way.
Manual Sync  runs now, from any machine; full loads everything anew beside the replica.
View Status  lag, next run, generation, last comparison, quarantine. View Jobs: what ran.
Conflicts    rows that somebody has changed in the replica: both sides, and you decide.
Verify       compares every row of source and replica, and settles what differs.
Restore      makes a working webui.db out of the replica, in a file of your choice.
Deregister   takes the record back; the replica stays unless you ask for it to go.
The tenant's database is only ever read. Its containers are never touched from here."""


def show_conflicts(session: Session, client: str | None, *, everything: bool = False, limit: int = 100) -> None:
    """Show conflicts that are open, or all."""
    if client is not None:
        existing(session, client)
    found = decisions.conflicts(session.app, client, only_open=not everything, limit=limit)
    session.show(conflict_table(found))
    session.result(conflicts=found)


def show_conflict(session: Session, log_id: str) -> UUID:
    """Show one conflict with both rows; return its whole id."""
    whole = conflict_id(session, log_id)
    rows = decisions.show(session.app, whole)
    session.show(conflict_page(rows, session.console.width))
    session.result(conflict=rows)
    return whole


def conflict_id(session: Session, text: str) -> UUID:
    """Return the conflict that an id, or how it begins, means.

    Raises:
        InvalidInput: it is too short, or more than one begins so.
        NotFound: none does.
    """
    try:
        return UUID(text)
    except ValueError:
        if len(text) < _SHORTEST_ID:
            raise InvalidInput(f"{text} is too short for an id.", hint="client-manager sync conflicts") from None
    known = decisions.conflicts(session.app, only_open=False, limit=_SEARCHED)
    found = [each.log_id for each in known if str(each.log_id).startswith(text.lower())]
    if not found:
        raise NotFound(f"There is no conflict {text}.", hint="client-manager sync conflicts")
    if len(found) > 1:
        raise InvalidInput(f"{len(found)} conflicts begin with {text}.", hint="Write more of the id.")
    return found[0]


def resolve(session: Session, log_id: str, keep: Side) -> None:
    """Decide a conflict, and return when it is settled."""
    whole = conflict_id(session, log_id)
    rows = decisions.show(session.app, whole)
    session.show(conflict_page(rows, session.console.width))
    side = "source's row" if keep == "source" else "replica's row"
    if session.dry_run:
        session.say("Dry run: nothing was done.", "attention")
        return session.result(dry_run=True, conflict=rows, keep=keep)
    session.confirm(f"Keep the {side}?")
    with session.working() as report:
        done = decisions.resolve(session.app, whole, keep, report)
    session.say(f"It is settled: the {side} stands.", "good")
    return session.result(resolution=done)


def verify(session: Session, client: str) -> None:
    """Let the leader compare source and replica.

    Raises:
        typer.Exit: rows differed.
    """
    existing(session, client)
    if session.dry_run:
        session.say(f"Dry run: the leader would compare every row of {client}.", "attention")
        return session.result(dry_run=True)
    with session.working() as report:
        found = comparison.verify(session.app, client, report)
    session.show(verified_page(client, found))
    session.result(verified=found)
    if found.conflicts and not session.in_menu:
        raise typer.Exit(ExitCode.FAILED)
    return None


def restore(session: Session, client: str, to: Path, *, replace: bool = False) -> None:
    """Make a ``webui.db`` out of a client's replica."""
    session.say(
        f"Makes a database out of the replica of {client}, in {to}. The replica and the client stay as they are."
    )
    if session.dry_run:
        session.say("Dry run: nothing was done.", "attention")
        return session.result(dry_run=True, client=client, to=str(to))
    if replace and to.exists():
        session.confirm(f"Overwrite {to}?")
    with session.working() as report:
        made = restoring.restore(session.app, client, to, report, replace=replace)
    session.say(f"{to} is a whole database, equal to the replica: {made.rows} rows in {made.tables} tables.", "good")
    return session.result(restored=made)


def show_strategies(session: Session, client: str) -> None:
    """Show what is done about rows that differ."""
    found = settings.strategies(session.app, client)
    session.show(strategies_table(found))
    session.result(strategies=found)


def set_strategies(session: Session, client: str, changes: Mapping[str, str | None]) -> None:
    """Set what is done about rows that differ, for some tables."""
    if session.dry_run:
        session.say("Dry run: nothing was done.", "attention")
        return session.result(dry_run=True, changes=dict(changes))
    found = settings.set_strategies(session.app, client, changes)
    session.show(strategies_table(found))
    session.say("They count from the next comparison on.")
    return session.result(strategies=found)


def deregister(session: Session, client: str, *, confirm: str | None = None, drop_data: bool = False) -> None:
    """Take a client's replication back."""
    planned = removal.plan_deregister(session.app, client, drop_data=drop_data)
    for line in _what_goes(client, planned, drop_data=drop_data):
        session.say(line)
    if session.dry_run:
        session.say("Dry run: nothing was done.", "attention")
        return session.result(dry_run=True, traces=planned)
    if confirm is None:
        session.ask.type_name(f"Type the client's name, {client}, to deregister it:", client)
    elif confirm != client:
        raise InvalidInput(
            f"--confirm says {confirm}, not {client}.", why="Nothing was done.", hint=f"--confirm {client}"
        )
    with session.working() as report:
        done = removal.deregister(session.app, client, report, drop_data=drop_data)
    kept = "its replica is dropped" if drop_data else "its replica stays as it is"
    session.say(f"{client} is deregistered; {kept}.", "good")
    for left in done.baselines_left:
        session.say(f"A folder is left: {left}", "attention")
    return session.result(deregistered=done)


def _what_goes(client: str, found: ClientTraces, *, drop_data: bool) -> list[str]:
    lines = [
        f"Deregistering {client}: its record goes; {found.jobs} jobs and {found.conflicts} conflicts stay as history."
    ]
    if drop_data:
        size = found.replica_bytes // 1024**2
        lines.append(
            f"Its replica goes for good: {len(found.tables)} tables, {size} MiB, and {found.originals} originals."
        )
    else:
        lines.append("Its replica stays: registered again, it goes on where it was.")
    return [*lines, "Its container and its own database are not touched."]
