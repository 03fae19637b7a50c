"""The commands ``client-manager sync VERB``: the replication of clients by the cluster."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from client_manager.commands import completion
from client_manager.commands.client import DryRun, Json, Name, Yes
from client_manager.commands.terminal import open_session

app = typer.Typer(no_args_is_help=True, help="Client sync: each client's database, replicated by the cluster.")

AnyName = Annotated[
    str | None, typer.Argument(help="The client's name; left out, all of them.", autocompletion=completion.clients)
]
Interval = Annotated[int | None, typer.Option("--interval", min=10, help="Seconds from one run to the next.")]


@app.command()
def register(
    name: Name,
    interval: Interval = None,
    cluster: Annotated[
        str | None,
        typer.Option(help="The cluster; left out, the one of this machine.", autocompletion=completion.clusters),
    ] = None,
    no_start: Annotated[bool, typer.Option("--no-start", help="Leave it paused; 'sync start' sets it going.")] = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Register a client with its cluster: owner, rights, record; its first replication begins at once."""
    from client_manager.menu import sync_actions

    session = open_session(yes=yes, dry_run=dry_run, as_json=json)
    sync_actions.register(session, name, interval_s=interval, cluster=cluster, enable=not no_start)


@app.command()
def start(name: Name, interval: Interval = None, yes: Yes = False, dry_run: DryRun = False, json: Json = False) -> None:
    """Start or resume the replication of a client, or give it another interval."""
    from client_manager.menu import sync_actions

    sync_actions.start(open_session(yes=yes, dry_run=dry_run, as_json=json), name, interval_s=interval)


@app.command()
def pause(
    name: Name,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Cancel a run that is under way; else it may finish.")
    ] = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Pause the replication of a client, and return when nothing of it is under way; its replica stays as it is."""
    from client_manager.menu import sync_actions

    sync_actions.pause(open_session(yes=yes, dry_run=dry_run, as_json=json), name, cancel=cancel)


@app.command()
def run(
    name: Name,
    full: Annotated[bool, typer.Option("--full", help="Load everything anew.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Return when it has ended, and as it has ended.")] = False,
    confirm: Annotated[
        str | None, typer.Option(help="The client's name again: confirms --full where a safety rule has stopped it.")
    ] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Replicate a client now: queue a job for the leader, from any machine."""
    from client_manager.menu import sync_actions

    session = open_session(yes=yes, dry_run=dry_run, as_json=json)
    sync_actions.run_now(session, name, full=full, wait=wait, confirm=confirm)


@app.command()
def status(name: AnyName = None, json: Json = False) -> None:
    """Show how far the replicas are; of one client, its latest jobs too."""
    from client_manager.menu import sync_actions

    sync_actions.show_status(open_session(as_json=json), name)


@app.command()
def jobs(
    name: AnyName = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="The latest so many.")] = 20,
    rerun: Annotated[
        str | None, typer.Option("--rerun", help="A job's id, or how that begins: queue it again.")
    ] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Show the latest jobs, those under way first, and why each failed; or run one again."""
    from client_manager.menu import sync_actions

    if rerun is not None:
        return sync_actions.rerun(open_session(yes=yes, dry_run=dry_run, as_json=json), rerun)
    return sync_actions.show_jobs(open_session(as_json=json), name, limit=limit)


@app.command("cancel")
def cancel_(
    name: Annotated[
        str | None,
        typer.Argument(help="The client, all of whose jobs are cancelled.", autocompletion=completion.clients),
    ] = None,
    job: Annotated[str | None, typer.Option("--job", help="One job, by its id or how that begins.")] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Cancel jobs that wait, and ask those that run to end."""
    from client_manager.menu import sync_actions

    sync_actions.cancel(open_session(yes=yes, dry_run=dry_run, as_json=json), client=name, job=job)


@app.command()
def conflicts(
    name: AnyName = None,
    everything: Annotated[bool, typer.Option("--all", help="Also those that are settled.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="The latest so many.")] = 100,
    json: Json = False,
) -> None:
    """Show rows that were not the same in a client's database and in its replica."""
    from client_manager.menu import sync_extras

    sync_extras.show_conflicts(open_session(as_json=json), name, everything=everything, limit=limit)


@app.command()
def resolve(
    conflict: Annotated[str, typer.Argument(help="Its id, or how that begins.")],
    keep: Annotated[
        Literal["source", "target"] | None, typer.Option("--keep", help="Whose row stands; left out, both are shown.")
    ] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Show both rows of a conflict side by side and, with --keep, decide it; returns when it is settled."""
    from client_manager.menu import sync_extras

    session = open_session(yes=yes, dry_run=dry_run, as_json=json)
    if keep is None:
        sync_extras.show_conflict(session, conflict)
    else:
        sync_extras.resolve(session, conflict, keep)


@app.command()
def strategies(
    name: Name,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="TABLE=STRATEGY, '*' for all others; TABLE= takes it back.")
    ] = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Show or set what is done about rows that differ: source_wins, target_wins, newest_wins, manual."""
    from client_manager.errors import InvalidInput
    from client_manager.menu import sync_extras

    session = open_session(dry_run=dry_run, as_json=json)
    if not assignments:
        return sync_extras.show_strategies(session, name)
    pairs = [text.partition("=") for text in assignments]
    if not all(table and sign for table, sign, _ in pairs):
        raise InvalidInput("A strategy is written TABLE=STRATEGY.", hint="--set tag=manual")
    return sync_extras.set_strategies(session, name, {table: strategy or None for table, _, strategy in pairs})


@app.command()
def verify(name: Name, dry_run: DryRun = False, json: Json = False) -> None:
    """Compare every row of a client's database and its replica; exit 0 where they were equal, 1 where not."""
    from client_manager.menu import sync_extras

    sync_extras.verify(open_session(dry_run=dry_run, as_json=json), name)


@app.command()
def restore(
    name: Name,
    to: Annotated[Path, typer.Option("--to", help="The file, or a folder that gets a webui.db.")],
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite what is there.")] = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Make a working webui.db out of a client's replica, proven equal to it."""
    from client_manager.menu import sync_extras

    session = open_session(yes=yes, dry_run=dry_run, as_json=json)
    sync_extras.restore(session, name, to.absolute(), replace=replace)


@app.command()
def deregister(
    name: Name,
    confirm: Annotated[str | None, typer.Option(help="The client's name again, instead of typing it.")] = None,
    drop_data: Annotated[bool, typer.Option("--drop-data", help="Drop its replica too, for good.")] = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Take a client's replication back; its replica stays unless --drop-data is given."""
    from client_manager.menu import sync_extras

    session = open_session(dry_run=dry_run, as_json=json)
    sync_extras.deregister(session, name, confirm=confirm, drop_data=drop_data)
