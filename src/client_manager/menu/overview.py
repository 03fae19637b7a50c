"""Where nobody can choose from a menu: how everything is, and the commands to go on with."""

from functools import partial

from client_manager.menu import first_start
from client_manager.menu.client_list import drawn
from client_manager.menu.main import header
from client_manager.menu.session import Session
from client_manager.views.overview import overview_page
from client_manager.workflows.look_around import STATUS_S, look_around
from client_manager.workflows.next_steps import next_steps


def show(session: Session) -> None:
    """Show it; what does not answer is an error in its place, and nothing is started."""
    session.show(header(session))
    look = session.app.for_a_look(STATUS_S)
    first_start.greet(session, look)
    seen = look_around(look)
    steps = next_steps(seen, look.settings.cluster)
    session.show(overview_page(seen, partial(drawn, session), steps))
