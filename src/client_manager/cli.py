"""The commands, and the one place where errors become exit codes. Without a command, the menu."""

import sys
from collections.abc import Callable
from typing import Annotated, NoReturn

import typer

from client_manager import __version__
from client_manager.commands import client, cluster, database, node, replicate, sync, terminal
from client_manager.errors import Cancelled, ClientManagerError, ExitCode

app = typer.Typer(
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(client.app, name="client")
app.add_typer(database.app, name="database")
app.add_typer(cluster.app, name="cluster")
app.add_typer(node.app, name="node")
app.add_typer(sync.app, name="sync")
app.add_typer(replicate.app, name="replicate")


def main() -> NoReturn:
    """Run the program and leave with its exit code."""
    code = run(app)
    _flush()
    sys.exit(code)


def run(program: Callable[[], object]) -> int:
    """Run a program and return its exit code, every error shown as what, why and what next."""
    from client_manager.gateways import interrupts

    interrupts.install()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        program()
    except ClientManagerError as error:
        return _show(error)
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else ExitCode.FAILED
    except KeyboardInterrupt:
        return _show(Cancelled())
    except Exception as error:  # noqa: BLE001  the last line of defence: a bug is reported, never swallowed
        return _show_bug(error)
    return ExitCode.OK


@app.callback(invoke_without_command=True)
def menu(
    context: typer.Context,
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    """The operator's console for many Open WebUI tenants. Without a command it opens the menu."""
    if show_version:
        typer.echo(f"client-manager {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        _open_menu()


@app.command()
def doctor(json: client.Json = False) -> None:
    """Check Docker, data root, ports, disk, operations that were cut off, and orphans; say how to mend each."""
    from client_manager.menu import doctor as examination

    if not examination.examine(terminal.open_session(as_json=json)):
        raise typer.Exit(ExitCode.FAILED)


def _open_menu() -> None:
    from client_manager.menu import main as main_menu
    from client_manager.menu.client_list import show_list

    session = terminal.open_session(in_menu=True)
    if terminal.has_terminal():
        main_menu.run(session)
        return
    session.show(main_menu.header(session))
    show_list(session)
    session.say("There is no terminal to show the menu on; 'client-manager --help' lists the commands.")


def _flush() -> None:
    """Write out what is buffered; a reader that has gone (`| head`) is no fault (Python's notes on SIGPIPE)."""
    import os

    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show(error: ClientManagerError) -> int:
    from client_manager.views.console import make_console
    from client_manager.views.errors import error_text

    make_console(stderr=True).print(error_text(error), soft_wrap=True)
    return error.exit_code


def _show_bug(error: Exception) -> int:
    """Keep the traceback in a file of the user's own, and say where; it may hold what must not be shown."""
    import os
    import tempfile
    import traceback

    descriptor, path = tempfile.mkstemp(prefix="client-manager-bug-", suffix=".txt")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        traceback.print_exception(error, file=file)
    why = f"{type(error).__name__}; the details are in {path}."
    _show(ClientManagerError("This is a bug in client-manager.", why=why, hint="Please report it with that file."))
    return ExitCode.BUG
