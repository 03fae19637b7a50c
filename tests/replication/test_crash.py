"""Cut off at a random step, again and again, beside an application that writes: nothing lost, nothing starts over."""

import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from client_manager.errors import Unavailable
from client_manager.replication import steps
from tests.replication.conftest import Tenant
from tests.replication.oracle import assert_equal
from tests.replication.writer import create

CRASHES = int(os.environ.get("CLIENT_MANAGER_CRASHES", "250"))
SEEDS = 4  # 4 x 250: a thousand crash points in a CI run
_CRASHED = 9
_OF_A_RUN = ("pending written", "claimed", "before commit", "after commit", "page written", "shadow written",
             "shadow stamped")  # fmt: skip
_OF_A_LOAD = ("chunk loaded", "load verified", "pending written", "claimed", "before commit", "after commit",
              "shadow replaced", "shadow written", "shadow stamped")  # fmt: skip
_FULL_SHARE = 0.04
_RUNS_OF_A_LIFE = 12


def _crash_somewhere(draw: random.Random, *, full: bool) -> None:
    target = draw.choice(_OF_A_LOAD if full else _OF_A_RUN)
    left = draw.randrange(1, 100 if target == "page written" else 3)

    def reached(label: str) -> None:
        nonlocal left
        left -= label == target
        if left == 0:
            os.write(1, f"{label}\n".encode())
            os._exit(_CRASHED)

    steps.on_reach = reached


def _life(tenant: Tenant, seed: int) -> tuple[bool, str]:
    """One process that replicates until it crashes, or has run often enough; how it ended, and where."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.dup2(writing, 1)
            draw = random.Random(seed)
            full = draw.random() < _FULL_SHARE
            _crash_somewhere(draw, full=full)
            with tenant.engine() as engine:
                for number in range(_RUNS_OF_A_LIFE):
                    if full and not number:
                        os.write(1, b"asked for a full load\n")
                    result = engine.run(full=full and not number, confirmed=True)
                    os.write(1, f"level {result.level}\n".encode())
            os._exit(0)
        except Unavailable as error:
            os.write(1, f"busy {error.why}\n".encode())
            os._exit(0)
        except BaseException as error:  # noqa: BLE001  the parent is told
            os.write(1, f"error {error!r}\n".encode())
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as told:
        text = told.read()
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, _CRASHED), text
    return code == _CRASHED, text


@pytest.mark.timeout(240)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_crash_point_loses_or_repeats_anything(tenant: Tenant, seed: int) -> None:
    create(tenant.path, seed)
    application = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("writer.py")), str(tenant.path), str(seed)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    crashes = 0
    where: Counter[str] = Counter()
    levels: Counter[str] = Counter()
    deadline = time.monotonic() + 200
    lives = 0
    while crashes < CRASHES:
        assert time.monotonic() < deadline, f"only {crashes} crashes: {where}"
        crashed, text = _life(tenant, seed * 100_000 + lives)
        lives += 1
        crashes += crashed
        lines = text.splitlines()
        where.update(lines[-1:] if crashed else [])
        levels.update(lines)
    assert application.stdin is not None
    application.stdin.close()
    assert application.stdout is not None
    committed = int(application.stdout.read())
    application.stdout.close()
    assert application.wait(30) == 0
    tenant.run(confirmed=True)
    assert_equal(tenant.path, tenant.url, tenant.schema)
    assert committed > CRASHES
    assert levels["level full"] <= levels["asked for a full load"] + 1, levels
    assert not levels["level reconcile"], levels
    assert set(where) >= set(_OF_A_RUN), where
