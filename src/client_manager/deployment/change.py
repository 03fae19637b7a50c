"""Change a client: its settings, its domain; and bring back one that is missing or has drifted."""

from client_manager.app import App
from client_manager.deployment import ports
from client_manager.deployment.clients import get_spec, inspect_client
from client_manager.deployment.create import require_domain_free
from client_manager.deployment.domain import follow_public_url
from client_manager.deployment.health import Report
from client_manager.deployment.images import choose_image
from client_manager.deployment.replace import replace
from client_manager.errors import InvalidInput
from client_manager.models.base import parse
from client_manager.models.client import ClientSpec, differences
from client_manager.models.client_request import ChangeRequest
from client_manager.models.environment import (
    DATABASE_URL,
    KEPT_BY_THE_APPLICATION,
    WEBUI_URL,
    follow_domain,
    variables_for_domain,
)
from client_manager.models.names import Domain, is_local


def plan_settings(app: App, name: str, request: ChangeRequest) -> tuple[ClientSpec, ClientSpec]:
    """Return a client's spec as it is and as it would be; changes nothing.

    Raises:
        InvalidInput: nothing would change, or a variable to unset is not set.
        Conflict: the port is taken.
    """
    spec = get_spec(app, name)
    if request.port is not None and request.port != spec.port:
        ports.check(app, request.port, without=name)
    variables = spec.variables()
    missing = sorted(set(request.unset).difference(variables))
    if missing:
        raise InvalidInput(f"{', '.join(missing)} is not set on {name}.", hint="Only what the spec sets can be unset.")
    for variable in request.unset:
        del variables[variable]
    variables |= {assignment.name: assignment.value for assignment in request.env}
    changed = spec.with_changes(
        port=request.port or spec.port,
        memory_bytes=request.memory_bytes or spec.memory_bytes,
        cpus=request.cpus or spec.cpus,
        image=request.image or spec.image,
        image_digest=None if request.image else spec.image_digest,
    )
    if request.port and is_local(spec.domain):  # there the port is part of the public URL
        variables = follow_domain(variables, spec.domain, spec.domain, ports=(spec.port, request.port))
    changed = changed.with_variables(variables)
    if not differences(spec, changed):
        raise InvalidInput(f"Nothing would change on {name}.")
    return spec, changed


def plan_domain(app: App, name: str, domain: str) -> tuple[ClientSpec, ClientSpec]:
    """Return a client's spec as it is and with another domain, which every variable that carries it follows.

    Raises:
        InvalidInput: it is no domain, or the client has it already.
        Conflict: another client has it.
    """
    spec = get_spec(app, name)
    domain = parse(Domain, domain, what="domain")
    if domain == spec.domain:
        raise InvalidInput(f"{name} has the domain {domain} already.")
    require_domain_free(app, domain, name)
    current, before = spec.variables(), variables_for_domain(spec.domain, spec.port)
    # What somebody set differently (a second origin, say) only follows.
    anew = {
        key: value for key, value in variables_for_domain(domain, spec.port).items() if current.get(key) == before[key]
    }
    variables = {**follow_domain(current, spec.domain, domain, ports=(spec.port, spec.port)), **anew}
    return spec, spec.with_changes(domain=domain).with_variables(variables)


def apply_change(app: App, old: ClientSpec, new: ClientSpec, report: Report) -> ClientSpec:
    """Carry out a planned change and return the spec when the client is healthy.

    The application's own copy of its public URL follows a change of domain.

    Raises:
        Conflict: the client changed since the change was planned, or another operator is at work on it.
        Undone: it failed, and the client runs as before.
    """
    action = "change domain" if old.domain != new.domain else "change settings"
    fields = ", ".join(change.field for change in differences(old, new))
    with app.journal.action(f"client {action}", new.name, {"fields": fields}), ports.reserved(app, new.port, new.name):
        if new.image_digest is None:
            new = new.with_changes(image_digest=choose_image(app, new.image, report).digest)
        return replace(app, new, action=action, report=report, expected=old, prepare_data=follow_public_url(old, new))


def plan_repair(app: App, name: str) -> tuple[ClientSpec, tuple[str, ...]]:
    """Return a client's spec and what is wrong with its container, in words; nothing wrong, nothing to do."""
    detail = inspect_client(app, name)
    spec = get_spec(app, name)
    if detail.summary.drift == "missing":
        return spec, (f"the container {spec.container} is missing",)
    wrong = [f"{change.field} is {change.after}, should be {change.before}" for change in detail.differences]
    if not wrong and detail.summary.drift == "changed":
        wrong = ["the container was made from an earlier spec"]
    return spec, tuple(wrong)


def repair(app: App, spec: ClientSpec, report: Report) -> ClientSpec:
    """Make the container anew, as its spec says, and return when it is healthy.

    Raises:
        Undone: it failed, and the container is as it was.
    """
    with app.journal.action("client repair", spec.name, {}):
        return replace(app, spec, action="repair", report=report, expected=spec)


def notes_on(old: ClientSpec, new: ClientSpec) -> tuple[str, ...]:
    """Return what an operator should know before a change, in words."""
    names = {change.field for change in differences(old, new)}
    kept = sorted(KEPT_BY_THE_APPLICATION & names)
    notes = []
    if kept:
        notes.append(f"Open WebUI reads {', '.join(kept)} at its first start only; later its admin panel decides.")
    if "memory_bytes" in names and new.carried:
        notes.append("Limits of swap and reservation that Docker refuses beside the new memory limit move to it.")
    if DATABASE_URL in names:
        notes.append("Another database is used as it is: no data is moved there.")
    if WEBUI_URL in names and new.database != "sqlite":
        notes.append("Open WebUI keeps its own copy of WEBUI_URL in PostgreSQL: set it in the admin panel too.")
    if old.image != new.image and new.database != "sqlite":
        notes.append(
            "A new version may change the tables in PostgreSQL; the old one may not run on them. Back up first."
        )
    return tuple(notes)
