"""Nasty case 22: runs that end at every labelled step, beside an application that keeps on writing.

CLIENT_MANAGER_PROOF_CRASHES and _SEED ask for more, and for others.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.replication.proof import fuzz_writer
from tests.replication.proof.child import ROOT
from tests.replication.proof.crash_runs import FULL_LABELS, LABELS
from tests.replication.proof.pair import Pair

CRASHES = int(os.environ.get("CLIENT_MANAGER_PROOF_CRASHES", "1000"))
FIRST_SEED = int(os.environ.get("CLIENT_MANAGER_PROOF_SEED", "1"))
PARTS = 5
_A_CRASH_S = 1.0


@contextmanager
def writing(path: Path, seed: int, commits_a_second: float) -> Iterator[Counter[str]]:
    """Let the application write meanwhile; what it has done is counted when it has ended."""
    done: Counter[str] = Counter()
    with subprocess.Popen(
        [sys.executable, fuzz_writer.__file__, str(path), str(seed), str(commits_a_second)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as writer:  # fmt: skip
        try:
            assert writer.stdout
            assert writer.stdout.readline() == "ready\n"
            yield done
        finally:
            output, _ = writer.communicate(timeout=30)
    assert writer.returncode == 0
    done.update(json.loads(output))


def cut_off(pair: Pair, crashes: int, seed: int, labels: Sequence[str] = LABELS, *, power: bool = False) -> Any:
    """Have runs cut off in another process; return what it counted."""
    job = {
        "source": str(pair.source), "state": str(pair.state), "url": pair.url, "schema": pair.schema,
        "options": {"audit_every": 20}, "seed": seed, "crashes": crashes, "seconds": crashes * _A_CRASH_S,
        "labels": labels, "power": power,
    }  # fmt: skip
    ended = subprocess.run(
        [sys.executable, "-m", "tests.replication.proof.crash_runs"],
        cwd=ROOT, input=json.dumps(job) + "\n", stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return json.loads(ended.stdout)


def finish(pair: Pair, found: Any, crashes: int) -> None:
    """Judge: the number is reached, nothing began anew, and after a quiet run nothing differs."""
    assert not found["failures"], "\n".join(found["failures"])
    assert sum(found["crashes"].values()) == crashes
    assert set(found["levels"]) <= {"idle", "pages", "sql"}
    assert pair.synced(confirmed=True).level in ("idle", "pages", "sql")
    assert pair.verify(heal=False).equal


@pytest.mark.timeout(200)
@pytest.mark.parametrize("part", range(PARTS))
def test_case_22_a_thousand_crashes_beside_a_writer(pair: Pair, part: int) -> None:
    seed = FIRST_SEED * 1000 + part
    with writing(pair.source, seed, 60) as done:
        assert pair.sync().level == "full"
        found = cut_off(pair, CRASHES // PARTS, seed)
    finish(pair, found, CRASHES // PARTS)
    assert done["COMMIT"] > CRASHES // PARTS
    assert {"pending written", "before commit", "after commit", "page written"} <= found["crashes"].keys()


@pytest.mark.timeout(100)
@pytest.mark.parametrize("part", range(2))
def test_case_22_power_losses_beside_a_writer(pair: Pair, part: int) -> None:
    seed = FIRST_SEED * 1000 + 500 + part
    labels = [label for label in LABELS if label != "anywhere"]
    with writing(pair.source, seed, 60):
        assert pair.sync().level == "full"
        found = cut_off(pair, 60, seed, labels, power=True)
    finish(pair, found, 60)


@pytest.mark.timeout(100)
@pytest.mark.parametrize("power", [False, True], ids=["crash", "power_loss"])
def test_case_22_a_first_load_that_is_cut_off_goes_on(pair: Pair, *, power: bool) -> None:
    """Each round is a client of its own: the state it has is none."""
    with writing(pair.source, FIRST_SEED, 60):
        for number, label in enumerate(FULL_LABELS):
            one = pair.with_options(schema=f"acme{number}", state=pair.state.with_name(f"state{number}"))
            found = cut_off(one, 3, FIRST_SEED + number, [label], power=power)
            assert not found["failures"], label
            assert set(found["levels"]) <= {"full", "pages", "sql", "idle"}, label
    for number in range(len(FULL_LABELS)):
        one = pair.with_options(schema=f"acme{number}", state=pair.state.with_name(f"state{number}"))
        one.synced(confirmed=True)
