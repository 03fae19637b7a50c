"""The list of clients, in a module of its own: it is looked at most, and must not wait for what changes clients."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from client_manager.deployment.clients import list_clients
from client_manager.menu.session import Session
from client_manager.models.client import ClientSummary
from client_manager.views.columns import client_lines

if TYPE_CHECKING:
    from rich.console import RenderableType


def show_list(session: Session) -> None:
    """Show every client."""
    clients = list_clients(session.app)
    session.result(clients=clients)
    if not session.as_json:
        session.console.print(drawn(session, clients), soft_wrap=not session.console.is_terminal)


def drawn(session: Session, clients: Sequence[ClientSummary]) -> "RenderableType":
    """Return the list as it is drawn here: a pipe has no width, and gets whole values, one client a line."""
    if not session.console.is_terminal:
        return client_lines(clients)
    from client_manager.views.clients import client_table

    return client_table(clients, session.console.width)
