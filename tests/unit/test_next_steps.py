"""Which commands an overview advises, by what was found."""

from collections.abc import Sequence
from typing import Any

import pytest

from client_manager.errors import ClientManagerError, Unavailable
from client_manager.models.client import ClientSummary
from client_manager.models.cluster import ClusterState
from client_manager.models.finding import Finding
from client_manager.models.overview import NextStep, Overview
from client_manager.models.sync import Deployment
from client_manager.workflows.next_steps import next_steps
from tests.parsing import fault
from tests.unit.test_doctor import client

GONE = Unavailable("It is gone.")
ACME = client("acme", 8081)
STRANGER = client("old", 8082, kind="found", drift="not managed")
CREATE, DEPLOY, WATCH = "client create", "cluster deploy", "cluster watch"


def cluster(*clients: str) -> ClusterState:
    rows = [_deployment(name) for name in clients]
    return ClusterState.model_construct(name="host-1", hosts=(), nodes=(), lease=None, deployments=tuple(rows), jobs=())


def _deployment(name: str) -> Any:
    kind: Any = Deployment  # its name is all that is looked at
    return kind.model_construct(client_name=name)


def steps(
    clients: Sequence[ClientSummary] | ClientManagerError,
    clusters: Sequence[ClusterState] | ClientManagerError = (),
    here: Sequence[str] | ClientManagerError = (),
    *findings: Finding,
) -> tuple[NextStep, ...]:
    return next_steps(Overview(clients, "configured", clusters, here, findings), "host-1")


@pytest.mark.parametrize(
    ("seen", "advised"),
    [
        (steps([]), [CREATE]),
        (steps([STRANGER]), ["client adopt", CREATE]),
        (steps([ACME]), [DEPLOY]),
        (steps([ACME, STRANGER], [], []), ["client adopt", DEPLOY]),
        (steps([ACME], [cluster()], ["host-1"]), ["sync register", WATCH]),
        (steps([ACME], [cluster("acme")], ["host-1"]), ["sync status", WATCH]),
        (steps([ACME], [cluster("acme")], []), [DEPLOY]),
        (steps(GONE, [cluster("acme")], ["host-1"]), ["sync status", WATCH]),
        (steps([ACME], GONE, ["host-1"]), []),
        (steps([ACME], (), GONE), []),
        (steps(GONE, GONE, GONE, Finding.of("Docker", GONE)), ["doctor"]),
    ],
)
def test_the_commands_follow_from_what_was_found(seen: tuple[NextStep, ...], advised: list[str]) -> None:
    assert [" ".join(step.words[: 1 if step.words[0] == "doctor" else 2]) for step in seen[:-1]] == advised
    assert seen[-1].words == ("--help",)
    assert [found for step in seen if (found := fault(" ".join(["client-manager", *step.words])))] == []
