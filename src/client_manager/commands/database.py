"""The commands ``client-manager database VERB``."""

from typing import Annotated

import typer

from client_manager.commands.client import DryRun, Json, Yes
from client_manager.commands.terminal import open_session

app = typer.Typer(no_args_is_help=True, help="The database of the sync system: PostgreSQL or Supabase.")


@app.command()
def status(json: Json = False) -> None:
    """Show which database is in use, and which migrations of sync_metadata are applied."""
    from client_manager.menu import database_actions

    database_actions.show_status(open_session(as_json=json))


@app.command()
def use(
    url: Annotated[str, typer.Argument(help="postgresql://...; '-' asks for it, so that no shell remembers it.")],
    json: Json = False,
) -> None:
    """Use another database from now on; it must answer before the setting is written."""
    from client_manager.menu import database_actions

    database_actions.use(open_session(as_json=json), url)


@app.command()
def migrate(yes: Yes = False, dry_run: DryRun = False, json: Json = False) -> None:
    """Bring sync_metadata up to this program; a predecessor's schema is taken over with its rows."""
    from client_manager.menu import database_actions

    database_actions.migrate(open_session(yes=yes, dry_run=dry_run, as_json=json))
