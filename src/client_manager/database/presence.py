"""Which database there is, found out without starting any."""

from client_manager.app import App
from client_manager.gateways import embedded_postgres
from client_manager.models.database import Presence


def presence(app: App) -> Presence:
    """Return whether a database is configured, or how the embedded one is.

    Raises:
        ClientManagerError: the embedded one's folder may not be looked into.
    """
    if app.settings.database_url is not None:
        return "configured"
    folder = app.settings.postgres_dir
    if not embedded_postgres.exists(folder):
        return "not started yet" if embedded_postgres.is_installed() else "none"
    return "running" if embedded_postgres.is_running(folder) else "not running"
