"""The menu that collects a client's changes: one replacement of its container serves them all."""

from collections.abc import Callable
from functools import partial
from typing import Any

from client_manager.docker_names import ImageReference
from client_manager.errors import InvalidInput
from client_manager.menu import client_actions
from client_manager.menu.prompts import Back, Option
from client_manager.menu.session import Session
from client_manager.models.base import parse
from client_manager.models.client import Assignment
from client_manager.models.client_request import ChangeRequest
from client_manager.models.environment import is_secret
from client_manager.models.names import Cpus, MemoryBytes, NewPort, VariableName
from client_manager.views.errors import error_text
from client_manager.views.text import size


def change_settings(session: Session, name: str) -> None:
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
