"""What is said of a container that keeps ending, by the looks that were taken at it."""

from datetime import UTC, datetime

import pytest

from client_manager.gateways.container_ends import ContainerEnds
from client_manager.models.container import ContainerDetail

Look = tuple[str, int, int]
FIRST: Look = ("running", 0, 2)


def look(state: str, code: int, restarts: int, *, out_of_memory: bool = False) -> ContainerDetail:
    """One as the Engine answers it: the code is that of the last end, and 0 as soon as it runs again."""
    return ContainerDetail(
        id="1", name="openwebui-acme", image="x:1", image_id="2", state=state, health="", exit_code=code,
        restarts=restarts, out_of_memory=out_of_memory, created_at=datetime(2026, 1, 1, tzinfo=UTC), env={}, labels={},
        published={}, addresses={}, mounts={}, config={}, host_config={}, endpoints={},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("looks", "said"),
    [
        ([("running", 0, 2)], ""),
        ([("restarting", 3, 4), ("running", 0, 4)], ""),
        ([("restarting", 3, 5)], "it ended 3 times, last with code 3"),
        ([("restarting", 1, 4), ("restarting", 3, 5), ("running", 0, 6)], "it ended 4 times"),
        ([("restarting", 3, 4), ("running", 0, 5)], "it ended 3 times"),
        ([("exited", 3, 2)], "it ended with code 3"),
        ([("exited", 0, 2)], "it ended with code 0"),
        ([("exited", 137, 3)], "it ended once, last with code 137"),
    ],
)
def test_the_code_that_is_said_is_that_of_the_last_end(looks: list[Look], said: str) -> None:
    ends = ContainerEnds(look(*FIRST))
    assert [ends.reason(look(*each)) for each in looks][-1] == said


def test_the_code_outlives_the_next_start() -> None:
    ends = ContainerEnds(look(*FIRST))
    ends.reason(look("restarting", 3, 5))
    assert ends.reason(look("running", 0, 5)) == "it ended 3 times, last with code 3"


def test_too_little_memory_is_said_although_it_runs_again() -> None:
    ends = ContainerEnds(look(*FIRST))
    ends.reason(look("restarting", 137, 5, out_of_memory=True))
    assert "memory limit" in ends.reason(look("running", 0, 5))
