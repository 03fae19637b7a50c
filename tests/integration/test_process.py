"""Other programs: heard, held to a deadline, and ended with all that they have started."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from client_manager.errors import ClientManagerError, NotFound
from client_manager.gateways import process
from tests.waiting import is_gone, until


def script(text: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(text), *arguments]


def test_output_and_complaints_are_heard_line_by_line() -> None:
    heard: list[str] = []
    program = script("import sys; print('one'); print('zw\\u00f6lf', file=sys.stderr, end=''); sys.exit(4)")
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}

    code = process.run(program, environment, heard.append, deadline_s=30)

    assert (code, heard) == (4, ["one", "zw\u00f6lf"])


def test_what_takes_too_long_is_ended_with_what_it_has_started(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    program = script(
        """
        import subprocess, sys, pathlib
        child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
        pathlib.Path(sys.argv[1]).write_text(str(child.pid))
        child.wait()
        """,
        str(inner),
    )
    with pytest.raises(process.TookTooLong, match="did not end within 10 seconds"):
        process.run(program, os.environ, lambda _: None, deadline_s=10)
    until(lambda: is_gone(int(inner.read_text())))


def test_a_program_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="There is no program"):
        process.run([str(tmp_path / "nothing")], os.environ, lambda _: None, deadline_s=1)


@pytest.mark.parametrize(("outlives", "ends"), [(False, True), (True, False)])
def test_who_is_killed_takes_its_programs_along_unless_they_are_to_stay(
    tmp_path: Path, *, outlives: bool, ends: bool
) -> None:
    mark = str(tmp_path / "mark")
    parent = script(
        """
        import os, signal, sys
        from pathlib import Path
        from client_manager.gateways import process
        child = process.start(
            [sys.executable, "-c", "import signal; signal.pause()", "--of", sys.argv[1]],
            os.environ, Path(sys.argv[1] + ".log"), outlives=sys.argv[2] == "True",
        )
        print(child.pid, flush=True)
        signal.pause()
        """,
        mark,
        str(outlives),
    )
    started = subprocess.Popen(parent, stdout=subprocess.PIPE, text=True)
    assert started.stdout
    child = int(started.stdout.readline())
    try:
        until(lambda: process.started_with(("--of",), mark) == (child,))
        started.send_signal(signal.SIGKILL)
        started.wait(20)
        if ends:
            until(lambda: is_gone(child))
        else:
            assert process.started_with(("--of",), mark) == (child,)
    finally:
        started.stdout.close()
        process.end([child], within_s=10)
    assert process.started_with(("--of",), mark) == ()


def test_what_does_not_listen_is_killed() -> None:
    deaf = script("from signal import *; signal(SIGTERM, SIG_IGN); print('up', flush=True); pause()")
    with subprocess.Popen(deaf, stdout=subprocess.PIPE) as started:
        assert started.stdout
        started.stdout.readline()
        process.end([started.pid], within_s=0.2)
    assert is_gone(started.pid)


def test_only_the_row_of_arguments_counts(tmp_path: Path) -> None:
    path = str(tmp_path / "folder")
    with subprocess.Popen(script("import signal; signal.pause()", "node", "run", f"{path}/x")) as started:
        try:
            until(lambda: process.started_with(("node", "run"), path) == (started.pid,))
            assert process.started_with(("run", "node"), path) == ()
            assert process.started_with(("node",), path) == ()
            assert process.started_with(("node", "run"), f"{path}/y") == ()
        finally:
            started.kill()


def test_to_kill_nobody_is_said() -> None:
    with subprocess.Popen(["true"]) as ended:
        ended.wait(10)
    with pytest.raises(ClientManagerError, match=f"There is no process {ended.pid}"):
        process.kill(ended.pid)
