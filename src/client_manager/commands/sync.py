"""The commands ``client-manager sync VERB``: the replication of clients by the cluster."""

from typing import Annotated

import typer

from client_manager.commands.client import DryRun, Json, Name, Yes
from client_manager.commands.terminal import open_session

app = typer.Typer(no_args_is_help=True, help="Client sync: each client's database, replicated by the cluster.")

AnyName = Annotated[str | None, typer.Argument(help="The client's name; left out, all of them.")]
Interval = Annotated[int | None, typer.Option("--interval", min=10, help="Seconds from one run to the next.")]


@app.command()
def register(
    name: Name,
    interval: Interval = None,
    cluster: Annotated[str | None, typer.Option(help="The cluster; left out, the one of this machine.")] = None,
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
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Replicate a client now: queue a job for the leader, from any machine."""
    from client_manager.menu import sync_actions

    sync_actions.run_now(open_session(yes=yes, dry_run=dry_run, as_json=json), name, full=full, wait=wait)


@app.command()
def status(name: AnyName = None, json: Json = False) -> None:
    """Show how far the replicas are; of one client, its latest jobs too."""
    from client_manager.menu import sync_actions

    sync_actions.show_status(open_session(as_json=json), name)


@app.command()
def jobs(
    name: AnyName = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="The latest so many.")] = 20,
    json: Json = False,
) -> None:
    """Show the latest jobs, those under way first, and why each failed."""
    from client_manager.menu import sync_actions

    sync_actions.show_jobs(open_session(as_json=json), name, limit=limit)


@app.command("cancel")
def cancel_(
    name: Annotated[str | None, typer.Argument(help="The client, all of whose jobs are cancelled.")] = None,
    job: Annotated[str | None, typer.Option("--job", help="One job, by its id or how that begins.")] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Cancel jobs that wait, and ask those that run to end."""
    from client_manager.menu import sync_actions

    sync_actions.cancel(open_session(yes=yes, dry_run=dry_run, as_json=json), client=name, job=job)
