"""What becomes of a run that ends after its client has left the leader's list."""

import time
from typing import Any

import pytest

from client_manager.models.work import HostClient
from client_manager.node.crew import Run
from client_manager.node.fleet import Fleet
from client_manager.node.runner import Ended


def row(*, active: bool) -> HostClient:
    return HostClient(
        client_name="acme",
        interval_s=60,
        config={},
        is_active=active,
        due_in_s=None,
        synced_age_s=None,
        verified_age_s=None,
        generation=0,
        token=None,
        is_settled=False,
        has_schema=False,
    )


@pytest.fixture
def fleet() -> Fleet:
    """It leads, and asks neither the disk nor the database: its client was never replicated."""
    nothing: Any = None
    return Fleet(nothing, nothing, time.monotonic)


@pytest.fixture
def run(fleet: Fleet) -> Run:
    fleet.enter([row(active=True)])
    return fleet.begin("acme")


def test_a_success_is_noted_for_a_client_that_is_paused_meanwhile(fleet: Fleet, run: Run) -> None:
    fleet.update([row(active=False)])
    fleet.ended(run, Ended("success"))
    assert [(each.client_name, each.status, each.next_in_s) for each in fleet.outcomes()] == [("acme", "success", None)]


@pytest.mark.parametrize("outcome", ["failed", "cancelled", "fenced", "skipped"])
def test_nothing_else_is_noted_for_it(fleet: Fleet, run: Run, outcome: str) -> None:
    fleet.update([row(active=False)])
    fleet.ended(run, Ended(outcome))  # type: ignore[arg-type]
    assert fleet.outcomes() == []


def test_nothing_is_noted_for_a_client_that_is_unregistered_or_moved_meanwhile(fleet: Fleet, run: Run) -> None:
    fleet.update([])
    fleet.ended(run, Ended("success"))
    assert fleet.outcomes() == []


def test_nothing_is_noted_for_a_client_that_is_registered_anew_meanwhile(fleet: Fleet, run: Run) -> None:
    fleet.update([])
    fleet.update([row(active=True)])
    fleet.ended(run, Ended("success"))
    assert fleet.outcomes() == []


@pytest.mark.parametrize("then", [[], [row(active=True)]], ids=["unregistered", "registered_anew"])
def test_what_a_paused_client_finished_is_not_said_of_a_later_registration(
    fleet: Fleet, run: Run, then: list[HostClient]
) -> None:
    fleet.update([row(active=False)])
    fleet.ended(run, Ended("success"))
    fleet.update(then)
    fleet.update([row(active=True)])
    assert fleet.outcomes() == []
