"""The largest resident size of a full load, whatever the database's size, and with one very large row."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import application
import engine_process
from cluster import Cluster
from dataset import SIZES
from figures import Figure, Report
from loads import DATABASE, forget

SCHEMA: Final = "memory"
_MIB: Final = 2**20
_LARGE_ROW_BYTES: Final = 40 * _MIB
_FIXED_BYTES: Final = 128 * _MIB
_ROWS: Final = 3


@dataclass(frozen=True)
class Place:
    """Where the part runs."""

    cluster: Cluster
    folder: Path
    report: Report


def run(place: Place, sources: Sequence[tuple[str, Path]]) -> None:
    """Load each database once in a fresh process, and the smallest once more with a row of 40 MiB."""
    place.report.say("\nMemory of a full load:")
    for size, source in sources:
        with application.opened(source, place.folder / "live.db") as app:
            _add(place, app, SIZES[size].name, app.largest_chat_bytes())
    size, source = min(sources, key=lambda one: int(one[0]))
    with application.opened(source, place.folder / "live.db") as app:
        app.send_attachment(_LARGE_ROW_BYTES)
        _add(place, app, f"{SIZES[size].name} and a row of 40 MiB", _LARGE_ROW_BYTES)


def _add(place: Place, app: application.Application, name: str, largest_bytes: int) -> None:
    state = place.folder / "state-memory"
    shutil.rmtree(state, ignore_errors=True)
    with engine_process.started(place.cluster.url(DATABASE)) as engine:
        engine.ask("open", clients=[(str(app.path), SCHEMA, str(state))])
        before = engine.ask("memory")["peak_bytes"]
        engine.ask("run", full=True)
        peak = engine.ask("memory")["peak_bytes"]
    forget(place.cluster, SCHEMA)
    limit = _FIXED_BYTES + _ROWS * largest_bytes
    place.report.say(f"  {name}: {peak / _MIB:.0f} MiB, of them {before / _MIB:.0f} MiB before the load")
    place.report.add(
        Figure(
            f"memory of a load, {name}",
            f"{peak / _MIB:.0f} MiB",
            f"limit {limit / _MIB:.0f} MiB",
            peak / limit,
            "128 MiB + 3 x the largest row",
            peak <= limit,
        )
    )
