"""Replication by hand: what the commands ``replicate VERB`` do, shown to a person or to a program."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from pydantic import SecretStr

from client_manager.errors import ExitCode, InvalidInput
from client_manager.menu.session import Session
from client_manager.models.base import parse
from client_manager.models.names import SchemaName
from client_manager.replication.engine import Engine
from client_manager.replication.quarantine import read_quarantine
from client_manager.views.replication import difference_lines, quarantine_lines, run_lines

if TYPE_CHECKING:
    from client_manager.gateways.database import Database

_STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Chosen:
    """The replica that a command is about."""

    schema: str
    database: "Database"
    state_dir: Path


def chosen(session: Session, schema: str, *, database: str | None = None, state: Path | None = None) -> Chosen:
    """Return the replica, its database the configured one unless another is named.

    Raises:
        InvalidInput: the schema's name cannot be a replica's.
        ConfigurationError: the URL cannot be used.
    """
    name = parse(SchemaName, schema, what="schema name")
    folder = state or session.app.settings.state_dir / "replication" / name
    return Chosen(name, _database(session, database), folder.absolute())


def _database(session: Session, url: str | None) -> "Database":
    if url is None:
        return session.app.database
    from client_manager.gateways.database import Database

    return Database(SecretStr(sys.stdin.readline().strip() if url == _STANDARD_INPUT else url))


def run(session: Session, file: Path, replica: Chosen, *, full: bool, confirm: str | None) -> None:
    """Bring a replica up to its file.

    Raises:
        InvalidInput: the confirmation is not the schema's name.
        typer.Exit: values are in quarantine.
    """
    if confirm is not None and confirm != replica.schema:
        raise InvalidInput(
            f"--confirm {confirm} does not name the schema {replica.schema}.",
            why="It lets through what a safety rule stopped at.",
            hint=f"If that is what you want, write --confirm {replica.schema}.",
        )
    with Engine(file, replica.schema, database=replica.database, state_dir=replica.state_dir) as engine:
        result = engine.run(full=full, confirmed=confirm is not None)
    session.show(run_lines(replica.schema, result))
    if session.as_json:
        print(result.model_dump_json(indent=2))  # noqa: T201  the command's result
    if result.quarantined:
        raise typer.Exit(ExitCode.QUARANTINED)


def verify(session: Session, file: Path, replica: Chosen) -> None:
    """Compare a replica with its file.

    Raises:
        typer.Exit: they differed.
    """
    with Engine(file, replica.schema, database=replica.database, state_dir=replica.state_dir) as engine:
        result = engine.verify(heal=not session.dry_run)
    session.show(difference_lines(replica.schema, result))
    if session.as_json:
        print(result.model_dump_json(indent=2))  # noqa: T201  the command's result
    if not result.equal:
        raise typer.Exit(ExitCode.FAILED)


def show_quarantine(session: Session, replica: Chosen, *, everything: bool) -> None:
    """Show what does not fit."""
    entries = read_quarantine(replica.database, replica.schema, everything=everything)
    session.show(quarantine_lines(replica.schema, entries))
    session.result(quarantine=entries)
