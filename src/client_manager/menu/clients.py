"""The menus of deployments: create one, choose one, and what can be done with it."""

from collections.abc import Callable
from functools import partial
from typing import Any

from client_manager.deployment.clients import inspect_client, list_clients
from client_manager.deployment.create import require_name_free
from client_manager.docker_names import ImageReference
from client_manager.menu import client_actions
from client_manager.menu.client_settings import change_settings
from client_manager.menu.main import Action, loop
from client_manager.menu.prompts import Back, Option
from client_manager.menu.session import Session
from client_manager.models.base import parse
from client_manager.models.client import ClientSummary
from client_manager.models.client_request import CreateRequest
from client_manager.models.names import ClientName, Domain, MemoryBytes, NewPort
from client_manager.views.text import one_line, size

_LOG_LINES = 50


def create(session: Session) -> None:
    """Ask for what a new client needs, then create it."""
    name = session.ask.text("Client name:", partial(parse, ClientName, what="client name"))
    require_name_free(session.app, name)
    domain = session.ask.text("Domain:", partial(parse, Domain, what="domain"), default=f"{name}.example.com")
    port = session.ask.text("Port (empty: the next free one):", _optional(NewPort, "port"))
    image = session.ask.text("Image:", partial(parse, ImageReference, what="image"), default=session.app.settings.image)
    memory = session.ask.text(
        "Memory limit:", partial(parse, MemoryBytes, what="size"), default=size(session.app.settings.memory_bytes)
    )
    request = CreateRequest(name=name, domain=domain, port=port, image=image, memory_bytes=memory)
    client_actions.create_client(session, request)
    given = ["--port", str(port)] if port else []
    session.equivalent("client", "create", name, "--domain", domain, *given, "--image", image, "--memory", size(memory))


def manage(session: Session) -> None:
    """Let the operator choose a client or a sync node, again and again, and open its menu."""
    while True:
        options = _deployments(session)
        if not options:
            session.say("There are no clients yet; 2 in the main menu creates the first.")
            return
        try:
            open_menu = session.ask.choose("Which deployment?", options)
        except Back:
            return
        open_menu(session)


def _deployments(session: Session) -> list[Option[Action]]:
    menus = [(_label(client), _menu_of(client)) for client in list_clients(session.app)] + _nodes(session)
    return [Option(label, menu, key) for (label, menu), key in zip(menus, _keys(len(menus)), strict=True)]


def _menu_of(client: ClientSummary) -> Action:
    if client.kind == "found":
        return partial(_found_menu, client=client)
    return partial(client_menu, name=client.name)


def _nodes(session: Session) -> list[tuple[str, Action]]:
    """Return the sync nodes of this machine; nothing is imported for them where there are none."""
    names = session.app.cluster_files.names()
    if not names:
        return []
    from client_manager.menu.nodes import deployments

    return deployments(session)


def client_menu(session: Session, name: str) -> None:
    """Show the menu of one client until the operator goes back or the client is gone."""
    gone: list[bool] = []

    def remove(session: Session) -> None:
        _remove(session, name)
        gone.append(True)

    def options() -> list[Option[Action | None]]:
        if gone:
            raise Back
        return [
            Option("Start", partial(_switch, action="start", name=name), "1"),
            Option("Stop", partial(_switch, action="stop", name=name), "2"),
            Option("Restart", partial(_switch, action="restart", name=name), "3"),
            Option("View logs", partial(_log, name=name), "4"),
            Option("Show details", partial(_show, name=name), "5"),
            Option("Change settings", partial(change_settings, name=name), "6"),
            Option("Change domain", partial(_domain, name=name), "7"),
            Option("Sync Management", partial(_sync, name=name), "8"),
            Option("Repair", partial(_repair, name=name), "r"),
            Option("Remove deployment", remove, "x"),
            Option("Back", None, "0"),
        ]

    loop(session, lambda: _title(session, name), options)


def _found_menu(session: Session, client: ClientSummary) -> None:
    adopted: list[bool] = []

    def adopt(session: Session) -> None:
        _adopt(session, client)
        adopted.append(True)

    def options() -> list[Option[Action | None]]:
        if adopted:
            raise Back
        return [
            Option("Adopt: manage it from here", adopt, "a"),
            Option("Start", partial(_switch, action="start", name=client.name), "1"),
            Option("Stop", partial(_switch, action="stop", name=client.name), "2"),
            Option("Restart", partial(_switch, action="restart", name=client.name), "3"),
            Option("View logs", partial(_log, name=client.name), "4"),
            Option("Show details", partial(_show, name=client.name), "5"),
            Option("Back", None, "0"),
        ]

    loop(session, lambda: _found_title(session, client), options)


def _found_title(session: Session, client: ClientSummary) -> str:
    state = inspect_client(session.app, client.name).summary.state
    return f"{client.container} (not managed, {state})"


def _title(session: Session, name: str) -> str:
    summary = inspect_client(session.app, name).summary
    drift = "" if summary.drift == "no" else f", drift: {summary.drift}"
    return f"{name}  {summary.domain}  {summary.state}, health: {summary.health}{drift}"


def _label(client: ClientSummary) -> str:
    return "  ".join(map(one_line, (client.name, client.domain or "-", client.state, client.kind)))


def _keys(count: int) -> list[str]:
    return [str((index + 1) % 10) for index in range(count)] if count <= 10 else [""] * count  # noqa: PLR2004


def _switch(session: Session, action: str, name: str) -> None:
    client_actions.switch(session, action, [name])
    session.equivalent("client", action, name)


def _log(session: Session, name: str) -> None:
    ways = [
        Option(f"The last {_LOG_LINES} lines", value=False, key="1"),
        Option("Follow it (Ctrl-C ends)", value=True, key="2"),
    ]
    follow = session.ask.choose("View logs", ways)
    client_actions.show_log(session, name, lines=_LOG_LINES, follow=follow)
    session.equivalent("client", "logs", name, *(["--follow"] if follow else []))


def _show(session: Session, name: str) -> None:
    client_actions.show_client(session, name)
    session.equivalent("client", "show", name)


def _domain(session: Session, name: str) -> None:
    now = client_actions.existing(session, name).domain
    domain = session.ask.text("New domain:", partial(parse, Domain, what="domain"), default=now)
    client_actions.change_domain(session, name, domain)
    session.equivalent("client", "set-domain", name, domain)


def _sync(session: Session, name: str) -> None:
    from client_manager.menu.sync import sync_menu

    sync_menu(session, name)


def _repair(session: Session, name: str) -> None:
    client_actions.repair_client(session, name)
    session.equivalent("client", "repair", name)


def _adopt(session: Session, client: ClientSummary) -> None:
    name = session.ask.text("Client name:", partial(parse, ClientName, what="client name"), default=client.name)
    domain = session.ask.text("Domain:", partial(parse, Domain, what="domain"), default=client.domain or "")
    client_actions.adopt_client(session, client.container, name, domain)
    session.equivalent("client", "adopt", client.container, name, "--domain", domain)


def _remove(session: Session, name: str) -> None:
    ways = [
        Option("Keep its data (it can be created again on it)", value=False, key="1"),
        Option("Delete its data for good", value=True, key="2"),
    ]
    delete_data = session.ask.choose(f"Remove {name}", ways)
    client_actions.remove_client(session, name, delete_data=delete_data)
    session.equivalent("client", "remove", name, "--confirm", name, *(["--delete-data"] if delete_data else []))


def _optional(kind: Any, what: str) -> Callable[[str], Any]:  # noqa: ANN401  an Annotated type
    def read(text: str) -> Any:  # noqa: ANN401
        return parse(kind, text, what=what) if text else None

    return read
