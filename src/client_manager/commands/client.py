"""The commands ``client-manager client VERB``."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from client_manager.commands import completion
from client_manager.commands.terminal import open_session

app = typer.Typer(no_args_is_help=True, help="Clients: each an Open WebUI of its own.")

Name = Annotated[str, typer.Argument(help="The client's name.", autocompletion=completion.clients)]
NewName = Annotated[str, typer.Argument(help="The client's name.")]
CutOff = Annotated[str, typer.Argument(help="The client's name.", autocompletion=completion.cut_off)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Answer ordinary confirmations with yes.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Env = Annotated[list[str] | None, typer.Option("--env", "-e", help="A variable, NAME=VALUE; may be repeated.")]
Memory = Annotated[str | None, typer.Option(help="Memory limit, like 512m or 2g.")]
Cpus = Annotated[float | None, typer.Option(help="CPU limit, like 1.5.")]
Port = Annotated[int | None, typer.Option(help="Host port on 127.0.0.1; left out, the next free one.")]
Image = Annotated[str | None, typer.Option(help="Image with its tag.")]


@app.command("list")
def list_(json: Json = False) -> None:
    """Show every client, stopped and adopted ones too."""
    from client_manager.menu.client_list import show_list

    show_list(open_session(as_json=json))


@app.command()
def show(
    name: Name,
    json: Json = False,
    reveal: Annotated[bool, typer.Option("--reveal", help="Show secrets in the clear.")] = False,
) -> None:
    """Show all of one client: its spec, its container, and how the two differ."""
    from client_manager.menu import client_actions

    client_actions.show_client(open_session(as_json=json), name, reveal=reveal)


@app.command()
def create(
    name: NewName,
    domain: Annotated[str, typer.Option(help="The domain that leads to it, like chat.example.com.")],
    port: Port = None,
    image: Image = None,
    env: Env = None,
    memory: Memory = None,
    cpus: Cpus = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Create a client and return when it is healthy."""
    from client_manager.menu import client_actions
    from client_manager.models.base import parse
    from client_manager.models.client_request import CreateRequest

    fields = {"name": name, "domain": domain, "port": port, "image": image, "memory_bytes": memory, "cpus": cpus}
    request = parse(CreateRequest, {**fields, "env": _assignments(env)}, what="client")
    client_actions.create_client(open_session(yes=yes, dry_run=dry_run, as_json=json), request)


@app.command("set")
def set_(
    name: Name,
    env: Env = None,
    unset: Annotated[list[str] | None, typer.Option(help="A variable to remove; may be repeated.")] = None,
    memory: Memory = None,
    cpus: Cpus = None,
    image: Image = None,
    port: Port = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Change settings: show the difference, ask once, replace the container, return when it is healthy."""
    from client_manager.menu import client_actions
    from client_manager.models.base import parse
    from client_manager.models.client_request import ChangeRequest

    fields = {"memory_bytes": memory, "cpus": cpus, "image": image, "port": port, "unset": tuple(unset or ())}
    request = parse(ChangeRequest, {**fields, "env": _assignments(env)}, what="change")
    client_actions.change_settings(open_session(yes=yes, dry_run=dry_run, as_json=json), name, request)


@app.command("set-domain")
def set_domain(
    name: Name,
    domain: Annotated[str, typer.Argument(help="The new domain.")],
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Give a client another domain; every variable that carries the old one follows."""
    from client_manager.menu import client_actions

    client_actions.change_domain(open_session(yes=yes, dry_run=dry_run, as_json=json), name, domain)


@app.command()
def repair(name: Name, yes: Yes = False, dry_run: DryRun = False, json: Json = False) -> None:
    """Make a container that is missing or has drifted what its spec says."""
    from client_manager.menu import client_actions

    client_actions.repair_client(open_session(yes=yes, dry_run=dry_run, as_json=json), name)


Names = Annotated[list[str] | None, typer.Argument(help="The clients' names.", autocompletion=completion.clients)]
Everyone = Annotated[bool, typer.Option("--all", help="Every managed client.")]


@app.command()
def start(
    names: Names = None, everyone: Everyone = False, yes: Yes = False, dry_run: DryRun = False, json: Json = False
) -> None:
    """Start clients and return when they are healthy."""
    _switch("start", names, everyone, yes=yes, dry_run=dry_run, as_json=json)


@app.command()
def stop(
    names: Names = None, everyone: Everyone = False, yes: Yes = False, dry_run: DryRun = False, json: Json = False
) -> None:
    """Stop clients; they stay stopped until they are started."""
    _switch("stop", names, everyone, yes=yes, dry_run=dry_run, as_json=json)


@app.command()
def restart(
    names: Names = None, everyone: Everyone = False, yes: Yes = False, dry_run: DryRun = False, json: Json = False
) -> None:
    """Restart clients and return when they are healthy."""
    _switch("restart", names, everyone, yes=yes, dry_run=dry_run, as_json=json)


@app.command()
def logs(
    name: Name,
    tail: Annotated[int, typer.Option(min=1, help="How many of the last lines.")] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
) -> None:
    """Show a client's log, secrets masked."""
    from client_manager.menu import client_actions

    client_actions.show_log(open_session(), name, lines=tail, follow=follow)


@app.command()
def adopt(
    container: Annotated[str, typer.Argument(help="The container, for example openwebui-chat-acme-com.")],
    name: Annotated[str | None, typer.Argument(help="The client's name; left out, the container's.")] = None,
    domain: Annotated[str | None, typer.Option(help="Its domain, where the container does not say it.")] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Take over a container that something else made; it is left running as it is."""
    from client_manager.menu import client_actions

    client_actions.adopt_client(open_session(yes=yes, dry_run=dry_run, as_json=json), container, name, domain)


@app.command()
def remove(
    name: Name,
    confirm: Annotated[str | None, typer.Option(help="The client's name again, instead of typing it.")] = None,
    delete_data: Annotated[bool, typer.Option("--delete-data", help="Delete its data for good.")] = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Remove a client; its data stays unless --delete-data is given."""
    from client_manager.menu import client_actions

    session = open_session(yes=yes, dry_run=dry_run, as_json=json)
    client_actions.remove_client(session, name, delete_data=delete_data, confirm=confirm)


@app.command()
def resume(name: CutOff, yes: Yes = False, dry_run: DryRun = False, json: Json = False) -> None:
    """Finish an operation that was cut off."""
    from client_manager.menu import client_actions

    client_actions.end_cut_off(open_session(yes=yes, dry_run=dry_run, as_json=json), name, "resume")


@app.command()
def undo(name: CutOff, yes: Yes = False, dry_run: DryRun = False, json: Json = False) -> None:
    """Take back an operation that was cut off."""
    from client_manager.menu import client_actions

    client_actions.end_cut_off(open_session(yes=yes, dry_run=dry_run, as_json=json), name, "undo")


def _switch(action: str, names: Sequence[str] | None, everyone: bool, **flags: bool) -> None:
    from client_manager.menu import client_actions

    client_actions.switch(open_session(**flags), action, tuple(names or ()), everyone=everyone)


def _assignments(pairs: Sequence[str] | None) -> tuple[Any, ...]:
    """Return ``NAME=VALUE`` pairs as assignments; what has no ``=`` may be a secret and is not repeated."""
    from client_manager.errors import InvalidInput
    from client_manager.models.base import parse
    from client_manager.models.client import Assignment

    split = [pair.partition("=") for pair in pairs or ()]
    if not all(sign for _, sign, _ in split):
        raise InvalidInput(
            "A variable is written NAME=VALUE.", why="One --env has no '='.", hint="--env WEBUI_NAME=Acme"
        )
    return tuple(parse(Assignment, {"name": name, "value": value}, what=f"variable {name}") for name, _, value in split)
