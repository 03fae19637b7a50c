r"""The full load: the engine, ``psql \copy`` of ready-made files, and pgloader, in turn and back (ABBA)."""

import os
import shutil
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import content
import engine_process
from cluster import Cluster
from content import Content
from figures import Report, spread

DATABASE: Final = "bench"
PGLOADER_DATABASE: Final = "bench_pgloader"
PGLOADER_HEAP_MIB: Final = 12_288  # 4 GB, its default, is exhausted after six seconds


@dataclass(frozen=True)
class Setting:
    """What every contender is given."""

    cluster: Cluster
    folder: Path
    source: Path
    wanted: Content


@dataclass
class Outcome:
    """One contender's runs."""

    seconds: list[float] = field(default_factory=list)
    verify_s: list[float] = field(default_factory=list)
    phases: dict[str, float] = field(default_factory=dict)
    peak_bytes: int = 0
    loss: content.Loss | None = None
    loads: list[float] = field(default_factory=list)

    def note(self, loss: content.Loss) -> None:
        """Keep the worst that happened."""
        if self.loss is None or loss.lost > self.loss.lost:
            self.loss = loss


Contender = Callable[[Setting, Outcome], float]


def export(setting: Setting) -> None:
    r"""Write every table as the file that ``\copy`` reads, and the scripts that make the tables and read them."""
    folder = setting.folder / "copy"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with closing(content.connect(setting.source)) as reader:
        tables = content.tables(reader)
        for table in tables:
            (folder / table.name).write_bytes(b"".join(content.lines(reader, table)))
    for compression in ("pglz", "lz4"):
        schema = f"copy_{compression}"
        script = [f"SET default_toast_compression = '{compression}';\n", f'CREATE SCHEMA "{schema}";\n']
        script += [table.ddl(schema) for table in tables]
        script += [f'\\copy "{schema}"."{table.name}" FROM \'{folder / table.name}\'\n' for table in tables]
        (folder / f"{compression}.sql").write_text("".join(script))


def copy(compression: str) -> Contender:
    """Return the contender that knows the rows beforehand and only sends them."""

    def run(setting: Setting, outcome: Outcome) -> float:
        schema = f"copy_{compression}"
        command = setting.cluster.psql(DATABASE, setting.folder / "copy" / f"{compression}.sql")
        took = _timed(command, outcome)
        outcome.note(setting.wanted.compare(setting.cluster, DATABASE, schema))
        setting.cluster.drop_schema(DATABASE, schema)
        return took

    return run


def engine(streams: int | None) -> Contender:
    """Return the product, with as many streams as it takes by itself or as it is told."""

    def run(setting: Setting, outcome: Outcome) -> float:
        schema = "engine" if streams is None else f"engine_{streams}"
        state = setting.folder / "state"
        shutil.rmtree(state, ignore_errors=True)
        with engine_process.started(setting.cluster.url(DATABASE)) as process:
            started = time.perf_counter()
            process.ask("open", clients=[(str(setting.source), schema, str(state))], streams=streams)
            result = process.ask("run", full=True)["result"]
            took = time.perf_counter() - started
            outcome.peak_bytes = max(outcome.peak_bytes, process.ask("memory")["peak_bytes"])
        outcome.phases = result["seconds"]
        outcome.verify_s.append(outcome.phases.get("verify", 0.0))
        outcome.note(setting.wanted.compare(setting.cluster, DATABASE, schema))
        forget(setting.cluster, schema)
        return took

    return run


def forget(cluster: Cluster, schema: str) -> None:
    """Remove a replica and what is known about it."""
    cluster.drop_schema(DATABASE, schema)
    with cluster.connect(DATABASE) as connection:
        connection.execute("DELETE FROM sync_metadata.replication_state WHERE client_name = %s", (schema,))
        connection.execute("DELETE FROM sync_metadata.quarantine WHERE client_name = %s", (schema,))


def pgloader(setting: Setting, outcome: Outcome) -> float:
    """Run pgloader as it survives this database: a large heap, small batches, no indexes."""
    setting.cluster.create(PGLOADER_DATABASE)
    script = setting.folder / "load.pgloader"
    script.write_text(
        f"LOAD DATABASE FROM sqlite://{setting.source}\n"
        f"INTO {setting.cluster.url(PGLOADER_DATABASE)}\n"
        "WITH include drop, create tables, create no indexes, no foreign keys, reset no sequences,\n"
        "  batch rows = 500, prefetch rows = 1000;\n"
    )
    setting.cluster.checkpoint()
    command = ["pgloader", "--dynamic-space-size", str(PGLOADER_HEAP_MIB), str(script)]
    took = _timed(command, outcome)
    outcome.note(setting.wanted.compare(setting.cluster, PGLOADER_DATABASE, "public"))
    setting.cluster.create(PGLOADER_DATABASE)
    return took


def _timed(command: Sequence[str], outcome: Outcome) -> float:
    """Return how long a program takes, which must end with exit code 0, and note its largest resident size."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    took = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command[0]} failed with exit code {process.returncode}: {' '.join(command)}")
    outcome.peak_bytes = max(outcome.peak_bytes, usage.ru_maxrss * 1024)
    return took


def race(setting: Setting, contenders: dict[str, Contender], runs: int, report: Report) -> dict[str, Outcome]:
    """Run all in turn and back, as often as asked, and print what each took and lost."""
    outcomes: dict[str, Outcome] = defaultdict(Outcome)
    for turn in range(runs):
        for name in list(contenders) if turn % 2 == 0 else list(reversed(contenders)):
            setting.cluster.checkpoint()
            outcomes[name].loads.append(os.getloadavg()[0])
            outcomes[name].seconds.append(contenders[name](setting, outcomes[name]))
    for name in contenders:
        _print(name, outcomes[name], report)
    return outcomes


def _print(name: str, outcome: Outcome, report: Report) -> None:
    busy = "/".join(f"{load:.1f}" for load in outcome.loads)
    report.say(
        f"  {name}: {spread(outcome.seconds)}; load before {busy}; peak RSS {outcome.peak_bytes / 2**20:.0f} MiB"
    )
    report.say(f"      {outcome.loss}")
    if outcome.phases:
        report.say("      last run: " + ", ".join(f"{phase} {took:.2f} s" for phase, took in outcome.phases.items()))
