"""Runs that are cut off at random steps: ``python -m``, a job on stdin, a summary on stdout.

Every run is a fork of one warm process that never has a database open itself, so that a crash costs milliseconds.
"""

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from client_manager.errors import ClientManagerError, Unavailable
from client_manager.replication import steps
from client_manager.replication.engine import Options
from tests.replication.proof import power_loss
from tests.replication.proof.pair import Pair

LABELS = ("claimed", "pending written", "before commit", "after commit", "page written", "shadow written",
          "shadow stamped", "anywhere")  # fmt: skip
FULL_LABELS = ("chunk loaded", "load verified", "pending written", "shadow replaced", "shadow written", "before commit")
_CRASHED, _GAVE_UP, _FAILED = 9, 10, 11
_PATIENCE_S = 0.5
_RUN_S = 0.02


def main() -> None:
    job = json.loads(sys.stdin.readline())
    pair = Pair(Path(job["source"]), Path(job["state"]), job["url"], job["schema"], Options(**job["options"]))
    draw = random.Random(job["seed"])
    crashes: Counter[str] = Counter()
    levels: Counter[str] = Counter()
    failures: list[str] = []
    end = time.monotonic() + job["seconds"]
    while crashes.total() < job["crashes"] and time.monotonic() < end and not failures:
        label = draw.choice(job["labels"])
        code, told = _cut_off(pair, label, draw.getrandbits(60), power=job["power"])
        levels.update(told["levels"])
        if code == _CRASHED:
            crashes[label] += 1
        elif code != _GAVE_UP:
            failures.append(f"{label}: exit {code} {told['text']}")
        if job["power"] and code == _CRASHED:
            power_loss.take_over(pair.state)
    summary = {"crashes": crashes, "levels": levels, "failures": failures}
    sys.stdout.write(json.dumps(summary) + "\n")


def _cut_off(pair: Pair, label: str, seed: int, *, power: bool) -> tuple[int, dict[str, Any]]:
    """Let a child run until it dies at a step; return its exit code and what it has told."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(told)
        os._exit(_child(pair, label, random.Random(seed), tell, power=power))
    os.close(tell)
    if label == "anywhere":
        time.sleep(random.Random(seed).random() * _RUN_S)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(told) as pipe:
        lines = pipe.read().splitlines()
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    levels = [line.removeprefix("level ") for line in lines if line.startswith("level ")]
    text = "\n".join(line for line in lines if not line.startswith("level "))
    return (_CRASHED if code == -signal.SIGKILL else code), {"levels": levels, "text": text}


def _child(pair: Pair, label: str, draw: random.Random, tell: int, *, power: bool) -> int:
    disk = power_loss.Disk(pair.state) if power else None
    left = 1 if draw.random() < 0.5 else draw.randint(1, 20 if label == "page written" else 2)

    def reach(step: str) -> None:
        nonlocal left
        left -= step == label
        if step == label and left <= 0:
            if disk:
                disk.write_what_is_left(draw)
            os._exit(_CRASHED)

    steps.on_reach = reach
    end = time.monotonic() + _PATIENCE_S
    try:
        with pair.engine() as engine:
            while time.monotonic() < end:
                try:
                    result = engine.run(confirmed=True)
                except Unavailable:
                    continue  # the writer opened its closed database in that moment: "run again", as an operator would
                os.write(tell, f"level {result.level}\n".encode())
    except ClientManagerError as error:
        os.write(tell, f"{type(error).__name__} {error.what} {error.why}\n".encode())
        return _FAILED
    except BaseException as error:  # noqa: BLE001  the parent reports it
        import traceback

        os.write(tell, f"{error!r} {traceback.format_exc()[-1500:]}\n".encode())
        return _FAILED
    return _GAVE_UP


if __name__ == "__main__":
    main()
