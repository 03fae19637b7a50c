"""The menu of a client's replication."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Final

from pydantic import Field

from client_manager.errors import ClientManagerError
from client_manager.menu import sync_actions
from client_manager.menu.main import Action, loop
from client_manager.menu.prompts import Option
from client_manager.menu.session import Session
from client_manager.models.base import parse
from client_manager.models.sync import Deployment
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
        offered = _OFFERED if seen[0] else _OFFERED[:1]
        own = [
            Option[Action | None](label, partial(_for, action=action, client=client), key)
            for label, action, key in offered
        ]
        return [*(own if len(offered) == 1 else own[1:]), Option("Back", None, "0")]

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
)
