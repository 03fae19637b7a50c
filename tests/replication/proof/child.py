"""A run in a process of its own: another user, other limits, or an end of its own. ``python -m`` with a job on stdin."""

import json
import os
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.replication.proof.pair import Pair

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Outcome:
    """How a run in another process ended."""

    level: str | None = None
    written: list[int] | None = None
    error: str | None = None
    text: str = ""


def start(pair: Pair, **job: Any) -> "subprocess.Popen[str]":
    """Start a run in a child.

    Args:
        uid: the user that it becomes.
        file_bytes: the largest file that it may write.
        pause_at: the step at which it says ``paused`` and waits for a line.
        term: of the leader.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.replication.proof.child"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    job |= {"source": str(pair.source), "state": str(pair.state), "url": pair.url, "schema": pair.schema}
    assert process.stdin
    process.stdin.write(f"{json.dumps(job)}\n")
    process.stdin.flush()
    return process


def outcome(process: "subprocess.Popen[str]") -> Outcome:
    output, _ = process.communicate("go on\n", timeout=50)
    return Outcome(**json.loads(output.splitlines()[-1]))


def in_child(pair: Pair, **job: Any) -> Outcome:
    return outcome(start(pair, **job))


def _run(job: dict[str, Any]) -> dict[str, Any]:
    from client_manager.errors import ClientManagerError
    from client_manager.replication import steps

    if "pause_at" in job:
        steps.on_reach = lambda step: _pause() if step == job["pause_at"] else None
    if "file_bytes" in job:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["file_bytes"], job["file_bytes"]))
    if "uid" in job:
        os.setgroups([])
        os.setgid(job["uid"])
        os.setuid(job["uid"])
    pair = Pair(Path(job["source"]), Path(job["state"]), job["url"], job["schema"])
    try:
        result = pair.sync(term=job.get("term"))
    except ClientManagerError as error:
        return {"error": type(error).__name__, "text": f"{error.what} {error.why}"}
    return {"level": result.level, "written": (result.inserted, result.updated, result.deleted)}


def _pause() -> None:
    from client_manager.replication import steps

    steps.on_reach = None
    sys.stdout.write("paused\n")
    sys.stdout.flush()
    sys.stdin.readline()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_run(json.loads(sys.stdin.readline()))) + "\n")
