"""The commands, and the one place where errors become exit codes. Without a command, the menu."""

import gc
import sys
from collections.abc import Callable
from typing import Annotated, NoReturn

import typer

from client_manager import __version__
from client_manager.commands import client, cluster, database, demo, examples, node, replicate, sync, terminal
from client_manager.errors import Cancelled, ClientManagerError, ExitCode

app = typer.Typer(
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
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
    gc.freeze()  # the interpreter's last collection would look through everything that was imported, to free nothing
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
        return _show(Cancelled()) if _is_back(error) else _show_bug(error)
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


examples.give(app)


def _open_menu() -> None:
    session = terminal.open_session(in_menu=True)
    if terminal.has_terminal():
        from client_manager.menu import main as main_menu

        main_menu.run(session)
        return
    from client_manager.menu import overview

    overview.show(session)


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


def _is_back(error: Exception) -> bool:
    """Say whether Esc was pressed at a question: out of a command, one step back is the shell."""
    from client_manager.menu.prompts import Back

    return isinstance(error, Back)


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
