"""The product's engine in a process of its own: reads commands as JSON lines, answers with what it measured.

python bench/replication/engine_server.py DATABASE_URL
"""

import json
import os
import resource
import statistics
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from client_manager.database import migrations
from client_manager.gateways.database import Database
from client_manager.replication.engine import Engine, Options

Answer = dict[str, Any]


class Server:
    """The engines that the benchmark opened, in the order in which it did."""

    def __init__(self, url: str) -> None:
        self._database = Database(SecretStr(url))
        self._engines: list[Engine] = []

    def migrate(self) -> Answer:
        """Make ``sync_metadata``."""
        migrations.migrate(self._database)
        return {}

    def open(self, clients: list[tuple[str, str, str]], streams: int | None = None) -> Answer:
        """Make engines for (source, schema, folder of the state)."""
        options = Options() if streams is None else Options(streams=streams)
        started = time.perf_counter()
        for source, schema, state in clients:
            Path(state).mkdir(parents=True, exist_ok=True)
            self._engines.append(
                Engine(Path(source), schema, database=self._database, state_dir=Path(state), options=options)
            )
        return {"seconds": time.perf_counter() - started}

    def run(self, *, full: bool = False, confirmed: bool = False) -> Answer:
        """Run the first engine once."""
        started = time.perf_counter()
        result = self._engines[0].run(full=full, confirmed=confirmed)
        return {"seconds": time.perf_counter() - started, "result": result.model_dump(mode="json")}

    def load_all(self) -> Answer:
        """Load every client."""
        started = time.perf_counter()
        for engine in self._engines:
            engine.run()
        return {"seconds": time.perf_counter() - started}

    def tick(self, ticks: int) -> Answer:
        """Ask every engine as the node does, so many times over; wall clock and CPU of one round.

        A client that is idle is not run; another is, and its level tells.
        """
        walls, cpus, levels = [], [], Counter[str]()
        for _ in range(ticks):
            started, spent = time.perf_counter(), time.process_time()
            found = ["idle" if engine.is_idle() else str(engine.run().level) for engine in self._engines]
            walls.append(time.perf_counter() - started)
            cpus.append(time.process_time() - spent)
            levels.update(found)
        return {
            "median_s": statistics.median(walls),
            "max_s": max(walls),
            "cpu_s": statistics.median(cpus),
            "levels": levels,
        }

    def repeat(self, seconds: float, every_s: float = 0) -> Answer:
        """Run the first engine again and again for so long, at most every so often."""
        deadline = time.monotonic() + seconds
        took, rows = [], 0
        while time.monotonic() < deadline:
            started = time.monotonic()
            result = self._engines[0].run()
            took.append(time.monotonic() - started)
            rows += result.inserted + result.updated + result.deleted
            time.sleep(max(0, started + every_s - time.monotonic()))
        return {"runs": len(took), "rows": rows, "median_s": statistics.median(took), "max_s": max(took)}

    def memory(self) -> Answer:
        """Return the process's largest resident size so far, in bytes, and its number of open descriptors."""
        status = Path("/proc/self/status").read_text()
        peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
        return {"peak_bytes": peak, "descriptors": len(os.listdir("/proc/self/fd"))}  # noqa: PTH208

    def close(self) -> Answer:
        """Close all engines."""
        for engine in self._engines:
            engine.close()
        self._engines.clear()
        return {}


def main() -> int:
    """Serve until the input ends."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    Path("/proc/self/clear_refs").write_text(
        "5"
    )  # the peak of the process that this one was forked from is not its own
    server = Server(sys.argv[1])
    for line in sys.stdin:
        command = json.loads(line)
        answer = getattr(server, command.pop("do"))(**command)
        print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
