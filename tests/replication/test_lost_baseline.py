"""A run without a baseline: what stands in the replica is all that there is to go by, originals in quarantine included."""

import pytest

from tests.replication.conftest import Tenant
from tests.replication.proof.fuzz_writer import Writer


@pytest.mark.services
@pytest.mark.parametrize("seed", range(4))
def test_whatever_happened_since_the_replica_is_the_source_again(tenant: Tenant, seed: int) -> None:
    writer = Writer(str(tenant.path), seed)
    try:
        for generation in range(4):
            for _ in range(60):
                writer.transaction()
            tenant.state = tenant.path.with_name(f"state-{generation}")
            assert tenant.synced().level == ("reconcile" if generation else "full")
            for _ in range(20):
                writer.transaction()
            assert tenant.synced().level in {"pages", "sql"}
    finally:
        writer.connection.close()


def changed(tenant: Tenant, before: str, change: str) -> None:
    """Sync, change, sync without the baseline."""
    tenant.execute(*before.split(";"))
    tenant.synced()
    tenant.execute(change)
    tenant.state = tenant.state.with_name("another")
    assert tenant.synced().level == "reconcile"
    assert tenant.verify(heal=False).equal


@pytest.mark.services
@pytest.mark.parametrize(
    ("kind", "value"),
    [("BOOLEAN", "'true'"), ("BIGINT", "3.5"), ("DOUBLE", "'x'"), ("NUMERIC(9, 2)", "'x'"), ("JSON", "'no json'")],
)
@pytest.mark.parametrize("after", ["NULL", "1"])
def test_an_original_goes_with_its_value(tenant: Tenant, kind: str, value: str, after: str) -> None:
    changed(
        tenant,
        f"CREATE TABLE t (id TEXT PRIMARY KEY, v {kind});INSERT INTO t VALUES ('a', {value}), ('b', {value})",
        f"UPDATE t SET v = {after} WHERE id = 'a'",
    )


@pytest.mark.services
def test_an_original_goes_with_its_row(tenant: Tenant) -> None:
    changed(
        tenant,
        "CREATE TABLE t (id TEXT PRIMARY KEY, v BIGINT);INSERT INTO t VALUES ('a', 3.5), ('b', 3.5)",
        "DELETE FROM t WHERE id = 'a'",
    )


@pytest.mark.services
@pytest.mark.parametrize(
    "change",
    ["INSERT INTO t VALUES (NULL, 'new')", "DELETE FROM t WHERE v = 'x'", "UPDATE t SET v = 'z' WHERE v = 'x'"],
)
def test_rows_whose_key_is_null_are_kept_as_they_are_now(tenant: Tenant, change: str) -> None:
    changed(
        tenant,
        "CREATE TABLE t (id TEXT PRIMARY KEY, v TEXT);INSERT INTO t VALUES (NULL, 'x'), (NULL, 'x'), (NULL, 'y'), ('a', 'b')",
        change,
    )


@pytest.mark.services
@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM t WHERE rowid = 1",
        "INSERT INTO t VALUES ('same', 1)",
        "INSERT INTO t VALUES ('same', 3.5)",
        "UPDATE t SET n = 3.5 WHERE rowid = 1",
        "UPDATE t SET n = NULL WHERE rowid = 5",
        "UPDATE t SET n = 4.5 WHERE rowid = 5",
    ],
)
def test_equal_rows_without_a_key_are_counted(tenant: Tenant, change: str) -> None:
    changed(
        tenant,
        "CREATE TABLE t (v TEXT, n BIGINT);"
        "INSERT INTO t VALUES ('same', 1), ('same', 1), ('same', 1), ('other', 1), ('same', 3.5), ('same', 3.5)",
        change,
    )
