"""How a container differs from what its spec says."""

from collections.abc import Mapping

from client_manager.deployment.container_config import container_config
from client_manager.models.client import Change, ClientSpec, variable_differences
from client_manager.models.container import ContainerDetail, ImageDetail
from client_manager.models.environment import SECRET_KEY


def drift(spec: ClientSpec, container: ContainerDetail, image: ImageDetail | None) -> tuple[Change, ...]:
    """Return how a container differs from its spec, in the spec's words."""
    wanted = container_config(spec, spec.image, "")
    host = wanted["HostConfig"]
    inherited = image.env if image else {}
    as_recorded = image.is_called(spec.image_digest) if image else spec.image_digest == container.image_id
    # A variable that the image sets itself is no difference, unless the spec says otherwise.
    actual = {
        name: value for name, value in container.env.items() if inherited.get(name) != value or name in spec.variables()
    }
    if _key_is_inside(spec, container):
        actual[SECRET_KEY] = spec.variables()[SECRET_KEY]
    same_as_image = {name: value for name, value in spec.variables().items() if inherited.get(name) == value}
    settings: tuple[tuple[str, object, object], ...] = (
        ("image", spec.image_digest, spec.image_digest if as_recorded else container.image_id),
        ("memory_bytes", host["Memory"], container.host_config.get("Memory", 0)),
        ("cpus", host["NanoCpus"] / 1e9, _integer(container.host_config.get("NanoCpus")) / 1e9),
        ("port", _ports(host.get("PortBindings")), _ports(container.host_config.get("PortBindings"))),
        ("restart policy", _policy(host), _policy(container.host_config)),
    )
    return (
        *(Change(field=field, before=str(want), after=str(have)) for field, want, have in settings if want != have),
        *variable_differences(spec.variables(), {**same_as_image, **actual}),
    )


def _key_is_inside(spec: ClientSpec, container: ContainerDetail) -> bool:
    """Say whether an adopted container, never replaced yet, keeps its secret key in a file of its own."""
    adopted = spec.carried is not None and spec.carried.container_id == container.id
    return adopted and not container.env.get(SECRET_KEY)


def _integer(value: object) -> int:
    return value if isinstance(value, int) else 0


def _policy(host: Mapping[str, object]) -> object:
    policy = host.get("RestartPolicy")
    return (policy.get("Name") if isinstance(policy, dict) else None) or "no"


def _ports(bindings: object) -> str:
    if not isinstance(bindings, dict) or not bindings:
        return "(none)"
    return ", ".join(
        f"{host.get('HostIp') or '*'}:{host['HostPort']}->{inside}"
        for inside, hosts in sorted(bindings.items())
        for host in hosts or ()
    )
