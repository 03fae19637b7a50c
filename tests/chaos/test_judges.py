"""The judges themselves: what they must find, they find, and what is as it should be they leave alone."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.audit import Audit, LeaseRow, Term, WriteRow
from tests.chaos.health import Truth, untruths
from tests.chaos.nodes import Node, Sample
from tests.chaos.story import Story

A, B = "sync-node-a/1", "sync-node-b/1"


def lease(number: int, leader: str, term: int) -> LeaseRow:
    return LeaseRow(number, float(number), leader, term, number + 8.0, leader)


def write(generation: int, by: str, fence: int, fence_was: int | None = None, *, advanced: bool = True) -> WriteRow:
    was = fence if fence_was is None else fence_was
    return WriteRow(generation, float(generation), None, "acme", generation, advanced, fence, was, by)


def audit(*writes: WriteRow) -> Audit:
    return Audit([lease(1, A, 5), lease(2, A, 5), lease(3, B, 6)], list(writes), [])


SUCCESSION = (write(1, A, 5), write(2, A, 5), write(2, B, 6, 5, advanced=False), write(3, B, 6))


def test_a_regular_succession_has_no_fault() -> None:
    assert audit(*SUCCESSION).faults() == []


@pytest.mark.parametrize(
    ("late", "found"),
    [
        (write(4, A, 6), "sync-node-a/1 wrote generation 4 under the fence 6 of sync-node-b/1"),
        (write(4, "client-manager", 6), "client-manager wrote generation 4"),
        (write(4, A, 5, 6), "the fence went back from 6 to 5"),
    ],
)
def test_a_write_of_a_deposed_leader_is_found(late: WriteRow, found: str) -> None:
    assert any(found in fault for fault in audit(*SUCCESSION, late).faults())


def test_a_write_that_was_first_to_commit_is_no_fault() -> None:
    assert audit(*SUCCESSION[:2], write(3, A, 5), *SUCCESSION[2:]).faults() == []


def test_a_term_with_two_leaders_is_found() -> None:
    found = Audit([lease(1, A, 5), lease(2, B, 5)], [], []).faults()
    assert found == [f"term 5 has two leaders: {A} and {B}"]


def test_a_term_that_goes_back_is_found() -> None:
    assert Audit([lease(1, A, 5), lease(2, B, 4)], [], []).faults() == ["the term went back from 5 to 4"]


def test_terms_end_where_the_next_begins_or_the_lease_runs_out() -> None:
    rows = [lease(1, A, 5), lease(5, A, 5), lease(6, B, 6), lease(30, B, 6)]
    assert Audit(rows, [], []).terms() == [Term(5, A, 1, 6, 13), Term(6, B, 6, 14, 14), Term(6, B, 30, 38, 38)]


def healthy(**changes: Any) -> dict[str, Any]:
    return {"node_id": A, "is_leader": True, "leader_id": A, **changes}


@pytest.fixture
def node(tmp_path: Path) -> Node:
    found = Node(None, "sync-node-a", "c", "n", "", "", 1, tmp_path)
    found.alive.so_at_first = True
    return found


def truth(**changes: Any) -> Truth:
    """A leads from 100 to 200, nobody until 230, then B until A takes its lease at 400."""
    terms = [Term(5, A, 100, 200, 200), Term(6, B, 230, 400, 405), Term(7, A, 400, 500, 500)]
    return dataclasses.replace(Truth(terms, Story(), Story(), 10, 2), **changes)


def lies(node: Node, at: float, status: int, body: Any, so: Truth) -> list[str]:
    return untruths([Sample(node.name, at, at + 0.1, status, body)], node, so)


def gone(at: float) -> Story:
    return Story(_marks=[(at, False)])


@pytest.mark.parametrize(
    ("at", "status", "body"),
    [
        (150, 200, healthy()),
        (150, 200, healthy(node_id=B, is_leader=False)),
        (205, 200, healthy(is_leader=False)),  # not noticed yet
        (205, 503, healthy(is_leader=False, leader_id=None)),
        (225, 503, healthy(is_leader=False, leader_id=None)),
        (250, 200, healthy(is_leader=False, leader_id=B)),
        (405, 503, healthy(is_leader=False)),  # it has the lease, and does not lead yet
        (225, 0, "ConnectionRefusedError"),
        (401, 200, healthy(node_id=B, leader_id=B)),
    ],
)
def test_a_true_answer_is_left_alone(node: Node, at: float, status: int, body: Any) -> None:
    assert lies(node, at, status, body, truth()) == []


@pytest.mark.parametrize(
    ("at", "status", "body", "found"),
    [
        (200.5, 200, healthy(), "it says that it leads"),
        (403, 200, healthy(node_id=B, leader_id=B), "it says that it leads"),
        (250, 200, healthy(leader_id=B), "it says that it leads"),
        (225, 200, healthy(is_leader=False), "it names a leader that did not lead"),
        (150, 200, healthy(is_leader=False, leader_id=B), "it names a leader that did not lead"),
        (150, 503, healthy(), "all was well"),
        (150, 500, healthy(), "an answer that is none"),
    ],
)
def test_a_lie_is_found(node: Node, at: float, status: int, body: Any, found: str) -> None:
    assert any(found in lie for lie in lies(node, at, status, body, truth()))


@pytest.mark.parametrize("severed", ["server", "network"])
def test_health_from_behind_a_cut_is_found(node: Node, severed: str) -> None:
    so = truth(up=gone(130)) if severed == "server" else truth()
    if severed == "network":
        node.linked = gone(130)
    body = healthy(is_leader=False)
    assert lies(node, 135, 200, body, so) == []
    assert lies(node, 135, 503, body, so) == []
    assert "could not have heard of the server" in lies(node, 145, 200, body, so)[0]


def test_a_story_knows_what_was_so() -> None:
    story = Story()
    begun = time.time()
    went = story.tell(so=False)
    came = story.tell(so=True)
    assert story.ever(begun - 1, came + 1, so=False)
    assert story.always(came + 1, came + 2, so=True)
    assert story.always(begun - 2, begun - 1, so=True)
    assert not story.always(went - 1, came + 1, so=True)
