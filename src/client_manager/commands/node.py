"""The commands ``client-manager node VERB``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from client_manager.commands import completion
from client_manager.commands.client import DryRun, Json, Yes
from client_manager.commands.terminal import open_session

app = typer.Typer(no_args_is_help=True, help="The sync nodes of this machine.")

Node = Annotated[Literal["sync-node-a", "sync-node-b"], typer.Argument(help="sync-node-a or sync-node-b.")]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster", help="The cluster, where this machine has more than one.", autocompletion=completion.clusters
    ),
]


@app.command()
def run(
    cluster_folder: Annotated[
        Path,
        # A node may pass through the folder and read its files, but not list it.
        typer.Option("--cluster-folder", readable=False, help="With cluster.json, database.url, token and state/."),
    ],
    node: Annotated[str, typer.Option("--node", help="sync-node-a or sync-node-b.")],
    port_file: Annotated[
        Path | None,
        typer.Option(
            "--port-file",
            envvar="CLIENT_MANAGER_PORT_FILE",
            hidden=True,  # the image's health check reads it: docs/sync-nodes.md
            help="Where the port of its API is written.",
        ),
    ] = None,
) -> None:
    """Be a sync node until SIGTERM; what the containers run. Logs are JSON lines on the standard output."""
    try:
        from client_manager.node.serve import run_node
    except ModuleNotFoundError as error:
        raise _not_installed(error) from error
    run_node(cluster_folder, node, port_file)


def _not_installed(error: ModuleNotFoundError) -> Exception:
    """Return what a missing library means; a missing module of the program's own is a bug."""
    from client_manager.errors import ConfigurationError

    library = (error.name or "").partition(".")[0]
    if library in {"", "client_manager"}:
        return error
    return ConfigurationError(
        "A sync node cannot run here.",
        why=f"The library {library} is missing: the extra 'node' is not installed, or not whole.",
        hint="pip install 'client-manager[node]'",
    )


@app.command("list")
def list_(cluster: Cluster = None, json: Json = False) -> None:
    """Show the sync nodes of this machine, and what each says of itself."""
    from client_manager.menu import node_actions

    node_actions.list_nodes(open_session(as_json=json), cluster)


@app.command()
def status(node: Node, cluster: Cluster = None, json: Json = False) -> None:
    """Show a node's container, its place in the cluster, and who leads."""
    from client_manager.menu import node_actions

    node_actions.show_status(open_session(as_json=json), node, cluster)


@app.command()
def health(node: Node, cluster: Cluster = None, json: Json = False) -> None:
    """Ask a node how it is; exit 1 where it is not healthy or does not answer."""
    from client_manager.errors import ExitCode
    from client_manager.menu import node_actions

    if not node_actions.show_health(open_session(as_json=json), node, cluster):
        raise typer.Exit(ExitCode.FAILED)


@app.command()
def logs(
    node: Node,
    tail: Annotated[int, typer.Option(min=0, help="The last so many lines.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    cluster: Cluster = None,
) -> None:
    """Show a node's log."""
    from client_manager.menu import node_actions

    node_actions.show_log(open_session(), node, lines=tail, follow=follow, cluster=cluster)


@app.command()
def start(node: Node, cluster: Cluster = None, yes: Yes = False, dry_run: DryRun = False, json: Json = False) -> None:
    """Start a node and return when it is healthy."""
    _switch("start", node, cluster, yes=yes, dry_run=dry_run, as_json=json)


@app.command()
def stop(node: Node, cluster: Cluster = None, yes: Yes = False, dry_run: DryRun = False, json: Json = False) -> None:
    """Stop a node; a leader ends its jobs and hands over first."""
    _switch("stop", node, cluster, yes=yes, dry_run=dry_run, as_json=json)


@app.command()
def restart(node: Node, cluster: Cluster = None, yes: Yes = False, dry_run: DryRun = False, json: Json = False) -> None:
    """Restart a node and return when it is healthy."""
    _switch("restart", node, cluster, yes=yes, dry_run=dry_run, as_json=json)


@app.command()
def update(node: Node, cluster: Cluster = None, yes: Yes = False, dry_run: DryRun = False, json: Json = False) -> None:
    """Make a node anew from today's image, and return when it is healthy."""
    from client_manager.menu import node_actions

    node_actions.update_node(open_session(yes=yes, dry_run=dry_run, as_json=json), node, cluster)


def _switch(action: str, node: Node, cluster: str | None, **flags: bool) -> None:
    from client_manager.menu import node_actions

    node_actions.switch(open_session(**flags), action, node, cluster)
