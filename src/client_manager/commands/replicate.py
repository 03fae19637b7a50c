"""The commands ``client-manager replicate VERB``: one SQLite database into one PostgreSQL schema, by hand."""

from pathlib import Path
from typing import Annotated

import typer

from client_manager.commands.client import DryRun, Json
from client_manager.commands.terminal import open_session

app = typer.Typer(no_args_is_help=True, help="Replication by hand: one SQLite file into one PostgreSQL schema.")

File = Annotated[Path, typer.Argument(help="The SQLite database, webui.db; it may be in use.")]
Schema = Annotated[str, typer.Option("--schema", help="The PostgreSQL schema that becomes its replica.")]
Url = Annotated[
    str | None,
    typer.Option("--database", help="postgresql://... of another database; '-' reads it from the standard input."),
]
State = Annotated[
    Path | None, typer.Option("--state", help="The folder of the replica's baseline; left out, one below state_dir.")
]


@app.command()
def run(
    file: File,
    schema: Schema,
    database: Url = None,
    state: State = None,
    full: Annotated[bool, typer.Option("--full", help="Load everything anew.")] = False,
    confirm: Annotated[
        str | None, typer.Option("--confirm", help="The schema's name: let through what a safety rule stopped at.")
    ] = None,
    json: Json = False,
) -> None:
    """Bring the replica up to the file; exit 10 where values did not fit and are in quarantine."""
    from client_manager.menu import replication

    session = open_session(as_json=json)
    replica = replication.chosen(session, schema, database=database, state=state)
    replication.run(session, file, replica, full=full, confirm=confirm)


@app.command()
def verify(
    file: File,
    schema: Schema,
    database: Url = None,
    state: State = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Compare file and replica row by row, mend and log what differs; exit 0 where they were equal, 1 where not."""
    from client_manager.menu import replication

    session = open_session(as_json=json, dry_run=dry_run)
    replication.verify(session, file, replication.chosen(session, schema, database=database, state=state))


@app.command()
def quarantine(
    schema: Schema,
    database: Url = None,
    all_: Annotated[bool, typer.Option("--all", help="Also values that stand in the replica in another form.")] = False,
    json: Json = False,
) -> None:
    """Show the values that do not fit PostgreSQL, with the start of their bytes."""
    from client_manager.menu import replication

    session = open_session(as_json=json)
    replication.show_quarantine(session, replication.chosen(session, schema, database=database), everything=all_)
