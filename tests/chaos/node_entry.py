"""The node with a fuse: at the step that the arming file names it says so, and then ends or freezes itself, once.

Runs in the node's container in place of ``client-manager``, with its arguments. The process that the container began
with only waits: the kernel keeps SIGKILL and SIGSTOP from the first process of a namespace.
"""

import contextlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

FOLDER = Path(os.environ["CHAOS_FOLDER"])
ARMED, FIRED = FOLDER / "armed.json", FOLDER / "fired.json"
CLOCK, CLOCK_LIBRARY = FOLDER / "clock", FOLDER / "libfaketime.so"


def reach(label: str) -> None:
    """Go off if this is the step that is armed."""
    if not ARMED.exists():
        return
    with contextlib.suppress(FileNotFoundError):  # another thread was faster
        order = json.loads(ARMED.read_text())
        if order["label"] != label:
            return
        order["at"] = time.time()
        claimed = ARMED.with_suffix(".claimed")
        ARMED.rename(claimed)
        claimed.write_text(json.dumps(order))
        claimed.rename(FIRED)
        os.kill(os.getpid(), signal.Signals[order["signal"]])


def run() -> None:
    """Be the node."""
    from client_manager.cli import main
    from client_manager.replication import steps

    steps.on_reach = reach
    if "LD_PRELOAD" in os.environ:  # libfaketime refuses the call that time.sleep() makes
        time.sleep = threading.Event().wait  # type: ignore[assignment]
    sys.argv[0] = "client-manager"
    sys.exit(main())


def wait_for(child: int) -> int:
    """Pass on what ends a container, and end as the node ended."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _: os.kill(child, got))
    while True:
        _, status = os.waitpid(-1, 0)
        ended = os.waitstatus_to_exitcode(status)
        return ended if ended >= 0 else 128 - ended


def under_its_own_clock() -> None:
    """Begin again with a clock that the file sets, while it runs too; what measures time is left alone."""
    clock = {
        "LD_PRELOAD": str(CLOCK_LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(CLOCK),
        "FAKETIME_CACHE_DURATION": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **clock})  # noqa: S606


if __name__ == "__main__":
    if "LD_PRELOAD" in os.environ:
        run()
    node = os.fork()
    if node == 0 and CLOCK.exists():
        under_its_own_clock()
    if node == 0:
        run()
    sys.exit(wait_for(node))
