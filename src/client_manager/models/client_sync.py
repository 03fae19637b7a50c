"""A client's registration with a cluster, and what pausing one found."""

from pathlib import Path
from typing import Literal
from uuid import UUID

from pydantic import Field

from client_manager.models.base import Model
from client_manager.models.names import ClientName
from client_manager.models.sync import Job


class Registration(Model):
    """What a registration will write.

    Attributes:
        database: the SQLite file, at the same path for the nodes.
        interval_s: from one run to the next.
        kind: ``new``, ``again`` on the same machine, or ``adopted`` from the predecessor or a lost machine.
        was: where it is registered now; empty: nowhere.
    """

    client: ClientName
    container: str
    domain: str
    port: int | None
    cluster: str
    host_id: UUID
    hostname: str
    database: Path
    interval_s: int = Field(ge=1, le=7 * 24 * 3600)
    kind: Literal["new", "again", "adopted"]
    was: str = ""


class Paused(Model):
    """What was under way when a client was paused, and how it ended.

    Attributes:
        left: runs by the records, on a machine that is lost; its cluster's deregistration, or take-over, closes it.
    """

    waited_for: tuple[Job, ...] = ()
    cancelled: tuple[Job, ...] = ()
    left: tuple[Job, ...] = ()
