"""The commands ``client-manager cluster VERB``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from client_manager.commands import completion
from client_manager.commands.client import DryRun, Json, Yes
from client_manager.commands.terminal import open_session

app = typer.Typer(no_args_is_help=True, help="Sync clusters: two nodes on a machine, one of which leads.")

Name = Annotated[
    str | None,
    typer.Argument(help="The cluster's name; left out, the one of this machine.", autocompletion=completion.clusters),
]


@app.command()
def deploy(
    name: Annotated[
        str,
        typer.Argument(help="The cluster's name, for example the machine's.", autocompletion=completion.clusters),
    ],
    take_over: Annotated[
        bool,
        typer.Option("--take-over", help="The former machine is lost: its clients are this machine's from now on."),
    ] = False,
    confirm: Annotated[str | None, typer.Option(help="The cluster's name again: confirms --take-over.")] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Deploy both sync nodes here and return when one of them leads; again, it changes only what differs."""
    from client_manager.menu import cluster_actions
    from client_manager.models.base import parse
    from client_manager.models.cluster_plan import ClusterRequest

    request = parse(ClusterRequest, {"name": name, "take_over": take_over}, what="cluster")
    cluster_actions.deploy_cluster(open_session(yes=yes, dry_run=dry_run, as_json=json), request, confirm=confirm)


@app.command("list")
def list_(json: Json = False) -> None:
    """Show every cluster that the database knows."""
    from client_manager.menu import cluster_actions

    cluster_actions.list_clusters(open_session(as_json=json))


@app.command()
def show(name: Name = None, json: Json = False) -> None:
    """Show a cluster as it is now: leader, machines, nodes, clients, jobs."""
    from client_manager.menu import cluster_actions

    cluster_actions.show_cluster(open_session(as_json=json), name)


@app.command()
def health(name: Name = None, json: Json = False) -> None:
    """Judge a cluster, and say how to mend what is wrong; exit 1 where something is critical."""
    from client_manager.errors import ExitCode
    from client_manager.menu import cluster_actions

    if not cluster_actions.show_health(open_session(as_json=json), name):
        raise typer.Exit(ExitCode.FAILED)


@app.command()
def check(name: Name = None, json: Json = False) -> None:
    """One line for a monitoring system: exit 0 ok, 1 warning, 2 critical, 3 unknown."""
    from client_manager.menu import cluster_check

    raise typer.Exit(cluster_check.check(open_session(as_json=json), name))


@app.command()
def watch(
    name: Name = None,
    interval: Annotated[float, typer.Option(min=0.2, max=3600, help="Seconds from one look to the next.")] = 1.0,
    json: Json = False,
) -> None:
    """Watch a cluster live, until q or Ctrl-C; with --json an object a line."""
    from client_manager.menu import cluster_actions

    cluster_actions.watch_cluster(open_session(as_json=json), name, interval_s=interval)


@app.command("switch-over")
def switch_over(
    name: Name = None,
    to: Annotated[
        Literal["sync-node-a", "sync-node-b"] | None, typer.Option("--to", help="The node; left out, the other one.")
    ] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Let the other node lead: jobs under way end first, and there is a leader all the while but for a moment."""
    from client_manager.menu import cluster_actions

    cluster_actions.switch_over(open_session(yes=yes, dry_run=dry_run, as_json=json), name, to=to)


@app.command()
def update(name: Name = None, yes: Yes = False, dry_run: DryRun = False, json: Json = False) -> None:
    """Make both nodes anew from today's image: the standby first, then a switch-over, then the other."""
    from client_manager.menu import cluster_actions

    cluster_actions.update_cluster(open_session(yes=yes, dry_run=dry_run, as_json=json), name)


@app.command()
def deregister(
    name: Annotated[str, typer.Argument(help="The cluster's name.", autocompletion=completion.clusters)],
    check: Annotated[bool, typer.Option("--check", help="Only say whether it may go: exit 0, or 4.")] = False,
    confirm: Annotated[str | None, typer.Option(help="The cluster's name again, instead of typing it.")] = None,
    confirm_leader: Annotated[str | None, typer.Option(help="The name of the node that leads it now.")] = None,
    lost_host: Annotated[
        bool, typer.Option("--lost-host", help="Its machine is gone for good, and silent for five minutes.")
    ] = False,
    disable: Annotated[
        list[str] | None,
        typer.Option(help="A client in the way: disable its sync; may be repeated.", autocompletion=completion.clients),
    ] = None,
    migrate: Annotated[
        list[str] | None, typer.Option(help="CLIENT=CLUSTER: move its record there; may be repeated.")
    ] = None,
    decommission: Annotated[
        list[str] | None, typer.Option(help="CLIENT=FOLDER: stop it, back it up there, remove it; may be repeated.")
    ] = None,
    bundle_dir: Annotated[Path | None, typer.Option(help="Where its bundle goes; left out, below data_root.")] = None,
    drop_replicas: Annotated[
        bool, typer.Option("--drop-replicas", help="Drop its clients' replicas too; no bundle has those.")
    ] = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Take a cluster down without losing anything: blocked while a client is replicated; a bundle brings it back."""
    from client_manager.errors import ExitCode
    from client_manager.menu import deregistration

    session = open_session(dry_run=dry_run, as_json=json)
    if check:
        raise typer.Exit(ExitCode.OK if deregistration.check(session, name, lost_host=lost_host) else ExitCode.BLOCKED)
    asked = deregistration.Asked(
        confirm=confirm,
        confirm_leader=confirm_leader,
        lost_host=lost_host,
        repairs=deregistration.repairs(disable, migrate, decommission),
        folder=bundle_dir.absolute() if bundle_dir else None,
        drop_replicas=drop_replicas,
    )
    deregistration.deregister(session, name, asked)


@app.command()
def restore(
    bundle: Annotated[Path, typer.Argument(help="The file that its deregistration wrote.")],
    skip_clashes: Annotated[
        bool, typer.Option("--skip-clashes", help="Bring back what does not clash with what is there now.")
    ] = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Bring a deregistered cluster back from its bundle, or say what clashes with what is there now."""
    from client_manager.menu import deregistration

    session = open_session(yes=yes, dry_run=dry_run, as_json=json)
    deregistration.restore(session, bundle.absolute(), skip_clashes=skip_clashes)
