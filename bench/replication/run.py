"""The benchmarks of replication, each as a ratio against a named anchor: the targets of DESIGN section 6.

    python bench/replication/run.py [--only full|pgloader|incremental|idle|writer|memory] [--size 50|521] [--runs N]

Needs Debian's PostgreSQL 15; pgloader is measured where it is installed. How it is measured: bench/README.md.
"""

import argparse
import datetime
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import application
import cluster
import content
import dataset
import engine_process
import idle
import incremental
import loads
import memory
import writing
from cluster import Cluster
from figures import Figure, Report

RESULTS: Final = Path(__file__).parents[1] / "results" / "replication.txt"
_JUDGED: Final = "load"
_PARTS: Final = (_JUDGED, "load and verification")  # which no anchor does
PARTS: Final = ("full", "pgloader", "incremental", "idle", "writer", "memory")
_NO_PGLOADER: Final = "not installed: apt-get install pgloader"
_AGAINST_COPY: Final = 0.50
_AGAINST_PGLOADER: Final = 2.5


def main() -> int:
    """Measure, print the table and keep it; the exit code says whether every target is met."""
    options = _options()
    parts = options.only or list(PARTS)
    folder: Path = options.work
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    report = Report()
    with cluster.running(folder) as server:
        _head(server, options.size, report)
        server.create(loads.DATABASE)
        engine_process.prepare(server.url(loads.DATABASE))
        _measure(server, parts, options, report)
    report.table()
    report.say(f"\n{time.monotonic() - started:.0f} s in all")
    if not options.only:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text("\n".join(report.lines) + "\n")
    return 0 if report.met else 1


def _measure(server: Cluster, parts: Sequence[str], options: argparse.Namespace, report: Report) -> None:
    folder: Path = options.work
    source, small = dataset.database(folder, options.size), dataset.database(folder, "50")
    if {"full", "pgloader", "incremental"} & set(parts):
        setting = loads.Setting(server, folder, source, content.read(source))
        loads.export(setting)
        if {"full", "pgloader"} & set(parts):
            _full(setting, parts, options.runs, report)
        if "incremental" in parts:
            _incremental(setting, small, options.size, report)
    if "idle" in parts:
        idle.run(server, folder, small, report)
    if "writer" in parts:
        writing.run(server, folder, source, report)
    if "memory" in parts:
        memory.run(memory.Place(server, folder, report), list({"50": small, options.size: source}.items()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=PARTS, action="append", help="one part; may be repeated")
    parser.add_argument("--size", choices=dataset.SIZES, default="521", help="megabytes of the source")
    parser.add_argument("--runs", type=int, default=3, help="runs of each full load")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "client-manager-bench")
    return parser.parse_args()


def _head(server: Cluster, size: str, report: Report) -> None:
    """Say what was run, when, and on what."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    report.say(f"$ python {shlex.join(sys.orig_argv[1:])}")
    report.say(
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC; source {dataset.SIZES[size].name}, seed fixed"
    )
    report.say(
        f"{os.cpu_count()} cores, {memory_bytes / 2**30:.0f} GiB RAM, Linux {platform.release()},"
        f" load average before {os.getloadavg()[0]:.2f}"
    )
    report.say(
        f"PostgreSQL {server.version()} ({', '.join(cluster.SETTINGS)}, checksums), Python {platform.python_version()},"
        f" {_pgloader_version()}"
    )


def _pgloader_version() -> str:
    if not shutil.which("pgloader"):
        return f"pgloader {_NO_PGLOADER}"
    said = subprocess.run(["pgloader", "--version"], capture_output=True, text=True, check=False).stdout
    return said.splitlines()[0] if said else "pgloader"


def _full(setting: loads.Setting, parts: Sequence[str], runs: int, report: Report) -> None:
    contenders: dict[str, loads.Contender] = {"engine": loads.engine(None)}
    if "full" in parts:
        contenders["engine, 1 stream"] = loads.engine(1)
        contenders["psql \\copy, default settings (pglz)"] = loads.copy("pglz")
        contenders["psql \\copy, lz4"] = loads.copy("lz4")
    installed = "pgloader" in parts and shutil.which("pgloader") is not None
    if installed:
        contenders[f"pgloader, heap {loads.PGLOADER_HEAP_MIB} MiB"] = loads.pgloader
    report.say(f"\nFull load, {runs} runs of each in turn and back, smallest / median / largest:")
    with application.opened(setting.source):
        outcomes = loads.race(setting, contenders, runs, report)
    if "full" in parts:
        _against_copy(outcomes, report)
    if "pgloader" in parts and not installed:
        report.say(f"  pgloader: {_NO_PGLOADER}")
        report.add(Figure("full load against pgloader", "", _NO_PGLOADER, target="at least 2.5 x faster"))
    elif installed:
        _against_pgloader(outcomes, report)


def _times(outcome: loads.Outcome) -> tuple[float, float]:
    """Return the median of the load alone, and of the load with its verification."""
    alone = [whole - verify for whole, verify in zip(outcome.seconds, outcome.verify_s, strict=True)]
    return statistics.median(alone), statistics.median(outcome.seconds)


def _lost(outcome: loads.Outcome) -> int:
    return outcome.loss.lost if outcome.loss else 0


def _against_copy(outcomes: dict[str, loads.Outcome], report: Report) -> None:
    for compression in ("default settings (pglz)", "lz4"):
        anchor = statistics.median(outcomes[f"psql \\copy, {compression}"].seconds)
        for name in ("engine", "engine, 1 stream"):
            for what, took in zip(_PARTS, _times(outcomes[name]), strict=True):
                judged = name == "engine" and compression != "lz4" and what == _JUDGED
                met = took / anchor <= _AGAINST_COPY and not _lost(outcomes[name]) if judged else None
                report.add(
                    Figure(
                        f"{name}: {what}",
                        f"{took:.2f} s, {_lost(outcomes[name])} lost",
                        f"\\copy, {compression} {anchor:.2f} s",
                        took / anchor,
                        "at most 0.50 x" if judged else "",
                        met,
                    )
                )


def _against_pgloader(outcomes: dict[str, loads.Outcome], report: Report) -> None:
    theirs = outcomes[f"pgloader, heap {loads.PGLOADER_HEAP_MIB} MiB"]
    anchor = statistics.median(theirs.seconds)
    for what, took in zip(_PARTS, _times(outcomes["engine"]), strict=True):
        met = took * _AGAINST_PGLOADER <= anchor and not _lost(outcomes["engine"]) if what == _JUDGED else None
        report.add(
            Figure(
                f"engine: {what}",
                f"{took:.2f} s, {_lost(outcomes['engine'])} lost",
                f"pgloader {anchor:.2f} s, {_lost(theirs)} lost",
                took / anchor,
                "at least 2.5 x faster (0.40 x)" if what == _JUDGED else "",
                met,
            )
        )


def _incremental(setting: loads.Setting, small: Path, size: str, report: Report) -> None:
    large_s = incremental.run(incremental.Place(setting.cluster, setting.folder, setting.source, size), report)
    if size == "50":
        return
    setting = loads.Setting(setting.cluster, setting.folder, small, content.read(small))
    loads.export(setting)
    small_s = incremental.run(incremental.Place(setting.cluster, setting.folder, small, "50"), report)
    report.add(
        Figure(
            "incremental, a database 10 times as large",
            f"{large_s * 1e3:.1f} ms",
            f"{small_s * 1e3:.1f} ms",
            large_s / small_s,
        )
    )


if __name__ == "__main__":
    sys.exit(main())
