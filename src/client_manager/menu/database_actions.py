"""What can be done with the database of the sync system, from a menu or a command."""

import sys

from pydantic import SecretStr

from client_manager.database import migrations
from client_manager.database.use import use as use_database
from client_manager.menu.session import Session
from client_manager.views.database import migration_lines, status_lines

_ASK = "-"


def show_status(session: Session) -> None:
    """Show which database is in use."""
    status = migrations.status(session.app)
    session.show(status_lines(status))
    session.result(database=status)


def use(session: Session, url: str) -> None:
    """Use another database from now on."""
    name = use_database(session.app, SecretStr(_asked(session) if url == _ASK else url))
    session.say(f"From now on the database is {name}.", style="good")
    session.say("Its schema is brought up to date by: client-manager database migrate")
    session.result(database=name)


def _asked(session: Session) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().strip()
    return session.ask.secret("URL of the database")


def migrate(session: Session) -> None:
    """Apply what is not applied yet."""
    status = migrations.status(session.app)
    if not status.pending:
        session.say(f"{status.name}: nothing to do, {len(status.migrations)} migrations are applied.")
        session.result(applied=[])
        return
    session.show(migration_lines(status))
    if session.dry_run:
        session.result(would_apply=status.pending)
        return
    session.confirm(f"Apply {len(status.pending)} migrations to {status.name}?")
    with session.app.journal.action("database migrate", status.name, {}):
        done = migrations.migrate(session.app.database)
    session.say(f"{status.name}: {len(done)} migrations applied.", style="good")
    session.result(applied=done)
