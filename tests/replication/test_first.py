from tests.replication.conftest import Tenant


def test_a_real_database_comes_over_whole(real_tenant: Tenant) -> None:
    result = real_tenant.synced()
    assert (result.level, result.tables, result.inserted, result.quarantined) == ("full", 48, 1861, 0)
