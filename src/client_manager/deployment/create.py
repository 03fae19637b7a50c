"""Create a client."""

import secrets

from client_manager.app import App
from client_manager.deployment import ports
from client_manager.deployment.clients import list_clients
from client_manager.deployment.domain import follow_public_url
from client_manager.deployment.ending import require_nothing_cut_off
from client_manager.deployment.health import Report
from client_manager.deployment.replace import replace
from client_manager.errors import Conflict
from client_manager.models.client import ClientSpec, split_secrets
from client_manager.models.client_request import CreateRequest
from client_manager.models.container import CONTAINER_PREFIX
from client_manager.models.environment import SECRET_KEY, defaults, follow_domain, variables_for_domain

# As many random bytes as the signature of a session token (HMAC-SHA256) can make use of.
_KEY_BYTES = 32


def plan_create(app: App, request: CreateRequest) -> ClientSpec:
    """Return the spec of a new client; changes nothing.

    Where an earlier client of this name left its data, its spec is taken up again - its secret key above all - and the
    request is laid over it.

    Raises:
        Conflict: name, container, domain or port is taken, or an operation on a client of this name was cut off.
    """
    app.require_local_engine()
    require_name_free(app, request.name)
    require_domain_free(app, request.domain, request.name)
    if request.port is not None:
        ports.check(app, request.port)
    earlier = app.files.read_removed(request.name)
    port = request.port or ports.choose(app)
    return _again(earlier, request, port) if earlier else _anew(app, request, port)


def _anew(app: App, request: CreateRequest, port: int) -> ClientSpec:
    variables = {**defaults(), SECRET_KEY: secrets.token_urlsafe(_KEY_BYTES), **_asked_for(request, port)}
    return ClientSpec(
        name=request.name,
        container=f"{CONTAINER_PREFIX}{request.name}",
        domain=request.domain,
        image=request.image or app.settings.image,
        port=port,
        memory_bytes=request.memory_bytes or app.settings.memory_bytes,
        cpus=request.cpus,
        **split_secrets(variables),
    )


def _again(earlier: ClientSpec, request: CreateRequest, port: int) -> ClientSpec:
    """Return the earlier spec with the request laid over it; an adopted one keeps its mounts, where its data is."""
    variables = follow_domain(earlier.variables(), earlier.domain, request.domain, ports=(earlier.port, port))
    changed = earlier.with_changes(
        domain=request.domain,
        image=request.image or earlier.image,
        image_digest=None if request.image else earlier.image_digest,
        port=port,
        memory_bytes=request.memory_bytes or earlier.memory_bytes,
        cpus=request.cpus or earlier.cpus,
    )
    return changed.with_variables({**variables, **_asked_for(request, port)})


def _asked_for(request: CreateRequest, port: int) -> dict[str, str]:
    return {
        **variables_for_domain(request.domain, port),
        **{assignment.name: assignment.value for assignment in request.env},
    }


def create(app: App, spec: ClientSpec, report: Report) -> ClientSpec:
    """Create a planned client and return its spec when it is healthy.

    Raises:
        Conflict: its port was taken since it was planned, or another operator is at work on the name.
        Undone: it did not turn healthy; nothing is left of it.
    """
    arguments = {"domain": spec.domain, "port": str(spec.port), "image": spec.image}
    with app.journal.action("client create", spec.name, arguments), ports.reserved(app, spec.port, spec.name):
        earlier = app.files.read_removed(spec.name)
        follow = follow_public_url(earlier, spec) if earlier else None
        return replace(app, spec, action="create", report=report, prepare_data=follow)


def require_name_free(app: App, name: str) -> None:
    """Return if a client of this name can be created.

    Raises:
        Conflict: there is one, or a container in its place, or an operation on it was cut off.
    """
    require_nothing_cut_off(app, name)
    if app.files.read(name) is not None:
        raise Conflict(f"There is a client {name} already.", hint=f"See it: client-manager client show {name}")
    container = f"{CONTAINER_PREFIX}{name}"
    if app.engine.find(container) is not None:
        raise Conflict(
            f"There is a container {container} already.",
            why="It was not made by the console.",
            hint=f"Take it over: client-manager client adopt {container}",
        )


def require_domain_free(app: App, domain: str, client: str) -> None:
    """Return if no other client has the domain; ``localhost`` serves many, by their ports.

    Raises:
        Conflict: one has.
        ConfigurationError: a spec cannot be read, so nobody knows.
    """
    if domain == "localhost":
        return
    app.files.specs()  # one that cannot be read might hold the domain
    holder = next((other for other in list_clients(app) if other.domain == domain and other.name != client), None)
    if holder:
        raise Conflict(f"The domain {domain} belongs to {holder.name}.", hint="One domain leads to one client.")
