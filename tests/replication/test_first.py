import subprocess
import sys

from tests.replication.conftest import Tenant


def test_a_real_database_comes_over_whole(real_tenant: Tenant) -> None:
    result = real_tenant.synced()
    assert (result.level, result.tables, result.inserted, result.quarantined) == ("full", 48, 1861, 0)


def test_a_log_without_a_frame_says_nothing_of_the_size(real_tenant: Tenant) -> None:
    """An application that has only read has made an index whose number of pages is 0."""
    real_tenant.execute("SELECT 1")  # switches to WAL mode
    real_tenant.close_app()
    reading = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM user').fetchall();"
        " print(flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", reading, str(real_tenant.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as application:
        assert application.stdout is not None
        application.stdout.readline()
        assert real_tenant.synced().inserted == 1861
        application.communicate("\n")
