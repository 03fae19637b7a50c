"""The Docker Engine: the only module that speaks to it."""

import io
import ipaddress
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

import docker
import requests
from docker.context import ContextAPI
from docker.errors import APIError, DockerException, ImageNotFound
from docker.errors import NotFound as EngineNotFound
from docker.types import IPAMConfig, IPAMPool

from client_manager.errors import ClientManagerError, ConfigurationError, Conflict, NotFound, Unavailable
from client_manager.models.container import ContainerDetail, ContainerSummary, ImageDetail, environment

# A stop waits for the application; the Engine answers a little later than the timeout it was given.
_GRACE_S: Final = 60
_NO_TIME: Final = "0001-01-01T00:00:00Z"
_HEALTH: Final = re.compile(r"\((healthy|unhealthy|health: starting)\)")
_PORT_TAKEN: Final = re.compile(r"port is already allocated|address already in use")

Line = Callable[[str, float | None], None]


class DockerEngine:
    """One Docker Engine. Every method raises ``Unavailable`` when it does not answer."""

    def __init__(self, endpoint: str, *, context: str | None = None) -> None:
        self._endpoint = endpoint
        self._context = context

    @cached_property
    def endpoint(self) -> str:
        """The address in use, for the header."""
        return self._context_settings()[0] if self._context else self._endpoint

    @property
    def is_local(self) -> bool:
        """Whether the engine sees this machine's files."""
        return self.endpoint.startswith(("unix://", "http+unix://"))

    @cached_property
    def _api(self) -> Any:  # noqa: ANN401  docker-py carries no types
        with self._errors("The Docker Engine"):
            tls = self._context_settings()[1] if self._context else None
            return docker.APIClient(base_url=self.endpoint, timeout=_GRACE_S, tls=tls or False, use_ssh_client=False)

    def _context_settings(self) -> tuple[str, Any]:
        try:
            context = ContextAPI.get_context(self._context)
        except DockerException as error:
            raise ConfigurationError(f"The Docker context {self._context} cannot be read.", why=str(error)) from error
        if context is None:
            raise ConfigurationError(
                f"There is no Docker context {self._context}.", hint="Correct docker_context in the settings."
            )
        return context.Host, context.TLSConfig

    @contextmanager
    def _errors(self, subject: str) -> Iterator[None]:
        try:
            yield
        except APIError as error:
            raise _api_error(subject, error) from error
        except (DockerException, requests.RequestException, OSError) as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: BaseException) -> Unavailable:
        cause = _os_error(error)
        if isinstance(cause, PermissionError):
            return Unavailable(
                f"Docker does not let you in at {self.endpoint}.",
                why="This user may not use the socket.",
                hint="Run as root, or have an administrator add you to the group docker and log in again.",
            )
        if isinstance(cause, TimeoutError) or isinstance(error, requests.Timeout):
            return Unavailable(
                f"Docker at {self.endpoint} did not answer in time.",
                why="The engine is overloaded or stuck.",
                hint="Look at 'systemctl status docker' and at the disk's load, then try again.",
            )
        return Unavailable(
            f"Docker at {self.endpoint} cannot be reached.",
            why=cause.strerror or type(cause).__name__ if cause else type(error).__name__,
            hint="Start it with 'systemctl start docker', or correct docker_host in the settings.",
        )

    def version(self) -> str:
        """Return the Engine's version, and so prove that it answers."""
        with self._errors("The Docker Engine"):
            return str(self._api.version()["Version"])

    def containers(self) -> tuple[ContainerSummary, ...]:
        """Return every container, stopped ones too."""
        with self._errors("The list of containers"):
            return tuple(map(_summary, self._api.containers(all=True)))

    def find(self, name_or_id: str) -> ContainerDetail | None:
        """Return a container, or None where there is none of this name or id."""
        with self._errors(f"Container {name_or_id}"):
            try:
                return _detail(self._api.inspect_container(name_or_id))
            except EngineNotFound:
                return None

    def get(self, name_or_id: str) -> ContainerDetail:
        """Return a container.

        Raises:
            NotFound: there is none.
        """
        found = self.find(name_or_id)
        if found is None:
            raise NotFound(f"There is no container {name_or_id}.", hint="See 'client-manager client list'.")
        return found

    def with_label(self, label: str, value: str) -> tuple[str, ...]:
        """Return the ids of the containers, in any state, that carry a label."""
        with self._errors("The list of containers"):
            found = self._api.containers(all=True, filters={"label": f"{label}={value}"})
            return tuple(container["Id"] for container in found)

    def create(self, name: str, config: Mapping[str, Any]) -> str:
        """Create a container from the Engine API's own JSON and return its id.

        Raises:
            Conflict: the name is taken.
        """
        with self._errors(f"Container {name}"):
            return str(self._api.create_container_from_config(config, name)["Id"])

    def connect(self, container: str, network: str, endpoint: Mapping[str, Any]) -> None:
        """Attach a container to one more network; ``endpoint`` is the Engine API's own EndpointSettings.

        Raises:
            NotFound: there is no such network.
        """
        with self._errors(f"Network {network}"):
            self._api.connect_container_to_network(
                container,
                network,
                ipv4_address=(endpoint.get("IPAMConfig") or {}).get("IPv4Address"),
                ipv6_address=(endpoint.get("IPAMConfig") or {}).get("IPv6Address"),
                aliases=endpoint.get("Aliases"),
                links=endpoint.get("Links"),
                driver_opt=endpoint.get("DriverOpts"),
            )

    def start(self, container: str) -> None:
        """Start a container; one that runs is left alone.

        Raises:
            Conflict: its port is taken.
        """
        with self._errors(f"Container {container}"):
            self._api.start(container)

    def stop(self, container: str, timeout_s: float) -> None:
        """Stop a container, with SIGKILL after the timeout; one that is stopped is left alone."""
        with self._errors(f"Container {container}"):
            self._api.stop(container, timeout=int(timeout_s))

    def rename(self, container: str, name: str) -> None:
        """Give a container another name.

        Raises:
            Conflict: the name is taken.
        """
        with self._errors(f"Container {name}"):
            self._api.rename(container, name)

    def remove(self, container: str) -> None:
        """Remove a container, running or not, and keep its volumes; one that is gone is no error."""
        with self._errors(f"Container {container}"):
            try:
                self._api.remove_container(container, force=True, v=False)
            except EngineNotFound:
                return

    def log_tail(self, container: str, lines: int) -> list[str]:
        """Return the last lines of a container's log."""
        with self._errors(f"The log of {container}"):
            text: bytes = self._api.logs(container, tail=lines)
            return text.decode(errors="replace").splitlines()

    def follow_log(self, container: str, lines: int) -> Iterator[str]:
        """Yield the last lines of a log and then every new one, until the container stops."""
        with self._errors(f"The log of {container}"):
            self._api.inspect_container(container)
            with closing(self._api.logs(container, tail=lines, stream=True, follow=True)) as chunks:
                pending = b""
                for chunk in chunks:
                    *whole, pending = (pending + chunk).split(b"\n")
                    yield from (line.decode(errors="replace") for line in whole)
                if pending:
                    yield pending.decode(errors="replace")

    def read_file(self, container: str, path: str) -> bytes | None:
        """Return a file out of a container, running or not, or None where it has none."""
        with self._errors(f"{path} in container {container}"):
            try:
                chunks, _ = self._api.get_archive(container, path)
            except EngineNotFound:
                return None
            with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
                member = archive.extractfile(archive.getmembers()[0])
                return member.read() if member else None

    def find_image(self, reference: str) -> ImageDetail | None:
        """Return a local image by tag, digest or id, or None."""
        with self._errors(f"Image {reference}"):
            try:
                found = self._api.inspect_image(reference)
            except ImageNotFound:
                return None
        config = found.get("Config") or {}
        return ImageDetail(
            id=found["Id"],
            digests=tuple(found.get("RepoDigests") or ()),
            env=environment(config.get("Env")),
            config=config,
        )

    def pull(self, reference: str, on_progress: Line) -> None:
        """Pull an image, reporting what happens and the fraction of its bytes that are here.

        Raises:
            NotFound: the registry has no such image.
            Unavailable: the registry does not answer, or refuses, as some do for images that do not exist.
        """
        name, _, tag = reference.partition("@") if "@" in reference else reference.rpartition(":")
        layers: dict[str, tuple[int, int]] = {}
        with self._errors(f"Image {reference}"):
            try:
                for event in self._api.pull(name, tag=tag, stream=True, decode=True):
                    if "error" in event:
                        raise _pull_error(reference, event["error"])
                    on_progress(*_pull_progress(event, layers))
            except APIError as error:
                raise _pull_error(reference, str(error.explanation)) from error
            except DockerException as error:  # the one thing that docker-py does by itself here
                raise Unavailable(
                    f"The login to the registry of {reference} cannot be read.",
                    why=str(error),
                    hint="Correct credsStore and credHelpers in ~/.docker/config.json, or remove them.",
                ) from error

    def volume_device(self, name: str) -> str | None:
        """Return the folder behind a local volume, or None where there is no such volume."""
        with self._errors(f"Volume {name}"):
            try:
                found = self._api.inspect_volume(name)
            except EngineNotFound:
                return None
        return str((found.get("Options") or {}).get("device") or found["Mountpoint"])

    def create_bound_volume(self, name: str, device: str, labels: Mapping[str, str]) -> None:
        """Create a volume that is a folder of this machine, or leave the one that already is.

        Raises:
            Conflict: a volume of this name is something else.
        """
        existing = self.volume_device(name)
        if existing is None:
            with self._errors(f"Volume {name}"):
                options = {"type": "none", "o": "bind", "device": device}
                self._api.create_volume(name, driver="local", driver_opts=options, labels=dict(labels))
        elif existing != device:
            raise Conflict(
                f"The volume {name} exists and is not {device}.",
                why=f"It holds {existing}.",
                hint="Adopt the container that uses it, or remove the volume if nothing needs it.",
            )

    def remove_volume(self, name: str) -> None:
        """Remove a volume; the folder behind a bound one stays. One that is gone is no error."""
        with self._errors(f"Volume {name}"):
            try:
                self._api.remove_volume(name)
            except EngineNotFound:
                return

    def has_network(self, name: str) -> bool:
        """Say whether a network of exactly this name exists."""
        with self._errors("The list of networks"):
            return any(network["Name"] == name for network in self._api.networks(names=[name]))

    def subnets(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        """Return the subnets of all networks."""
        with self._errors("The list of networks"):
            return tuple(
                ipaddress.ip_network(pool["Subnet"], strict=False)
                for network in self._api.networks()
                for pool in (network.get("IPAM") or {}).get("Config") or ()
                if pool.get("Subnet")
            )

    def create_network(self, name: str, subnet: str, labels: Mapping[str, str]) -> bool:
        """Create a bridge network with this subnet; return False where the subnet turns out to be taken."""
        ipam = IPAMConfig(pool_configs=[IPAMPool(subnet=subnet)])
        with self._errors(f"Network {name}"):
            try:
                self._api.create_network(name, driver="bridge", ipam=ipam, labels=dict(labels), check_duplicate=True)
            except APIError as error:
                if "overlaps" in str(error.explanation):
                    return False
                raise
        return True

    def remove_network(self, name: str) -> None:
        """Remove a network; one that is gone is no error."""
        with self._errors(f"Network {name}"):
            try:
                self._api.remove_network(name)
            except EngineNotFound:
                return


def _summary(row: Mapping[str, Any]) -> ContainerSummary:
    health = _HEALTH.search(row.get("Status", ""))
    return ContainerSummary(
        id=row["Id"],
        name=(row.get("Names") or [f"/{row['Id'][:12]}"])[0].removeprefix("/"),
        image=row["Image"],
        image_id=row["ImageID"],
        state=row["State"],
        health=health[1].removeprefix("health: ") if health else "",
        labels=row.get("Labels") or {},
        created_at=datetime.fromtimestamp(row["Created"], UTC),
        published=tuple(sorted({port["PublicPort"] for port in row.get("Ports") or () if port.get("PublicPort")})),
        mounts={
            mount["Destination"]: mount.get("Name") or mount.get("Source", "") for mount in row.get("Mounts") or ()
        },
    )


def _detail(raw: Mapping[str, Any]) -> ContainerDetail:
    state, config, host = raw["State"], raw["Config"], raw["HostConfig"]
    endpoints = (raw.get("NetworkSettings") or {}).get("Networks") or {}
    return ContainerDetail(
        id=raw["Id"],
        name=raw["Name"].removeprefix("/"),
        image=config["Image"],
        image_id=raw["Image"],
        state=state["Status"],
        health=(state.get("Health") or {}).get("Status", ""),
        exit_code=state.get("ExitCode", 0),
        restarts=raw.get("RestartCount", 0),
        out_of_memory=state.get("OOMKilled", False),
        created_at=raw["Created"],
        env=environment(config.get("Env")),
        labels=config.get("Labels") or {},
        published=_published(host.get("PortBindings") or {}),
        addresses={name: end["IPAddress"] for name, end in endpoints.items() if end.get("IPAddress")},
        mounts={
            mount["Destination"]: (mount["Type"], mount.get("Name") or mount.get("Source", ""), mount.get("RW", True))
            for mount in raw.get("Mounts") or ()
        },
        config=config,
        host_config=host,
        endpoints=endpoints,
    )


def _published(bindings: Mapping[str, Any]) -> dict[int, tuple[str, int]]:
    return {
        int(inside.split("/")[0]): (hosts[0].get("HostIp", ""), int(hosts[0]["HostPort"]))
        for inside, hosts in bindings.items()
        if hosts and hosts[0].get("HostPort", "").isdecimal()  # a range is no port until the container runs
    }


def _os_error(error: BaseException) -> OSError | None:
    """Return the system's own error under docker-py's, requests' and urllib3's wrappings."""
    queue: list[object] = [error]
    seen: set[int] = set()
    while queue:
        current = queue.pop()
        if not isinstance(current, BaseException) or id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, TimeoutError):  # one of Python's own making carries no number
            return current
        if isinstance(current, OSError) and not isinstance(current, requests.RequestException) and current.errno:
            return current
        queue += [current.__cause__, current.__context__, getattr(current, "reason", None), *current.args]
    return None


def _api_error(subject: str, error: APIError) -> ClientManagerError:
    why = str(error.explanation or "").strip()
    if _PORT_TAKEN.search(why):
        return Conflict(
            f"{subject} cannot be started: its port is taken.",
            why=why,
            hint="Choose another: 'client set NAME --port N'.",
        )
    if error.status_code == requests.codes.conflict:
        return Conflict(f"{subject} is taken or in use.", why=why)
    if error.status_code == requests.codes.not_found:
        return NotFound(f"{subject} does not exist.", why=why)
    hint = "Free disk space: 'docker system df' shows what uses it." if "no space left" in why else ""
    return ClientManagerError(f"{subject}: Docker refused.", why=why, hint=hint)


def _pull_error(reference: str, message: str) -> ClientManagerError:
    if re.search(r"denied|unauthorized|forbidden", message, re.IGNORECASE):
        return Unavailable(
            f"The registry refused to give {reference}.",
            why=message,
            hint="Check its spelling; if it is private, log in with 'docker login', then try again.",
        )
    if re.search(r"not found|manifest unknown|repository does not exist|no such image", message, re.IGNORECASE):
        return NotFound(
            f"The image {reference} does not exist.",
            why=message,
            hint="Check its spelling and its tag at the registry.",
        )
    if "no space left" in message:
        return ClientManagerError(
            f"The image {reference} does not fit on the disk.",
            why=message,
            hint="Free disk space: 'docker system df' shows what uses it.",
        )
    return Unavailable(
        f"The image {reference} cannot be pulled.",
        why=message,
        hint="Check the network and the registry's name; an image that is already here is used without a pull.",
    )


def _pull_progress(event: Mapping[str, Any], layers: dict[str, tuple[int, int]]) -> tuple[str, float | None]:
    detail = event.get("progressDetail") or {}
    if event.get("status") == "Downloading" and detail.get("total"):
        layers[event["id"]] = (detail.get("current", 0), detail["total"])
    elif event.get("status") in {"Download complete", "Pull complete"} and event.get("id") in layers:
        layers[event["id"]] = (layers[event["id"]][1],) * 2
    done, total = (sum(column) for column in zip(*layers.values(), strict=True)) if layers else (0, 0)
    return f"{event.get('id', '')} {event.get('status', '')}".strip(), done / total if total else None
