"""Time commands in turn, so that a machine that slows down slows them all, and compare their medians."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

BIN = Path(sys.executable).parent


def run_s(command: Sequence[str]) -> float:
    """Return how long a command takes, in seconds; it must succeed."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    return time.perf_counter() - started


def medians(contenders: Mapping[str, Callable[[], float]], runs: int) -> dict[str, float]:
    """Return each contender's median of ``runs`` after one run to warm up, all of them in turn."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(runs + 1):
        for name, measure in contenders.items():
            took = measure()
            if turn:
                times[name].append(took)
    return {name: statistics.median(values) for name, values in times.items()}


def report(name: str, took_s: float, floor: str, floor_s: float, target: float) -> bool:
    """Print one ratio against its target, and return whether it is met."""
    ratio = took_s / floor_s
    met = ratio <= target
    verdict = "met" if met else "MISSED"
    print(f"{name}: {took_s * 1000:.0f} ms; {floor}: {floor_s * 1000:.0f} ms")
    print(f"  {ratio:.2f} x, target at most {target} x: {verdict}")
    return met
