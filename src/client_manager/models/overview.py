"""All that is looked at for an operator who has named no command."""

from collections.abc import Sequence
from dataclasses import dataclass

from client_manager.errors import ClientManagerError
from client_manager.models.client import ClientSummary
from client_manager.models.cluster import ClusterState
from client_manager.models.database import Presence
from client_manager.models.finding import Finding


@dataclass(frozen=True)
class Overview:
    """What was seen; where something does not answer, its error stands in the place of what it would have said.

    Attributes:
        database: which database there is.
        clusters: as the database has them; empty where no database is in use yet.
        clusters_here: the names of this machine's own, by their files.
        findings: of the doctor, all of them.
    """

    clients: Sequence[ClientSummary] | ClientManagerError
    database: Presence | ClientManagerError
    clusters: Sequence[ClusterState] | ClientManagerError
    clusters_here: Sequence[str] | ClientManagerError
    findings: Sequence[Finding]


@dataclass(frozen=True)
class NextStep:
    """A command to go on with, by its words behind the program's name, and what it is good for."""

    words: tuple[str, ...]
    why: str
