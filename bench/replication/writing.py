"""What the application's writer notices of a sync: a writer in its own process, with the engine and without."""

import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import application
import engine_process
from cluster import Cluster
from figures import Figure, Report
from loads import DATABASE, forget

SCHEMA: Final = "writing"
WRITER: Final = Path(__file__).with_name("app_writer.py")
_SECONDS: Final = 5.0
_ORDER: Final = (
    *("alone", "continuous", "every second", "computing"),
    *("computing", "every second", "continuous", "alone"),
    *("alone", "continuous", "every second", "computing"),
)
_COMPUTING: Final = "import sys, time\nend = time.monotonic() + float(sys.argv[1])\nwhile time.monotonic() < end: pass"
_TARGET: Final = 1.10


def run(cluster: Cluster, folder: Path, source: Path, report: Report) -> None:
    """Measure the writer alone, beside a sync every second, and beside one sync after another."""
    report.say(f"\nThe application's writer, one commit each 2 ms, {_SECONDS:.0f} s a turn:")
    took: dict[str, list[float]] = {name: [] for name in _ORDER}
    refused = dict.fromkeys(_ORDER, 0)
    syncs: dict[str, dict[str, Any]] = {}
    with application.opened(source, folder / "live.db") as app, engine_process.started(cluster.url(DATABASE)) as engine:
        state = folder / "state-writing"
        shutil.rmtree(state, ignore_errors=True)
        engine.ask("open", clients=[(str(app.path), SCHEMA, str(state))])
        engine.ask("run", full=True)
        for name in _ORDER:
            writer = subprocess.Popen(
                [sys.executable, str(WRITER), str(app.path), str(_SECONDS)], stdout=subprocess.PIPE, text=True
            )
            if name == "computing":
                for process in [_computing(), _computing()]:
                    process.wait()
            elif name != "alone":
                syncs[name] = engine.ask("repeat", seconds=_SECONDS, every_s=1 if name == "every second" else 0)
            answer = json.loads(writer.communicate()[0])
            took[name] += answer["seconds"]
            refused[name] += answer["refused"]
            engine.ask("run")
    for name, times in took.items():
        report.say(f"  {name}: {_line(times, refused[name])}" + (f"; {_syncs(syncs[name])}" if name in syncs else ""))
    for name in ("continuous", "every second"):
        now, before = _percentile(took[name], 0.99), _percentile(took["alone"], 0.99)
        report.add(
            Figure(
                f"writer's p99, sync {name}",
                f"{now * 1e3:.3f} ms",
                f"alone {before * 1e3:.3f} ms",
                now / before,
                "at most 1.1 x, no BUSY",
                now / before <= _TARGET and refused[name] == 0,
            )
        )
    now, before = _percentile(took["continuous"], 0.99), _percentile(took["computing"], 0.99)
    report.add(
        Figure(
            "  the same, continuous",
            f"{now * 1e3:.3f} ms",
            f"beside 2 processes that compute {before * 1e3:.3f} ms",
            now / before,
        )
    )
    forget(cluster, SCHEMA)


def _computing() -> "subprocess.Popen[bytes]":
    """Start a process that is as busy as the engine or the server, and touches no database."""
    return subprocess.Popen([sys.executable, "-c", _COMPUTING, str(_SECONDS)])


def _percentile(times: list[float], share: float) -> float:
    return sorted(times)[int(len(times) * share)]


def _line(times: list[float], refused: int) -> str:
    return (
        f"p50 {statistics.median(times) * 1e3:.3f} ms, p99 {_percentile(times, 0.99) * 1e3:.3f} ms,"
        f" max {max(times) * 1e3:.1f} ms of {len(times):,}; BUSY {refused}"
    )


def _syncs(answer: dict[str, Any]) -> str:
    return f"{answer['runs']} syncs of {answer['rows']} rows, median {answer['median_s'] * 1e3:.1f} ms a turn"
