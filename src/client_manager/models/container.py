"""Containers, images and volumes as the Engine describes them, reduced to what the console looks at."""

from datetime import datetime
from typing import Final

from pydantic import JsonValue

from client_manager.models.base import Model

LABEL_CLIENT: Final = "client-manager.client"
LABEL_ROLE: Final = "client-manager.role"
LABEL_SPEC: Final = "client-manager.spec"
LABEL_CLUSTER: Final = "client-manager.cluster"
LABEL_OPERATION: Final = "client-manager.operation"

DATA_PATH: Final = "/app/backend/data"
CONTAINER_PREFIX: Final = "openwebui-"
# Beside a container while it is being replaced.
NEXT: Final = ".next"
PREVIOUS: Final = ".previous"


class ContainerSummary(Model):
    """A row of the Engine's list, running or not."""

    id: str
    name: str
    image: str
    image_id: str
    state: str
    health: str
    labels: dict[str, str]
    created_at: datetime
    published: tuple[int, ...]
    mounts: dict[str, str]

    @property
    def running(self) -> bool:
        """Whether its main process is alive."""
        return self.state in {"running", "paused"}


class ContainerDetail(Model):
    """One container, inspected.

    Attributes:
        config, host_config, endpoints: the Engine's own JSON.
        published: port inside -> (address, port) on this machine.
        addresses: network -> the container's address there, while it runs.
        mounts: destination -> (type, source or volume name, read-write).
    """

    id: str
    name: str
    image: str
    image_id: str
    state: str
    health: str
    exit_code: int
    restarts: int
    out_of_memory: bool
    created_at: datetime
    env: dict[str, str]
    labels: dict[str, str]
    published: dict[int, tuple[str, int]]
    addresses: dict[str, str]
    mounts: dict[str, tuple[str, str, bool]]
    config: dict[str, JsonValue]
    host_config: dict[str, JsonValue]
    endpoints: dict[str, JsonValue]

    @property
    def running(self) -> bool:
        """Whether its main process is alive."""
        return self.state in {"running", "paused"}


class ImageDetail(Model):
    """A local image; ``digests`` are what registries call it, none when it never came from one."""

    id: str
    digests: tuple[str, ...]
    env: dict[str, str]
    config: dict[str, JsonValue]

    @property
    def digest(self) -> str:
        """What to record of it: a repository digest, by which it can be pulled again, or else its id."""
        return self.digests[0] if self.digests else self.id

    def is_called(self, digest: str | None) -> bool:
        """Say whether a recorded digest means this image."""
        return digest in {self.id, *self.digests}


def environment(pairs: list[str] | None) -> dict[str, str]:
    """Return ``["NAME=value", …]`` as a mapping; a bare ``NAME`` means unset to Docker and is left out."""
    return dict(pair.split("=", 1) for pair in pairs or () if "=" in pair)
