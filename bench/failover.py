"""How long the clients of a leader that dies are not replicated: from the signal to the first row of its successor.

    python bench/failover.py [--trials 100] [--only KILL|TERM|STOP]

Two node processes with the default times, Debian's PostgreSQL 15, one client whose application writes all the time.
A run is queued as the signal is sent; the row is there when a listening client is told of the commit. Needs Debian's
postgresql-15.
"""

import _paths  # noqa: F401  makes the modules of the other benchmarks importable

# isort: split
import argparse
import datetime
import os
import platform
import shlex
import signal
import sqlite3
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import cluster as servers
import psycopg
from figures import Figure, Report

import _nodes

RESULTS: Final = Path(__file__).parent / "results" / "failover.txt"
CLIENT: Final = "busy"
TRIALS: Final = 100
# Signal -> what it stands for, the statistic that is judged, and the most that it may be, in seconds: DESIGN section 6.
TARGETS: Final = {
    "KILL": ("kill -9", "p99", 1.0),
    "TERM": ("clean stop", "p99", 0.2),
    "STOP": ("pause", "max", 9.0),
}
_TELL: Final = """
CREATE FUNCTION tell_of_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('rows', NEW.fence::text);
    RETURN NULL;
END
$$;
CREATE TRIGGER tell_of_rows AFTER UPDATE ON sync_metadata.replication_state
    FOR EACH ROW WHEN (NEW.generation > OLD.generation) EXECUTE FUNCTION tell_of_rows();
ALTER FUNCTION tell_of_rows() SECURITY DEFINER;
"""


def main() -> int:
    """Measure, print the table and keep it; the exit code says whether every target is met."""
    options = _options()
    signals: list[str] = options.only or list(TARGETS)
    report = Report()
    report.say(f"$ python {shlex.join(sys.orig_argv[1:])}")
    report.say(
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC; {os.cpu_count()} cores, Linux {platform.release()},"
        f" load average before {os.getloadavg()[0]:.2f}, Python {platform.python_version()}"
    )
    with _nodes.folder("failover-") as folder, servers.running(Path(folder)) as server:
        report.say(f"PostgreSQL {server.version()} ({', '.join(servers.SETTINGS)}, checksums)")
        with _nodes.running(server, Path(folder)) as cluster, _client(cluster, Path(folder)):
            times = cluster.spec.times
            report.say(
                f"lease {times.ttl_s:g} s, renewed every {times.renew_s:g} s, looked at every {times.poll_s:g} s\n"
            )
            for name in signals:
                _judge(name, [_trial(cluster, name) for _ in range(options.trials)], report)
    report.table()
    if not options.only and options.trials == TRIALS:
        RESULTS.write_text("\n".join(report.lines) + "\n")
    return 0 if report.met else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=list(TARGETS), action="append", help="one signal; may be repeated")
    parser.add_argument("--trials", type=int, default=TRIALS, help="of each signal")
    return parser.parse_args()


@contextmanager
def _client(cluster: _nodes.Cluster, folder: Path) -> Iterator[None]:
    """A client whose application commits a row every 20 ms, and whose first load is over."""
    path = folder / CLIENT / "data" / "webui.db"
    path.parent.mkdir(parents=True)
    ended = threading.Event()
    writer = threading.Thread(target=_write, args=(path, ended))
    writer.start()
    try:
        with cluster.connect() as connection:
            connection.execute(_TELL)
        _nodes.wait_until("the application has begun", path.exists)
        cluster.register({CLIENT: path}, 1)
        with _listening(cluster) as listener:
            cluster.enqueue([CLIENT])
            _first_row(listener, 0, 60)
        yield
    finally:
        ended.set()
        writer.join()


def _write(path: Path, ended: threading.Event) -> None:
    application = sqlite3.connect(path, isolation_level=None, timeout=20)
    application.execute("PRAGMA journal_mode = wal")
    application.execute("CREATE TABLE chat (id INTEGER PRIMARY KEY, title TEXT)")
    while not ended.wait(0.02):
        application.execute("INSERT OR REPLACE INTO chat VALUES (abs(random() % 1000), hex(randomblob(50)))")
    application.close()


@contextmanager
def _listening(cluster: _nodes.Cluster) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with cluster.connect() as connection:
        connection.execute("LISTEN rows")
        yield connection


def _first_row(listener: psycopg.Connection[tuple[object, ...]], term: int, deadline_s: float) -> float:
    """Return when rows of a later term than this one were first told of."""
    end = time.monotonic() + deadline_s
    while (left := end - time.monotonic()) > 0:
        for told in listener.notifies(timeout=left, stop_after=1):
            if int(told.payload) > term:
                return time.time()
    raise TimeoutError(f"no rows of a term after {term} within {deadline_s:g} s")


def _trial(cluster: _nodes.Cluster, name: str) -> float:
    """Send the leader a signal, and return how long it took until rows came again; then make all well."""
    leader = cluster.leader()
    with cluster.connect() as connection:
        (term,) = connection.execute("SELECT term FROM sync_metadata.leader_election").fetchone()
    number = signal.Signals[f"SIG{name}"]
    with _listening(cluster) as listener:
        at = leader.signal(number)
        cluster.enqueue([CLIENT])
        took = _first_row(listener, term, 60) - at
    if number == signal.SIGSTOP:
        leader.signal(signal.SIGCONT)
    else:
        leader.process.wait(30)
        leader.start()
    return took


def _judge(name: str, times: Sequence[float], report: Report) -> None:
    what, statistic, target = TARGETS[name]
    figures = {"p50": statistics.median(times), "p99": _p99(times), "max": max(times)}
    report.say(
        f"{what} ({name}), {len(times)} trials: " + ", ".join(f"{key} {value:.3f} s" for key, value in figures.items())
    )
    for key, value in figures.items():
        judged = key == statistic
        report.add(
            Figure(
                f"{what}: {key}",
                f"{value:.3f} s",
                f"{target:g} s",
                value / target,
                f"{statistic} at most {target:g} s" if judged else "",
                value <= target if judged else None,
            )
        )


def _p99(times: Sequence[float]) -> float:
    """Return the time that 99 of 100 stay below (nearest rank)."""
    return sorted(times)[max(0, -(-99 * len(times) // 100) - 1)]


if __name__ == "__main__":
    sys.exit(main())
