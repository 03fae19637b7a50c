"""The main menu: what the operator meets first."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from client_manager.errors import Cancelled, ClientManagerError, Ended
from client_manager.gateways.first_start import is_first
from client_manager.menu.prompts import Back, Option
from client_manager.menu.session import Session
from client_manager.models.operation import Operation
from client_manager.settings import ignored_docker_context
from client_manager.views.errors import error_text
from client_manager.views.text import plain

if TYPE_CHECKING:
    from typing import Final

Action = Callable[[Session], None]


def run(session: Session) -> None:
    """Show the menu until the operator leaves it.

    Raises:
        Cancelled: the operator pressed Ctrl-C here, where there is nothing to go back to.
    """
    session.show(header(session))
    _guarded(session, _greet)
    _guarded(session, _offer_cut_off)
    while True:
        try:
            action = session.ask.choose("Main menu", MAIN_MENU, is_first=True)
        except Back:
            continue
        if action is None:
            return
        _guarded(session, action)


def loop(session: Session, title: Callable[[], str], options: Callable[[], Sequence[Option[Action | None]]]) -> None:
    """Show a menu again after each of its actions, until the operator goes back; errors are shown and end nothing."""
    while True:
        try:
            offered = options()
            action = session.ask.choose(title(), offered)
        except Back:
            return
        if action is None:
            return
        _guarded(session, action)


def header(session: Session) -> Text:
    """Return where the operator is; read from files alone, so that it is there at once, and when Docker is down too."""
    settings = session.app.settings
    endpoint = f"context {settings.docker_context}" if settings.docker_context else settings.docker_host
    text = Text.assemble(
        ("client-manager", "heading"), f"  Docker {plain(endpoint)}  data {plain(str(settings.data_root))}"
    )
    context = ignored_docker_context(settings)
    if context:
        text.append(f"\nThe Docker context {plain(context)} is current but not used here.", style="attention")
    return text


def _guarded(session: Session, action: Action) -> None:
    """Run an action; what it raises is shown, and the menu comes again."""
    try:
        action(session)
    except Back:
        return
    except Ended:
        raise
    except KeyboardInterrupt:
        session.show(error_text(Cancelled()))
    except ClientManagerError as error:
        session.show(error_text(error))


def _greet(session: Session) -> None:
    if not is_first(session.app.settings.state_dir):
        return
    from client_manager.menu import first_start

    first_start.greet(session, session.app)


def _list(session: Session) -> None:
    from client_manager.menu.client_list import show_list

    show_list(session)
    session.equivalent("client", "list")


def _create(session: Session) -> None:
    from client_manager.menu import clients

    clients.create(session)


def _manage(session: Session) -> None:
    from client_manager.menu import clients

    clients.manage(session)


def _cluster(session: Session) -> None:
    from client_manager.menu import clusters

    clusters.manage(session)


def _doctor(session: Session) -> None:
    from client_manager.menu import doctor

    doctor.examine(session)
    session.equivalent("doctor")


def _offer_cut_off(session: Session) -> None:
    if not session.app.files.operations():
        return
    from client_manager.deployment.recovery import cut_off

    for operation in cut_off(session.app):
        _guarded(session, _ending(operation))


def _ending(operation: Operation) -> Action:
    def ask(session: Session) -> None:
        from client_manager.menu import client_actions
        from client_manager.views.findings import operation_text

        session.show(operation_text(operation))
        ways: list[Option[str | None]] = [
            Option("Resume: finish it", "resume", "1"),
            Option("Undo: put everything back", "undo", "2"),
            Option("Leave it for now", None, "0"),
        ]
        way = session.ask.choose("What now?", ways)
        if way:
            client_actions.end_cut_off(session, operation.client, way)
            session.equivalent("client", way, operation.client)

    return ask


# The numbers are the predecessor's; what is not there yet has left its number free.
MAIN_MENU: "Final[Sequence[Option[Action | None]]]" = (
    Option("View Deployment Status", _list, "1"),
    Option("Create New Deployment", _create, "2"),
    Option("Manage Existing Deployment", _manage, "3"),
    Option("Manage Sync Cluster", _cluster, "4"),
    Option("Doctor", _doctor, "d"),
    Option("Exit", None, "7"),
)
