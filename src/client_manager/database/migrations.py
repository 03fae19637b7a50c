"""Bring the schema ``sync_metadata`` up to this program, one numbered file after the other."""

import hashlib
import re
from typing import TYPE_CHECKING, Any, Final

from client_manager import resources
from client_manager.app import App
from client_manager.errors import Blocked, ConfigurationError
from client_manager.gateways import queries
from client_manager.models.database import DatabaseStatus, Migration

if TYPE_CHECKING:
    from client_manager.gateways.database import Database

_FILE: Final = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_SQL: Final = queries.load("migrations")
_OLDEST_SERVER: Final = 150_000  # views that check as their caller, and policies that hold behind them


def shipped() -> dict[int, tuple[Migration, str]]:
    """Return the migrations that come with the program, with their text, by version."""
    found: dict[int, tuple[Migration, str]] = {}
    for file in (resources.root() / "sql" / "migrations").iterdir():
        match = _FILE.fullmatch(file.name)
        if match:
            text = file.read_text(encoding="utf-8")
            checksum = hashlib.sha256(text.encode()).hexdigest()
            found[int(match[1])] = (Migration(version=int(match[1]), name=match[2], checksum=checksum), text)
    return dict(sorted(found.items()))


def status(app: App) -> DatabaseStatus:
    """Ask the database what it is and what is applied.

    Raises:
        Unavailable: it does not answer.
        ConfigurationError: an applied migration is not the one that comes with this program, or unknown to it.
    """
    with app.database.connect() as connection:
        found = connection.execute(_SQL["select_server"]).fetchone()
        _, version, read_only = found or (0, "unknown", True)
        applied = _applied(connection)
    _refuse_foreign(applied)
    return DatabaseStatus(
        name=app.database.name,
        embedded=app.settings.database_url is None,
        server_version=version,
        read_only=read_only,
        migrations=tuple(applied.get(number, migration) for number, (migration, _) in shipped().items()),
    )


def migrate(database: "Database") -> list[Migration]:
    """Apply what is not applied yet, each in a transaction of its own; return what was.

    Two programs may do it at once: the second waits, and finds nothing left to do.

    Raises:
        ConfigurationError: as ``status``.
        Blocked: the server only lets us read.
        ClientManagerError: the server refused a migration; those before it stay, of it nothing.
    """
    done: list[Migration] = []
    with database.connect() as connection:
        found = connection.execute(_SQL["select_server"]).fetchone()
        if found and found[2]:
            raise Blocked(
                f"{database.name} cannot be migrated.",
                why="The server only lets us read; it may be a standby.",
                hint="Name the primary server: client-manager database use URL.",
            )
        if found and found[0] < _OLDEST_SERVER:
            raise ConfigurationError(
                f"{database.name} cannot be migrated.",
                why=f"It is PostgreSQL {found[1]}; sync_metadata needs 15 or newer.",
                hint="Upgrade the server, or use another: client-manager database use URL.",
            )
        for migration, text in shipped().values():
            if _apply(connection, migration, text):
                done.append(migration)
    return done


def _apply(connection: Any, migration: Migration, text: str) -> bool:  # noqa: ANN401  psycopg's, which rooms do not import
    with connection.transaction():
        connection.execute(_SQL["take_lock"])
        applied = _applied(connection)
        _refuse_foreign(applied)
        if migration.version in applied:
            return False
        connection.execute(text)
        connection.execute(_SQL["insert_applied"], migration.model_dump(exclude={"applied_at"}))
        return True


def _applied(connection: Any) -> dict[int, Migration]:  # noqa: ANN401
    if connection.execute(_SQL["select_table"]).fetchone() != (True,):
        return {}
    rows = connection.execute(_SQL["select_applied"]).fetchall()
    return {row[0]: Migration(version=row[0], name=row[1], checksum=row[2], applied_at=row[3]) for row in rows}


def _refuse_foreign(applied: dict[int, Migration]) -> None:
    known = shipped()
    for version, migration in applied.items():
        if version not in known:
            raise ConfigurationError(
                "The database is ahead of this program.",
                why=f"Migration {version:04} {migration.name} is applied to it and unknown here.",
                hint="Update client-manager on this host.",
            )
        if migration.checksum != known[version][0].checksum:
            raise ConfigurationError(
                f"Migration {version:04} {migration.name} is not the one that was applied.",
                why="Its text has changed since.",
                hint="Install an unchanged client-manager; an applied migration is never edited.",
            )
