"""A cluster survives: content equal, one leader a term, no write of a deposed one, no job left, no lie in /health."""

from collections.abc import Mapping
from concurrent.futures import Future

import pytest

from tests.chaos.lanes import LANES
from tests.chaos.trial import Row

PATIENCE_S = 600


@pytest.mark.services
@pytest.mark.timeout(PATIENCE_S)
@pytest.mark.parametrize("fault", [name for faults in LANES.values() for name in faults])
def test_the_cluster_survives(fault: str, outcomes: Mapping[str, Future[Row]]) -> None:
    row = outcomes[fault].result(PATIENCE_S)
    assert row.fault == fault
