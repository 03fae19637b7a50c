"""The application's writer: one small commit every 2 ms; prints how long each took and how many were refused.

python bench/replication/app_writer.py DATABASE SECONDS
"""

import json
import sqlite3
import sys
import time

PAUSE_S = 0.002


def main() -> int:
    """Write for so long."""
    connection = sqlite3.connect(sys.argv[1], timeout=5, isolation_level=None)
    connection.execute("PRAGMA synchronous = normal")
    ids = [row[0] for row in connection.execute("SELECT id FROM user LIMIT 500")]
    took: list[float] = []
    refused = 0
    deadline = time.monotonic() + float(sys.argv[2])
    while time.monotonic() < deadline:
        started = time.perf_counter()
        try:
            connection.execute(
                "UPDATE user SET last_active_at = last_active_at + 1 WHERE id = ?", (ids[len(took) % len(ids)],)
            )
        except sqlite3.OperationalError:
            refused += 1
        took.append(time.perf_counter() - started)
        time.sleep(PAUSE_S)
    connection.close()
    print(json.dumps({"seconds": took, "refused": refused}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
