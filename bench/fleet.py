"""What a fleet costs one node: 1,000 registered clients at rest and 20 that are being used.

    python bench/fleet.py [--idle 1000] [--busy 20] [--seconds 60]

One node process with the default times, Debian's PostgreSQL 15. Every client's database is open in an application, as
it is in life; the busy ones get a row some three times in their interval. Needs postgresql-15.
"""

import _paths  # noqa: F401  makes the modules of the other benchmarks importable

# isort: split
import argparse
import datetime
import os
import platform
import resource
import shlex
import shutil
import sqlite3
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import cluster as servers
from figures import Figure, Report, mebibytes

import _nodes

RESULTS: Final = Path(__file__).parent / "results" / "fleet.txt"
INTERVAL_S: Final = 10
FEW: Final = 100  # clients that the memory target is for
MEMORY: Final = 150 * 2**20
LATE_S: Final = 1.0
_TICK_S: Final = 0.1  # of CPU, for 1,000 idle clients once: DESIGN section 6
_STATISTICS_S: Final = 1.5  # until a session has reported what it did
_WATCH: Final = """
CREATE TABLE public.advances (client text, at timestamptz DEFAULT clock_timestamp());
CREATE FUNCTION public.note_advance() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO public.advances (client) VALUES (NEW.client_name);
    RETURN NULL;
END
$$;
CREATE TRIGGER note_advance AFTER UPDATE ON sync_metadata.replication_state
    FOR EACH ROW WHEN (NEW.generation > OLD.generation) EXECUTE FUNCTION public.note_advance();
"""


@dataclass(frozen=True)
class Usage:
    """What a node used up over some seconds."""

    seconds: float
    cpu_s: float
    transactions: int
    resident_bytes: int

    @property
    def cpu(self) -> float:
        """Of one core."""
        return self.cpu_s / self.seconds

    @property
    def rate(self) -> float:
        """Transactions a second."""
        return self.transactions / self.seconds


def main() -> int:
    """Measure, print the table and keep it; the exit code says whether every target is met."""
    options = _options()
    whole = options == _options([])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    report = Report()
    report.say(f"$ python {shlex.join(sys.orig_argv[1:])}")
    report.say(
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC; {os.cpu_count()} cores, Linux {platform.release()},"
        f" load average before {os.getloadavg()[0]:.2f}, Python {platform.python_version()}"
    )
    with _nodes.folder("fleet-") as folder, servers.running(Path(folder)) as server:
        report.say(
            f"PostgreSQL {server.version()} ({', '.join(servers.SETTINGS)}, checksums); interval {INTERVAL_S} s\n"
        )
        with _nodes.running(server, Path(folder), _nodes.NODES[:1]) as cluster:
            _measure(cluster, Path(folder), options, report)
    report.table()
    if whole:
        RESULTS.write_text("\n".join(report.lines) + "\n")
    return 0 if report.met else 1


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--idle", type=int, default=1000, help="clients at rest")
    parser.add_argument("--busy", type=int, default=20, help="clients that are used")
    parser.add_argument("--seconds", type=float, default=60, help="of each measurement")
    return parser.parse_args(arguments)


def _measure(cluster: _nodes.Cluster, folder: Path, options: argparse.Namespace, report: Report) -> None:
    with cluster.connect() as connection:
        connection.execute(_WATCH)
    busy, idle = _names("busy", options.busy), _names("idle", options.idle)
    few = idle[: max(0, FEW - len(busy))]
    with _applications(folder, [*busy, *idle]) as databases, _used([databases[name] for name in busy]):
        _register(cluster, databases, [*busy, *few], report)
        before = _over(cluster, options.seconds)
        _say(f"{len(busy)} busy, {len(few)} idle", before, report)
        _register(cluster, databases, idle[len(few) :], report)
        after = _over(cluster, options.seconds)
        _say(f"{len(busy)} busy, {len(idle)} idle", after, report)
        late = _lateness(cluster, options.seconds)
    _figures(before, after, len(few), len(idle), report)
    _intervals(late, report)


def _names(kind: str, many: int) -> list[str]:
    return [f"{kind}-{number:04}" for number in range(many)]


@contextmanager
def _applications(folder: Path, names: Sequence[str]) -> Iterator[dict[str, Path]]:
    """Make the databases, and hold each open as its application would."""
    found: dict[str, Path] = {}
    held: list[sqlite3.Connection] = []
    first = folder / "first.db"
    with sqlite3.connect(first) as maker:
        maker.execute("CREATE TABLE chat (id INTEGER PRIMARY KEY, title TEXT)")
        maker.executemany("INSERT INTO chat (title) VALUES (?)", [("x" * 100,)] * 200)
    maker.close()
    try:
        for name in names:
            found[name] = folder / name / "data" / "webui.db"
            found[name].parent.mkdir(parents=True)
            shutil.copyfile(first, found[name])
            application = sqlite3.connect(found[name], isolation_level=None, check_same_thread=False, timeout=20)
            application.execute("PRAGMA journal_mode = wal")
            application.execute("PRAGMA synchronous = off")
            application.execute("UPDATE chat SET title = title WHERE id = 1")
            held.append(application)
        yield found
    finally:
        for application in held:
            application.close()


@contextmanager
def _used(paths: Sequence[Path]) -> Iterator[None]:
    """Change a row of each three times an interval."""
    ended = threading.Event()
    writer = threading.Thread(target=_write, args=(paths, ended))
    writer.start()
    try:
        yield
    finally:
        ended.set()
        writer.join()


def _write(paths: Sequence[Path], ended: threading.Event) -> None:
    applications = [sqlite3.connect(path, isolation_level=None, timeout=20) for path in paths]
    while not ended.wait(INTERVAL_S / 3):
        for application in applications:
            application.execute("UPDATE chat SET title = hex(randomblob(50)) WHERE id = abs(random() % 200)")
    for application in applications:
        application.close()


def _register(cluster: _nodes.Cluster, databases: dict[str, Path], names: Sequence[str], report: Report) -> None:
    """Register clients, and wait until each has been loaded."""
    began = time.monotonic()
    cluster.register({name: databases[name] for name in names}, INTERVAL_S)
    _nodes.wait_until("every client is loaded", lambda: not _unloaded(cluster), 900, 0.5)
    report.say(f"  {len(names)} clients registered and loaded in {time.monotonic() - began:.0f} s")
    settled = time.monotonic() + 2 * INTERVAL_S
    _nodes.wait_until("two intervals are over", lambda: time.monotonic() > settled, 3 * INTERVAL_S, 0.5)


def _unloaded(cluster: _nodes.Cluster) -> int:
    with cluster.connect() as connection:
        (many,) = connection.execute(
            "SELECT count(*) FROM sync_metadata.client_deployments AS d LEFT JOIN sync_metadata.replication_state AS s"
            " USING (client_name) WHERE coalesce(s.generation, 0) = 0"
        ).fetchone()
    return int(many)


def _over(cluster: _nodes.Cluster, seconds: float) -> Usage:
    """Return what the node uses in so many seconds."""
    (node,) = cluster.nodes.values()
    transactions, cpu_s, began = _transactions(cluster), _cpu_s(node.process.pid), time.monotonic()
    time.sleep(seconds)
    took, used_s = time.monotonic() - began, _cpu_s(node.process.pid) - cpu_s
    return Usage(took, used_s, _transactions(cluster) - transactions, _resident_bytes(node.process.pid))


def _transactions(cluster: _nodes.Cluster) -> int:
    time.sleep(_STATISTICS_S)
    with cluster.server.connect("postgres") as connection:
        row = connection.execute(
            "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = %s", (_nodes.DATABASE,)
        ).fetchone()
    return int(str(row[0])) if row else 0


def _cpu_s(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_bytes(process: int) -> int:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _lateness(cluster: _nodes.Cluster, seconds: float) -> list[float]:
    """Return by how much each run of a busy client came later than an interval after the one before, in seconds."""
    with cluster.connect() as connection:
        rows = connection.execute(
            "SELECT client, extract(epoch FROM at)::float8 FROM public.advances"
            " WHERE client LIKE 'busy-%%' AND at > clock_timestamp() - make_interval(secs => %s) ORDER BY client, at",
            (seconds,),
        ).fetchall()
    return [at - before - INTERVAL_S for (client, before), (same, at) in pairwise(rows) if client == same]


def _say(what: str, usage: Usage, report: Report) -> None:
    report.say(
        f"  {what}, {usage.seconds:.0f} s: CPU {usage.cpu:.1%} of a core, {usage.rate:.1f} transactions a second,"
        f" {mebibytes(usage.resident_bytes)} resident"
    )


def _figures(before: Usage, after: Usage, few: int, many: int, report: Report) -> None:
    report.add(
        Figure(
            f"memory, {FEW} clients",
            mebibytes(before.resident_bytes),
            mebibytes(MEMORY),
            before.resident_bytes / MEMORY,
            "at most 150 MiB",
            before.resident_bytes <= MEMORY,
        )
    )
    report.add(
        Figure(
            f"memory, {many} idle clients",
            mebibytes(after.resident_bytes),
            f"with {FEW} {mebibytes(before.resident_bytes)}",
            after.resident_bytes / before.resident_bytes,
        )
    )
    allowed = _TICK_S * (many - few) / 1000 / INTERVAL_S
    more = after.cpu - before.cpu
    report.add(
        Figure(
            f"CPU of {many - few} more idle clients",
            f"{more:.2%} of a core",
            f"{allowed:.2%}: 100 ms a tick for 1,000",
            more / allowed,
            "at most 100 ms a tick",
            more <= allowed,
        )
    )
    report.add(
        Figure(
            f"transactions with {many} idle clients",
            f"{after.rate:.1f} /s",
            f"with {few} {before.rate:.1f} /s",
            after.rate / before.rate,
            "at most 1.1 x",
            after.rate <= 1.1 * before.rate,
        )
    )


def _intervals(late: Sequence[float], report: Report) -> None:
    worst = sorted(late)[max(0, -(-99 * len(late) // 100) - 1)]
    report.say(
        f"  {len(late)} runs of busy clients: later than their interval by {statistics.median(late):.3f} s (median),"
        f" {worst:.3f} s (p99), {max(late):.3f} s (most)"
    )
    report.add(
        Figure(
            "lateness of a busy client's run, p99",
            f"{worst:.3f} s",
            f"{LATE_S:g} s",
            worst / LATE_S,
            f"at most {LATE_S:g} s",
            worst <= LATE_S,
        )
    )


if __name__ == "__main__":
    sys.exit(main())
