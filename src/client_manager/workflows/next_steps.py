"""Which commands to go on with, by what was found."""

from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

from client_manager.errors import ClientManagerError
from client_manager.models.client import ClientSummary
from client_manager.models.overview import NextStep, Overview

T = TypeVar("T")


def next_steps(seen: Overview, cluster: str) -> tuple[NextStep, ...]:
    """Return the commands to go on with, the most urgent first; ``cluster`` is what a new one would be called."""
    return (*_mending(seen), *_clients(seen), *_clusters(seen, cluster), *_ALWAYS)


def _mending(seen: Overview) -> Iterator[NextStep]:
    if any(finding.verdict == "problem" for finding in seen.findings):
        yield NextStep(("doctor",), "every check again, once you have mended something")


def _clients(seen: Overview) -> Iterator[NextStep]:
    clients = _known(seen.clients)
    if clients is None:
        return
    stranger = next((client for client in clients if client.kind == "found"), None)
    if stranger:
        yield NextStep(("client", "adopt", stranger.container, "--dry-run"), "see what taking it over would be")
    if all(client.kind == "found" for client in clients):
        words = ("client", "create", "NAME", "--domain", "DOMAIN")
        yield NextStep(words, "make the first client, like acme for chat.acme.example")


def _clusters(seen: Overview, cluster: str) -> Iterator[NextStep]:
    clients, states, here = _known(seen.clients), _known(seen.clusters), _known(seen.clusters_here)
    ours = [client for client in clients or () if client.kind != "found"]
    if states is None or here is None:
        return
    if ours and not here:
        yield NextStep(("cluster", "deploy", cluster, "--dry-run"), "see what replicating the clients takes")
    if here:
        yield from _replication(ours, {row.client_name for state in states for row in state.deployments})
        yield NextStep(("cluster", "watch", here[0]), "watch leader, nodes and clients live")


def _replication(ours: Sequence[ClientSummary], registered: set[str]) -> Iterator[NextStep]:
    without = next((client for client in ours if client.name not in registered), None)
    if without:
        yield NextStep(("sync", "register", without.name), "replicate it to the database, too")
    elif registered:
        yield NextStep(("sync", "status"), "how far each replica is")


def _known(things: Sequence[T] | ClientManagerError) -> Sequence[T] | None:
    return None if isinstance(things, ClientManagerError) else things


_ALWAYS: Final = (NextStep(("--help",), "every command, with examples; in a terminal 'client-manager' opens the menu"),)
