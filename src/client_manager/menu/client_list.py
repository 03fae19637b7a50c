"""The list of clients, in a module of its own: it is looked at most, and must not wait for what changes clients."""

from client_manager.deployment.clients import list_clients
from client_manager.menu.session import Session
from client_manager.views.columns import client_lines


def show_list(session: Session) -> None:
    """Show every client."""
    clients = list_clients(session.app)
    session.result(clients=clients)
    if session.as_json:
        return
    if not session.console.is_terminal:
        # Whole values, one client a line: a pipe has no width.
        session.console.print(client_lines(clients), soft_wrap=True)
        return
    from client_manager.views.clients import client_table

    session.show(client_table(clients, session.console.width))
