"""What one sync of a small change costs, in a warm process, against psql sending exactly these rows."""

import shutil
import statistics
import subprocess
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import application
import content
import engine_process
from application import Application
from cluster import Cluster
from content import Table
from dataset import SIZES
from figures import Figure, Report, mebibytes, milliseconds
from loads import DATABASE, forget

SCHEMA: Final = "incremental"
_ANCHOR: Final = "psql_rows"
_ROUNDS: Final = 7
_NARROW_ROWS: Final = 2000
_TARGET_S: Final = 0.150
_TARGET_AFTER_RESET_S: Final = 0.350


@dataclass(frozen=True)
class Place:
    """Where the part runs."""

    cluster: Cluster
    folder: Path
    source: Path
    size: str


@dataclass(frozen=True)
class Sync:
    """One sync as the engine reports it."""

    seconds: float
    level: str
    rows: int
    phases: dict[str, float]

    @property
    def to_commit_s(self) -> float:
        """From the gate to the commit: what follows moves the baseline, and nobody waits for it."""
        return self.seconds - self.phases["shadow"]

    @classmethod
    def of(cls, answer: dict[str, Any]) -> "Sync":
        """Read the answer to ``run``."""
        result = answer["result"]
        rows = result["inserted"] + result["updated"] + result["deleted"]
        return cls(answer["seconds"], result["level"], rows, result["seconds"])


@dataclass(frozen=True)
class Measured:
    """The syncs while the log continues and after it was reset, psql's time for the rows, and for everything."""

    continued: list[Sync]
    after_reset: list[Sync]
    psql_s: list[float]
    full_copy_s: float


def run(place: Place, report: Report) -> float:
    """Measure, and return the median from gate to commit in seconds."""
    report.say(f"\nIncremental, {SIZES[place.size].name}, {_ROUNDS} rounds of each:")
    with (
        application.opened(place.source, place.folder / "live.db") as app,
        engine_process.started(place.cluster.url(DATABASE)) as engine,
    ):
        state = place.folder / "state-incremental"
        shutil.rmtree(state, ignore_errors=True)
        engine.ask("open", clients=[(str(app.path), SCHEMA, str(state))])
        engine.ask("run", full=True)
        full_copy_s = _load_anchor(place)
        app.keep_log(kept=True)
        appended, psql_s = _rounds(place, app, engine, reset=False)
        app.keep_log(kept=False)
        after_reset, _ = _rounds(place, app, engine, reset=True)
        narrow_bytes, upsert_bytes = _narrow(place, app, engine)
        loss = content.read(app.path).compare(place.cluster, DATABASE, SCHEMA)
        peak = engine.ask("memory")["peak_bytes"]
    _describe("log continued", appended, report)
    _describe("log was reset", after_reset, report)
    report.say(f"  psql, COPY of these rows and ON CONFLICT: median {milliseconds(statistics.median(psql_s))}")
    report.say(f"  afterwards: {loss}; peak RSS of the process {peak / 2**20:.0f} MiB")
    middle = _judge(place, report, Measured(appended, after_reset, psql_s, full_copy_s), lossless=loss.lost == 0)
    report.add(
        Figure(
            f"  PostgreSQL's log, a narrow change of {_NARROW_ROWS} wide rows",
            mebibytes(narrow_bytes),
            f"upsert of whole rows {mebibytes(upsert_bytes)}",
            narrow_bytes / upsert_bytes,
        )
    )
    forget(place.cluster, SCHEMA)
    place.cluster.drop_schema(DATABASE, _ANCHOR)
    return middle


def _judge(place: Place, report: Report, measured: Measured, *, lossless: bool) -> float:
    """Add the figures, and return the median from gate to commit."""
    middle = statistics.median(one.to_commit_s for one in measured.continued)
    whole = statistics.median(one.seconds for one in measured.continued)
    reset = statistics.median(one.to_commit_s for one in measured.after_reset)
    anchor = statistics.median(measured.psql_s)
    rows = f"{measured.continued[0].rows} rows of {SIZES[place.size].name}"
    report.add(
        Figure(
            f"incremental, {rows}: detect, apply, commit",
            milliseconds(middle),
            f"psql, these rows {milliseconds(anchor)}",
            middle / anchor,
            "at most 150 ms",
            middle <= _TARGET_S and lossless,
        )
    )
    report.add(
        Figure(
            "  the same",
            milliseconds(middle),
            f"the whole \\copy {measured.full_copy_s:.2f} s",
            middle / measured.full_copy_s,
        )
    )
    report.add(
        Figure(
            "  with the baseline moved after it",
            milliseconds(whole),
            f"to commit {milliseconds(middle)}",
            whole / middle,
        )
    )
    report.add(
        Figure(
            "  after the log was reset",
            milliseconds(reset),
            f"log continued {milliseconds(middle)}",
            reset / middle,
            "at most 350 ms",
            reset <= _TARGET_AFTER_RESET_S,
        )
    )
    return middle


def _load_anchor(place: Place) -> float:
    """Load the rows with psql, to have what its upserts go into; return how long the load took."""
    folder = place.folder / "copy"
    script = (folder / "pglz.sql").read_text().replace("copy_pglz", _ANCHOR)
    (folder / "anchor.sql").write_text(script)
    place.cluster.checkpoint()
    return _psql(place, folder / "anchor.sql")


def _psql(place: Place, script: Path) -> float:
    started = time.perf_counter()
    subprocess.run(place.cluster.psql(DATABASE, script), check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def _rounds(
    place: Place, app: Application, engine: engine_process.EngineProcess, *, reset: bool
) -> tuple[list[Sync], list[float]]:
    syncs, psql = [], []
    for turn in range(_ROUNDS + 1):
        written, deleted = app.change()
        if reset:
            app.reset_log()
        script = _upsert_script(place, app.path, written, deleted)
        if turn % 2:
            psql.append(_psql(place, script))
        sync = Sync.of(engine.ask("run"))
        if not turn % 2:
            psql.append(_psql(place, script))
        syncs.append(sync)
    return syncs[1:], psql[1:]


def _upsert_script(place: Place, source: Path, written: dict[str, list[str]], deleted: list[str]) -> Path:
    """Write the changed rows as files, and the script that brings them into the replica as psql can."""
    folder = place.folder / "rows"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    script = ["SET default_toast_compression = 'lz4';\n"]
    with closing(content.connect(source)) as reader:
        tables = {table.name: table for table in content.tables(reader)}
        for name, ids in written.items():
            wanted = ", ".join(f"'{one}'" for one in ids)
            rows = content.lines(reader, tables[name], f"WHERE id IN ({wanted})")
            (folder / name).write_bytes(b"".join(rows))
            script.append(_upsert(tables[name], folder / name))
    if deleted:
        script.append(_delete(folder, deleted))
    (folder / "upsert.sql").write_text("".join(script))
    return folder / "upsert.sql"


def _upsert(table: Table, file: Path) -> str:
    target, staged = f'"{_ANCHOR}"."{table.name}"', f'"staged_{table.name}"'
    names = ", ".join(table.quoted)
    values = ", ".join(f"{name} = excluded.{name}" for name in table.quoted)
    key = ", ".join(f'"{name}"' for name in table.key)
    return (
        f"CREATE TEMP TABLE {staged} (LIKE {target}) ON COMMIT DROP;\n"  # noqa: S608
        f"\\copy {staged} FROM '{file}'\n"
        f"INSERT INTO {target} SELECT {names} FROM {staged} ON CONFLICT ({key}) DO UPDATE SET {values};\n"
    )


def _delete(folder: Path, deleted: list[str]) -> str:
    file = folder / "deleted"
    file.write_text("\n".join(deleted) + "\n")
    return (
        "CREATE TEMP TABLE deleted (id text) ON COMMIT DROP;\n"
        f"\\copy deleted FROM '{file}'\n"
        f'DELETE FROM "{_ANCHOR}"."chat_message" USING deleted WHERE chat_message.id = deleted.id;\n'
    )


def _narrow(place: Place, app: Application, engine: engine_process.EngineProcess) -> tuple[int, int]:
    """Return the bytes of log that a narrow change costs: the engine, and an upsert of the whole rows.

    The second of two rounds counts: the first writes whole pages into the log, as always after a checkpoint.
    """
    ours = theirs = 0
    for _ in range(2):
        chats = app.read_chats(_NARROW_ROWS)
        script = _upsert_script(place, app.path, {"chat": chats}, [])
        before = place.cluster.wal_position()
        engine.ask("run")
        between = place.cluster.wal_position()
        _psql(place, script)
        ours, theirs = between - before, place.cluster.wal_position() - between
    return ours, theirs


def _describe(name: str, syncs: list[Sync], report: Report) -> None:
    took = sorted(one.seconds for one in syncs)
    phases = {phase: statistics.median(one.phases.get(phase, 0.0) for one in syncs) for phase in syncs[0].phases}
    levels = ", ".join(sorted({one.level for one in syncs}))
    report.say(
        f"  {name}: {milliseconds(took[0])} / {milliseconds(statistics.median(took))} / {milliseconds(took[-1])},"
        f" {syncs[0].rows} rows, level {levels}"
    )
    report.say("      median of the phases: " + ", ".join(f"{one} {milliseconds(s)}" for one, s in phases.items()))
