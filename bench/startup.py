"""How long the program takes to say its version and to show its menu, against what its libraries take to load.

python bench/startup.py
"""

import os
import sys
import tempfile
import time

import pexpect

from _timing import BIN, medians, report, run_s

RUNS = 15
FLOOR = 'python -c "import questionary, rich"'


def menu_s(folder: str) -> float:
    """Return the seconds from the start until the menu's last entry is on the screen of an 80x24 terminal."""
    environment = {
        **os.environ,
        "TERM": "xterm-256color",
        "CLIENT_MANAGER_DATA_ROOT": folder,
        "CLIENT_MANAGER_STATE_DIR": folder,
    }
    started = time.perf_counter()
    menu = pexpect.spawn(str(BIN / "client-manager"), dimensions=(24, 80), env=environment, timeout=20)
    menu.expect_exact("Exit")
    took = time.perf_counter() - started
    menu.close(force=True)
    return took


def main() -> int:
    """Print both ratios; the exit code says whether both targets are met."""
    with tempfile.TemporaryDirectory() as folder:
        took = medians(
            {
                "floor": lambda: run_s([sys.executable, "-c", "import questionary, rich"]),
                "version": lambda: run_s([str(BIN / "client-manager"), "--version"]),
                "menu": lambda: menu_s(folder),
            },
            RUNS,
        )
    met = [
        report("client-manager --version", took["version"], FLOOR, took["floor"], 1.5),
        report("menu on screen", took["menu"], FLOOR, took["floor"], 3),
    ]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
