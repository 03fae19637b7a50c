"""The menu of a client's replication."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from client_manager.client_sync import conflicts as decisions
from client_manager.errors import ClientManagerError, InvalidInput
from client_manager.menu import sync_actions, sync_extras
from client_manager.menu.main import Action, loop
from client_manager.menu.prompts import Option
from client_manager.menu.session import Session
from client_manager.models.base import parse
from client_manager.models.conflicts import Side
from client_manager.models.sync import Deployment
from client_manager.views.conflicts import conflict_table
from client_manager.views.sync import sync_state
from client_manager.views.text import one_line, span

# The predecessor's intervals, and any other.
_INTERVALS: Final = (
    (60, "every minute"),
    (300, "every 5 minutes"),
    (3600, "every hour"),
    (14400, "every 4 hours"),
    (86400, "every day"),
)
_Seconds = Annotated[int, Field(ge=10, le=31_536_000)]


def sync_menu(session: Session, client: str) -> None:
    """Show the menu until the operator goes back."""
    seen: list[Deployment | ClientManagerError | None] = [None]

    def options() -> list[Option[Action | None]]:
        seen[0] = _look(session, client)
        offered = _OFFERED if seen[0] else (_OFFERED[0], _OFFERED[-1])
        own = [
            Option[Action | None](label, partial(_for, action=action, client=client), key)
            for label, action, key in offered
        ]
        return [*(own if not seen[0] else own[1:]), Option("Back", None, "0")]

    loop(session, lambda: _title(client, seen[0]), options)


def _for(session: Session, action: Callable[[Session, str], None], client: str) -> None:
    action(session, client)


def _look(session: Session, client: str) -> Deployment | ClientManagerError | None:
    """Return how the client is registered; that the database is gone must not close the menu."""
    try:
        return sync_actions.registered(session, client)
    except ClientManagerError as error:
        return error


def _title(client: str, found: Deployment | ClientManagerError | None) -> str:
    if found is None:
        return f"Sync of {client}  not registered"
    if isinstance(found, ClientManagerError):
        return f"Sync of {client}  ({one_line(found.what)})"
    lag = f", lag {span(found.lag_s)}" if found.lag_s is not None else ""
    return f"Sync of {client}  {sync_state(found)[0]}{lag}, every {found.sync_interval} s"


def _register(session: Session, client: str) -> None:
    interval = _ask_interval(session, sync_actions.DEFAULT_INTERVAL_S)
    sync_actions.register(session, client, interval_s=interval, cluster=None)
    session.equivalent("sync", "register", client, "--interval", str(interval))


def _start(session: Session, client: str) -> None:
    found = sync_actions.existing(session, client)
    interval = _ask_interval(session, found.sync_interval)
    sync_actions.start(session, client, interval_s=interval)
    session.equivalent("sync", "start", client, "--interval", str(interval))


def _ask_interval(session: Session, now: int) -> int:
    ways: list[Option[int | None]] = [Option(f"As it is: every {now} s", now, "1")]
    offered = [(seconds, words) for seconds, words in _INTERVALS if seconds != now]
    ways += [Option(words.capitalize(), seconds, str(key)) for key, (seconds, words) in enumerate(offered, start=2)]
    ways.append(Option("Another number of seconds", None, "s"))
    chosen = session.ask.choose("How often?", ways)
    if chosen is not None:
        return chosen
    return session.ask.text("Seconds from one run to the next:", _seconds, default=str(now))


def _seconds(text: str) -> int:
    return int(parse(_Seconds, text, what="number of seconds"))


def _pause(session: Session, client: str) -> None:
    sync_actions.pause(session, client)
    session.equivalent("sync", "pause", client)


def _run_full(session: Session, client: str) -> None:
    sync_actions.run_now(session, client, full=True, wait=True)
    session.equivalent("sync", "run", client, "--full", "--wait")


def _run_incremental(session: Session, client: str) -> None:
    sync_actions.run_now(session, client, full=False, wait=True)
    session.equivalent("sync", "run", client, "--wait")


def _status(session: Session, client: str) -> None:
    sync_actions.show_status(session, client)
    session.equivalent("sync", "status", client)


def _jobs(session: Session, client: str) -> None:
    sync_actions.show_jobs(session, client, limit=sync_actions.SHOWN_JOBS)
    session.equivalent("sync", "jobs", client)


def _cancel(session: Session, client: str) -> None:
    sync_actions.cancel(session, client=client, job=None)
    session.equivalent("sync", "cancel", client)


def _conflicts(session: Session, client: str) -> None:
    found = decisions.conflicts(session.app, client)
    session.show(conflict_table(found))
    session.equivalent("sync", "conflicts", client)
    if not found:
        return
    keys = [str((number + 1) % 10) for number in range(len(found))] if len(found) < 10 else [""] * len(found)  # noqa: PLR2004
    rows = [
        Option(one_line(f"{each.table_name} {each.record_id}"), each.log_id, key or None)
        for each, key in zip(found, keys, strict=True)
    ]
    chosen = str(session.ask.choose("Which one?", rows))
    sync_extras.show_conflict(session, chosen)
    keep: Side = session.ask.choose(
        "Which row shall stand?",
        [Option[Side]("The source's", "source", "1"), Option[Side]("The replica's", "target", "2")],
    )
    sync_extras.resolve(session, chosen, keep)
    session.equivalent("sync", "resolve", chosen[:8], "--keep", keep)


def _verify(session: Session, client: str) -> None:
    sync_extras.verify(session, client)
    session.equivalent("sync", "verify", client)


def _restore(session: Session, client: str) -> None:
    to = session.ask.text("File to make:", _absolute, default=f"/var/tmp/{client}-webui.db")  # noqa: S108  a suggestion
    sync_extras.restore(session, client, to)
    session.equivalent("sync", "restore", client, "--to", str(to))


def _absolute(text: str) -> Path:
    if not Path(text).is_absolute():
        raise InvalidInput("That is no file.", why="Write the whole path, from / on.")
    return Path(text)


def _deregister(session: Session, client: str) -> None:
    ways = [Option("Keep the replica", False, "1"), Option("Drop the replica too, for good", True, "2")]  # noqa: FBT003
    drop = session.ask.choose("What of its replica?", ways)
    sync_extras.deregister(session, client, drop_data=drop)
    session.equivalent("sync", "deregister", client, *(["--drop-data"] if drop else []))


def _help(session: Session, _: str) -> None:
    session.say(sync_extras.HELP)


# The numbers are the predecessor's; the first is for who is not registered, the rest for who is.
_OFFERED: Final = (
    ("Register", _register, "1"),
    ("Start/Resume", _start, "2"),
    ("Pause", _pause, "3"),
    ("Manual Sync: Full", _run_full, "4"),
    ("Manual Sync: Incremental", _run_incremental, "5"),
    ("View Sync Status", _status, "6"),
    ("View Jobs", _jobs, "j"),
    ("Cancel Jobs", _cancel, "c"),
    ("Conflicts", _conflicts, "k"),
    ("Verify", _verify, "v"),
    ("Restore", _restore, "r"),
    ("Deregister", _deregister, "7"),
    ("Help", _help, "8"),
)
