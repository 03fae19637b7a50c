"""What clients cost in which nothing happens: one, and a thousand in one tick, and whether PostgreSQL hears of them."""

import resource
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Final

import application
import content
import engine_process
from cluster import Cluster
from dataset import unpack
from figures import Figure, Report, milliseconds

DATABASE: Final = "bench_idle"
CLIENTS: Final = 1000
CONFIG_ROWS: Final = 378
_TARGET_S: Final = 50e-6
_TICK_TARGET_S: Final = 0.1
_CALLS: Final = 5000
_TICKS: Final = 20
_STATISTICS_S: Final = 1.5  # PostgreSQL's sessions report what they did at most once a second


def run(cluster: Cluster, folder: Path, source: Path, report: Report) -> None:
    """Measure both."""
    report.say("\nIdle clients:")
    cluster.create(DATABASE)
    engine_process.prepare(cluster.url(DATABASE))
    with application.opened(source, folder / "idle.db") as app, engine_process.started(cluster.url(DATABASE)) as engine:
        state = folder / "state-idle"
        shutil.rmtree(state, ignore_errors=True)
        engine.ask("open", clients=[(str(app.path), "idle", str(state))])
        engine.ask("run")
        engine.ask("tick", ticks=1)
        before = _transactions(cluster)
        answer = engine.ask("tick", ticks=_CALLS)
        asked = _transactions(cluster) - before
    report.say(f"  one client: {_CALLS:,} calls, levels {answer['levels']}, transactions of PostgreSQL {asked}")
    took = answer["median_s"]
    report.add(
        Figure(
            "idle client, a call",
            f"{took * 1e6:.1f} us",
            "50 us",
            took / _TARGET_S,
            "at most 50 us, no query",
            took <= _TARGET_S and asked == 0 and list(answer["levels"]) == ["idle"],
        )
    )
    _thousand(cluster, folder, report)


def _transactions(cluster: Cluster) -> int:
    """Return how many transactions the database has seen, once all have been reported."""
    time.sleep(_STATISTICS_S)
    with cluster.connect("postgres") as connection:
        row = connection.execute(
            "SELECT xact_commit + xact_rollback + sessions FROM pg_stat_database WHERE datname = %s", (DATABASE,)
        ).fetchone()
    return int(str(row[0])) if row else 0


def _thousand(cluster: Cluster, folder: Path, report: Report) -> None:
    """A thousand files of one real table: what is in a file does not count while nothing in it changes."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    place = folder / "thousand"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    first = _small(folder)
    apps: list[application.Application] = []
    try:
        clients = []
        for number in range(CLIENTS):
            path = place / f"{number}.db"
            shutil.copyfile(first, path)
            apps.append(application.Application(path))
            clients.append((str(path), f"idle_{number}", str(place / f"state-{number}")))
        with engine_process.started(cluster.url(DATABASE)) as engine:
            engine.ask("open", clients=clients)
            loaded_s = engine.ask("load_all")["seconds"]
            engine.ask("tick", ticks=1)
            answer = engine.ask("tick", ticks=_TICKS)
            memory = engine.ask("memory")
    finally:
        for app in apps:
            app.close()
        shutil.rmtree(place, ignore_errors=True)
    report.say(
        f"  {CLIENTS} clients (each the real config table of {CONFIG_ROWS} rows; first loads {loaded_s:.0f} s):"
        f" a tick {milliseconds(answer['median_s'])}, at most {milliseconds(answer['max_s'])},"
        f" CPU {milliseconds(answer['cpu_s'])}; levels {answer['levels']};"
        f" {memory['descriptors']} descriptors, {memory['peak_bytes'] / 2**20:.0f} MiB"
    )
    took = answer["median_s"]
    report.add(
        Figure(
            f"{CLIENTS} idle clients, a tick",
            milliseconds(took),
            "100 ms",
            took / _TICK_TARGET_S,
            "at most 100 ms",
            took <= _TICK_TARGET_S and list(answer["levels"]) == ["idle"],
        )
    )


def _small(folder: Path) -> Path:
    real, small = folder / "real.db", folder / "small.db"
    small.unlink(missing_ok=True)
    unpack(real)
    with closing(sqlite3.connect(real)) as connection:
        (declared,) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = 'config'").fetchone()
        connection.execute("ATTACH ? AS small", (str(small),))
        connection.execute(str(declared).replace("CREATE TABLE ", "CREATE TABLE small.", 1))
        connection.execute("INSERT INTO small.config SELECT * FROM main.config")
        connection.commit()
    real.unlink()
    with closing(content.connect(small)) as reader:
        (rows,) = reader.execute("SELECT count(*) FROM config").fetchone()
    if rows != CONFIG_ROWS:
        raise RuntimeError(f"{small} has {rows} rows")
    return small
