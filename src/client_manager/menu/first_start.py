"""What whoever starts the program for the first time is told: what was found, and what is assumed."""

from typing import Final

from client_manager.app import App
from client_manager.database.presence import presence
from client_manager.errors import value_or_error
from client_manager.gateways import first_start
from client_manager.gateways.patience import within
from client_manager.menu.session import Session
from client_manager.views.first_start import first_lines

_PATIENCE_S: Final = 3.0


def greet(session: Session, app: App) -> None:
    """Show three lines at the first start, and never again where that can be remembered; starts nothing.

    Args:
        session: where they are shown.
        app: what is looked with; a look that others share waits for a silent Docker once.
    """
    state_dir = app.settings.state_dir
    if not first_start.is_first(state_dir):
        return
    look = app.for_a_look(_PATIENCE_S)
    docker = value_or_error(look.engine.version)
    clients = value_or_error(lambda: look.files.names() if look.files.exists() else None)
    database = value_or_error(lambda: within(_PATIENCE_S, lambda: presence(look), "The database"))
    session.show(first_lines(look.settings, docker, clients, database))
    first_start.remember(state_dir)
