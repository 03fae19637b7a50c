"""Random writes, page sizes and upheavals against the engine; CLIENT_MANAGER_FUZZ_ROUNDS asks for more."""

import os

import pytest

from client_manager.replication.engine import Options
from tests.replication.conftest import Tenant
from tests.replication.oracle import assert_equal
from tests.replication.writer import Writer, create

ROUNDS = int(os.environ.get("CLIENT_MANAGER_FUZZ_ROUNDS", "40"))


@pytest.mark.parametrize("seed", range(8))
def test_every_round_of_random_writes_comes_over(tenant: Tenant, seed: int) -> None:
    create(tenant.path, seed)
    tenant.options = Options(audit_every=7)
    writer = Writer(tenant.path, seed)
    levels = set()
    with tenant.engine() as engine:
        for number in range(ROUNDS):
            for _ in range(writer.draw.choice((0, 1, 1, 3, 20))):
                writer.transaction()
            result = engine.run(confirmed=True)
            levels.add(result.level)
            assert result.missed == 0, f"seed {seed} round {number}"
            if number % 4 == 0 or number == ROUNDS - 1:
                assert_equal(tenant.path, tenant.url, tenant.schema)
        assert engine.verify(heal=False).equal
    writer.app.close()
    assert {"full", "pages"} <= levels
