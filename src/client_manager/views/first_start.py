"""What is said at the first start: one line for each thing that was found, or assumed because nobody has set it."""

from collections.abc import Sequence
from typing import Final

from rich.text import Text

from client_manager.errors import ClientManagerError
from client_manager.models.database import Presence
from client_manager.settings import LOCAL_DOCKER, Settings
from client_manager.views.text import one_line

_DATABASES: Final[dict[Presence, str]] = {
    "configured": "the one that is set",
    "running": "the embedded PostgreSQL, which runs",
    "not running": "the embedded PostgreSQL, which does not run now",
    "not started yet": "comes embedded: PostgreSQL starts with the first cluster",
    "none": "none, and none comes along: a cluster needs 'database use URL'",
}


def first_lines(
    settings: Settings,
    docker: str | ClientManagerError,
    clients: Sequence[str] | ClientManagerError | None,
    database: Presence | ClientManagerError,
) -> Text:
    """Return the three lines.

    Args:
        settings: say what was set, and what is assumed.
        docker: the Engine's version, or why it does not say it.
        clients: those in the data root, None where there is no such folder yet, or why it cannot be looked into.
        database: which there is, or why that cannot be seen.
    """
    return Text("\n").join(
        [
            _line("Docker", _docker(settings, docker), _assumed(settings, "docker_host")),
            _line("Data root", _data_root(settings, clients), _assumed(settings, "data_root")),
            _line("Database", _database(database), _assumed(settings, "database_url")),
        ]
    )


def _line(title: str, found: Text, assumed: str) -> Text:
    return Text.assemble((f"{title:<9}", "heading"), "  ", found, (assumed, "quiet"))


def _assumed(settings: Settings, name: str) -> str:
    says_where = settings.docker_context or settings.docker_host != LOCAL_DOCKER
    if name in settings.model_fields_set or (name == "docker_host" and says_where):
        return ""
    return " (assumed)"


def _docker(settings: Settings, docker: str | ClientManagerError) -> Text:
    if isinstance(docker, ClientManagerError):
        return _fault(docker)
    where = f"context {settings.docker_context}" if settings.docker_context else settings.docker_host
    return Text(one_line(f"Engine {docker} at {where}"))


def _data_root(settings: Settings, clients: Sequence[str] | ClientManagerError | None) -> Text:
    if isinstance(clients, ClientManagerError):
        return _fault(clients)
    said = "not there yet, the first client makes it" if clients is None else f"clients: {len(clients)}"
    return Text(one_line(f"{settings.data_root}: {said}"))


def _database(database: Presence | ClientManagerError) -> Text:
    return _fault(database) if isinstance(database, ClientManagerError) else Text(_DATABASES[database])


def _fault(error: ClientManagerError) -> Text:
    return Text(one_line(f"{error.what} {error.hint}"), style="bad")
