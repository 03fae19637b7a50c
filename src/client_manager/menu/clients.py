"""The menus of deployments: create one, choose one, and what can be done with it."""

from collections.abc import Callable
from functools import partial
from typing import Any

from client_manager.deployment.clients import inspect_client, list_clients
from client_manager.deployment.create import require_name_free
from client_manager.errors import InvalidInput
from client_manager.menu import client_actions
from client_manager.menu.main import Action, loop
from client_manager.menu.prompts import Back, Option
from client_manager.menu.session import Session
from client_manager.models.base import parse
from client_manager.models.client import Assignment, ClientSummary
from client_manager.models.client_request import ChangeRequest, CreateRequest
from client_manager.models.environment import is_secret
from client_manager.models.names import (
    ClientName,
    Cpus,
    Domain,
    ImageReference,
    MemoryBytes,
    NewPort,
    VariableName,
)
from client_manager.views.errors import error_text
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
    """Let the operator choose a client, again and again, and open its menu."""
    while True:
        clients = list_clients(session.app)
        if not clients:
            session.say("There are no clients yet; 2 in the main menu creates the first.")
            return
        options = [
            Option(_label(client), client, key) for client, key in zip(clients, _keys(len(clients)), strict=True)
        ]
        try:
            chosen = session.ask.choose("Which deployment?", options)
        except Back:
            return
        _found_menu(session, chosen) if chosen.kind == "found" else client_menu(session, chosen.name)


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
            Option("Change settings", partial(_settings, name=name), "6"),
            Option("Change domain", partial(_domain, name=name), "7"),
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


def _settings(session: Session, name: str) -> None:
    """Collect changes until the operator applies them; one replacement serves them all."""
    request = ChangeRequest()
    while True:
        options: list[Option[Callable[[Session, ChangeRequest], ChangeRequest] | None]] = [
            Option("Set a variable", _ask_variable, "1"),
            Option("Unset a variable", partial(_ask_unset, name=name), "2"),
            Option("Memory limit", partial(_ask_memory, name=name), "3"),
            Option("CPU limit", _ask_cpus, "4"),
            Option("Image (upgrade)", partial(_ask_image, name=name), "5"),
            Option("Port", _ask_port, "6"),
        ]
        if request != ChangeRequest():
            options.append(Option("Review and apply", None, "a"))
        try:
            chosen = session.ask.choose(f"Change settings of {name}{_pending(request)}", options)
        except Back:
            if request == ChangeRequest() or session.ask.yes_no("Drop the changes collected so far?"):
                raise
            continue
        if chosen is None:
            break
        request = _collect(session, request, chosen)
    client_actions.change_settings(session, name, request)
    session.equivalent("client", "set", name, *_as_options(request))


def _collect(
    session: Session, request: ChangeRequest, ask: Callable[[Session, ChangeRequest], ChangeRequest]
) -> ChangeRequest:
    """Return the request with one more answer in it; Esc, or an answer that is refused, leaves it as it was."""
    try:
        return ask(session, request)
    except Back:
        return request
    except InvalidInput as error:
        session.show(error_text(error))
        return request


def _with(request: ChangeRequest, **changes: object) -> ChangeRequest:
    fields = {name: getattr(request, name) for name in ChangeRequest.model_fields}
    return parse_request({**fields, **changes})


def parse_request(fields: dict[str, Any]) -> ChangeRequest:
    """Return a request, every rule checked.

    Raises:
        InvalidInput: the rule that it breaks.
    """
    request: ChangeRequest = parse(ChangeRequest, fields, what="change")
    return request


def _ask_variable(session: Session, request: ChangeRequest) -> ChangeRequest:
    def known(text: str) -> str:
        return str(parse(Assignment, {"name": _variable(text), "value": ""}, what="variable").name)

    name = session.ask.text("Variable:", known)
    value = session.ask.secret(f"{name}:") if is_secret(name, "") else session.ask.text(f"{name}:", str)
    others = tuple(assignment for assignment in request.env if assignment.name != name)
    assignment = parse(Assignment, {"name": name, "value": value}, what=f"variable {name}")
    return _with(request, env=(*others, assignment))


def _variable(text: str) -> str:
    return str(parse(VariableName, text, what="variable name"))


def _ask_unset(session: Session, request: ChangeRequest, name: str) -> ChangeRequest:
    names = sorted(client_actions.existing(session, name).variables())
    chosen = session.ask.choose("Unset which variable?", [Option(each, each) for each in names])
    return _with(request, unset=tuple({*request.unset, chosen}))


def _ask_memory(session: Session, request: ChangeRequest, name: str) -> ChangeRequest:
    now = size(client_actions.existing(session, name).memory_bytes)
    memory = session.ask.text("Memory limit:", partial(parse, MemoryBytes, what="size"), default=now)
    return _with(request, memory_bytes=memory)


def _ask_cpus(session: Session, request: ChangeRequest) -> ChangeRequest:
    return _with(request, cpus=session.ask.text("CPUs, for example 1.5:", partial(parse, Cpus, what="number of CPUs")))


def _ask_image(session: Session, request: ChangeRequest, name: str) -> ChangeRequest:
    now = client_actions.existing(session, name).image
    return _with(request, image=session.ask.text("Image:", partial(parse, ImageReference, what="image"), default=now))


def _ask_port(session: Session, request: ChangeRequest) -> ChangeRequest:
    return _with(request, port=session.ask.text("Port:", partial(parse, NewPort, what="port")))


def _optional(kind: Any, what: str) -> Callable[[str], Any]:  # noqa: ANN401  an Annotated type
    def read(text: str) -> Any:  # noqa: ANN401
        return parse(kind, text, what=what) if text else None

    return read


def _pending(request: ChangeRequest) -> str:
    words = _as_options(request)
    return f": {' '.join(words)}" if words else ""


def _as_options(request: ChangeRequest) -> list[str]:
    """Return the request as the options of ``client set``; a secret's value is left for the operator to fill in."""
    words: list[str] = []
    for assignment in request.env:
        value = "..." if is_secret(assignment.name, assignment.value) else assignment.value
        words += ["--env", f"{assignment.name}={value}"]
    for name in request.unset:
        words += ["--unset", name]
    single = {
        "--memory": size(request.memory_bytes) if request.memory_bytes else None,
        "--cpus": request.cpus,
        "--image": request.image,
        "--port": request.port,
    }
    return [*words, *(word for option, given in single.items() if given for word in (option, str(given)))]
