"""The Docker Engine: the only module that speaks to it."""

import io
import ipaddress
import tarfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Any, Final

import docker
import requests
from docker.context import ContextAPI
from docker.errors import APIError, DockerException, ImageNotFound
from docker.errors import NotFound as EngineNotFound
from docker.types import IPAMConfig, IPAMPool

from client_manager.errors import ConfigurationError, Conflict, NotFound, Unavailable
from client_manager.gateways.docker_answers import detail, image, pull_progress, summary
from client_manager.gateways.docker_errors import api_error, pull_error, unreachable
from client_manager.gateways.interrupts import hearing
from client_manager.models.container import ContainerDetail, ContainerSummary, ImageDetail

# A stop waits for the application; the Engine answers a little later than the timeout it was given.
_GRACE_S: Final = 60

Line = Callable[[str, float | None], None]


class DockerEngine:
    """One Docker Engine. Every method raises ``Unavailable`` when it does not answer."""

    def __init__(self, endpoint: str, *, context: str | None = None, patience_s: float | None = None) -> None:
        self._endpoint, self._context = endpoint, context
        self._patience_s = patience_s or _GRACE_S

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
        return self._connect()

    def _connect(self) -> Any:  # noqa: ANN401
        with self._errors("The Docker Engine"):
            tls = self._context_settings()[1] if self._context else None
            return docker.APIClient(self.endpoint, timeout=self._patience_s, tls=tls or False, use_ssh_client=False)

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
            raise api_error(subject, error) from error
        except (DockerException, requests.RequestException, OSError) as error:
            raise unreachable(self.endpoint, error) from error

    @contextmanager
    def speaking(self, subject: str) -> Iterator[Any]:
        """Yield docker-py's client, its errors mapped, to a gateway that has more to say to the Engine."""
        with self._errors(subject):
            yield self._api

    def version(self) -> str:
        """Return the Engine's version, and so prove that it answers."""
        with self._errors("The Docker Engine"):
            return str(self._api.version()["Version"])

    def containers(self) -> tuple[ContainerSummary, ...]:
        """Return every container, stopped ones too."""
        with self._errors("The list of containers"):
            return tuple(map(summary, self._api.containers(all=True)))

    def find(self, name_or_id: str) -> ContainerDetail | None:
        """Return a container, or None where there is none of this name or id."""
        with self._errors(f"Container {name_or_id}"):
            try:
                return detail(self._api.inspect_container(name_or_id))
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
            with ThreadPoolExecutor(max_workers=1) as reader:
                chunks = self._api.logs(container, tail=lines, stream=True, follow=True)
                try:
                    pending = b""
                    while chunk := hearing(reader.submit(next, chunks, b"")):
                        *whole, pending = (pending + chunk).split(b"\n")
                        yield from (line.decode(errors="replace") for line in whole)
                    if pending:
                        yield pending.decode(errors="replace")
                finally:
                    chunks.close()
                    # docker-py only cuts the connection; what is read to its end is closed.
                    reader.submit(deque, chunks, 0).result()

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
        return image(found)

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
                        raise pull_error(reference, event["error"])
                    on_progress(*pull_progress(event, layers))
            except APIError as error:
                raise pull_error(reference, str(error.explanation)) from error
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
        with self._errors(f"Volume {name}"), suppress(EngineNotFound):
            self._api.remove_volume(name)

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
        with self._errors(f"Network {name}"), suppress(EngineNotFound):
            self._api.remove_network(name)
