"""What is being done to a client, so that it can be finished or taken back after a cut."""

from datetime import UTC, datetime
from typing import Literal
from uuid import uuid4

from pydantic import Field

from client_manager.docker_names import ContainerName
from client_manager.models.base import Model
from client_manager.models.names import ClientName

Step = Literal[
    "begun", "spec written", "container created", "old stopped", "data prepared", "renamed", "started", "healthy"
]


class Operation(Model):
    """One replacement or removal of a client's container under way; holds no secret.

    Attributes:
        old_container_id: the container to go back to, or None where the client had none.
        start: whether the new container is to run; a client that was stopped stays stopped.
        had_spec: whether ``client.json`` existed; its earlier text is then in ``client.json.previous``.
        had_data: whether the data directory existed; one that the operation made goes when it is undone.
        had_volume: whether the data volume existed.
        had_network: whether the client's network existed.
        delete_data: whether a removal takes the data too.
        data: the folder that goes then; None for data in a Docker volume.
        snapshot: the data folder whose database was copied aside before the new container could touch it.
        step: the last step that was completed; from ``healthy`` on there is no way back, only forward.
    """

    id: str = Field(default_factory=lambda: uuid4().hex[:12])
    kind: Literal["replace", "remove"] = "replace"
    action: str
    client: ClientName
    container: ContainerName
    operator: str
    started_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    old_container_id: str | None
    old_was_running: bool
    start: bool = True
    had_spec: bool
    had_data: bool
    had_volume: bool
    had_network: bool
    delete_data: bool = False
    data: str | None = None
    snapshot: str | None = None
    step: Step = "begun"

    @property
    def committed(self) -> bool:
        """Whether the new container has proven itself."""
        return self.step == "healthy"


class JournalEntry(Model):
    """A line of the journal; ``previous`` is the hash of the line before, so that a cut or an edit shows."""

    at: datetime
    operator: str
    action: str
    subject: str
    arguments: dict[str, str]
    outcome: Literal["started", "completed", "failed", "undone", "cancelled"]
    detail: str
    previous: str


class Progress(Model):
    """One sign of life from a long operation.

    Attributes:
        step: what is being done, in the operator's words.
        detail: the latest news, for example the container's last log line; may hold anything, show it as plain text.
        fraction: 0 to 1 where it is known.
    """

    step: str
    detail: str = ""
    fraction: float | None = None
