"""The clusters that suffer, and what came of it."""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from typing import Any

import docker
import pytest

from tests.chaos import matrix
from tests.chaos.containers import FROM_CHECKOUT
from tests.chaos.lanes import LANES, Lane, chosen
from tests.chaos.nodes import require_programs
from tests.chaos.trial import Row

_ROWS = pytest.StashKey[list[Row]]()


@pytest.fixture(scope="session")
def image(request: pytest.FixtureRequest) -> str:
    """What the nodes run: the image that is deployed, or anything that can run this checkout."""
    return "python:3.11-slim" if os.environ.get(FROM_CHECKOUT) else str(request.getfixturevalue("node_image"))


@pytest.fixture(scope="session")
def outcomes(request: pytest.FixtureRequest, docker_api: Any, image: str) -> Iterator[Mapping[str, Future[Row]]]:
    """The faults of the tests that were asked for, each lane going its way; a fault's own test waits for it."""
    del docker_api
    require_programs()
    names = [fault for item in request.session.items if (fault := _fault_of(item))]
    lanes = [Lane(docker.APIClient(version="auto", timeout=120), image, faults) for faults in chosen(names).values()]
    for lane in lanes:
        lane.start()
    found = {name: row for lane in lanes for name, row in lane.rows.items()}
    yield found
    for lane in lanes:
        lane.join()
    rows = [
        found[name].result()
        for faults in LANES.values()
        for name in faults
        if name in found and not found[name].exception()
    ]
    request.config.stash[_ROWS] = rows
    if len(rows) == sum(map(len, LANES.values())):
        matrix.write(rows)


def _fault_of(item: pytest.Item) -> str | None:
    parameters = getattr(item, "callspec", None)
    return parameters.params.get("fault") if parameters else None


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the matrix."""
    rows = config.stash.get(_ROWS, [])
    if rows:
        terminalreporter.section("faults")
        for line in matrix.table(rows):
            terminalreporter.write_line(line)
