"""Other programs: each started in a group of its own, held to a deadline, and ended with all that it has started."""

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

from client_manager.errors import ClientManagerError, NotFound
from client_manager.gateways import interrupts

Hear = Callable[[str], None]
Running = subprocess.Popen[bytes]

_PROCESSES: Final = Path("/proc")
_PR_SET_PDEATHSIG: Final = 1  # prctl(2)
_LIBC: Final = ctypes.CDLL(None) if sys.platform == "linux" else None
# What a command may take to take back what it was doing.
_GRACE_S: Final = 60.0
_LOOK_S: Final = 0.02
_CHUNK: Final = 65536


class TookTooLong(ClientManagerError):
    """A program did not end within its deadline, and was killed."""


def run(command: Sequence[str], environment: Mapping[str, str], hear: Hear, *, deadline_s: float) -> int:
    """Run a program and return its exit code; its output and its complaints are heard line by line, as they come.

    What interrupts this ends the program politely first, so that it takes back what it was doing. Should this process
    be killed, the program is told to end.

    Raises:
        NotFound: there is no such program.
        TookTooLong: it did not end within ``deadline_s`` seconds, and is gone.
    """
    child = _started(command, environment, subprocess.PIPE, outlives=False)
    try:
        for line in _lines(child, time.monotonic() + deadline_s):
            hear(line)
        return child.wait(_GRACE_S)
    except (TimeoutError, subprocess.TimeoutExpired):
        raise TookTooLong(
            f"{command[0]} did not end within {deadline_s:.0f} seconds.",
            why="It was killed.",
            hint="Look whether the machine is short of memory or of CPU, then try again.",
        ) from None
    finally:
        with interrupts.deferred():
            _end(child)
        if child.stdout:
            child.stdout.close()


def start(command: Sequence[str], environment: Mapping[str, str], log: Path, *, outlives: bool) -> Running:
    """Start a program that goes on by itself, its output added to a file.

    Args:
        command: the program and its arguments.
        environment: its variables.
        log: the file.
        outlives: whether it goes on when this process is gone; else it is told to end then.

    Raises:
        NotFound: there is no such program.
    """
    with log.open("ab") as file:
        return _started(command, environment, file, outlives=outlives)


def started_with(arguments: Sequence[str], then: str) -> tuple[int, ...]:
    """Return the processes of this machine that were started with these arguments in a row (proc(5), cmdline).

    Args:
        arguments: the row.
        then: how the argument after them begins.
    """
    wanted = [os.fsencode(argument) for argument in arguments]
    return tuple(number for number, words in _each("cmdline") if _contains(words, wanted, os.fsencode(then)))


def with_variable(name: str, value: str) -> tuple[int, ...]:
    """Return the processes of this user, of root all, that were started with a variable set so (proc(5), environ)."""
    wanted = os.fsencode(f"{name}={value}")
    return tuple(number for number, words in _each("environ") if wanted in words)


def working_in(folder: Path, programs: Collection[str]) -> tuple[int, ...]:
    """Return the processes of these programs that work in a folder, or in one below it (proc(5), comm and cwd)."""
    return tuple(
        number for number, name, place in _working_directories() if name in programs and place.is_relative_to(folder)
    )


def _working_directories() -> Iterator[tuple[int, str, Path]]:
    for process in _PROCESSES.iterdir():
        if process.name.isdecimal():
            try:
                name = (process / "comm").read_text(encoding="utf-8", errors="replace").rstrip("\n")
                yield int(process.name), name, (process / "cwd").readlink()
            except (FileNotFoundError, ProcessLookupError, PermissionError):  # ended meanwhile, or another user's
                continue


def _each(file: str) -> Iterator[tuple[int, list[bytes]]]:
    """Yield what the kernel tells of every process in one of its files; what is not ours to read is not ours."""
    for folder in _PROCESSES.iterdir():
        if folder.name.isdecimal():
            try:
                yield int(folder.name), (folder / file).read_bytes().split(b"\0")
            except (FileNotFoundError, ProcessLookupError, PermissionError):  # or it has ended meanwhile
                continue


def _contains(words: list[bytes], row: list[bytes], then: bytes) -> bool:
    starts = range(len(words) - len(row))
    return any(words[at : at + len(row)] == row and words[at + len(row)].startswith(then) for at in starts)


def kill(number: int) -> None:
    """Kill a process as ``kill -9`` does.

    Raises:
        NotFound: there is no such process.
    """
    try:
        os.kill(number, signal.SIGKILL)
    except ProcessLookupError as error:
        raise NotFound(f"There is no process {number}.") from error


def end(numbers: Iterable[int], *, within_s: float) -> None:
    """End processes politely, and kill those that are still there after ``within_s`` seconds.

    Raises:
        ClientManagerError: one is still there.
    """
    left = set(numbers)
    for how, patience_s in ((signal.SIGTERM, within_s), (signal.SIGKILL, within_s)):
        for number in left:
            _send(number, how)
        left = _still_there(left, patience_s)
    if left:
        raise ClientManagerError(
            f"The processes {', '.join(map(str, sorted(left)))} do not end.",
            why="They were killed, and are still there.",
            hint="'ps' shows what they wait for.",
        )


def _send(number: int, how: signal.Signals) -> None:
    try:
        os.kill(number, how)
    except ProcessLookupError:  # it has ended meanwhile, which is what was wanted
        return
    except PermissionError as error:
        raise ClientManagerError(f"The process {number} is another user's.", hint="Repeat this as root.") from error


def _still_there(numbers: set[int], within_s: float) -> set[int]:
    deadline, left = time.monotonic() + within_s, set(numbers)
    while left := {number for number in left if _lives(number)}:
        if time.monotonic() > deadline:
            break
        time.sleep(_LOOK_S)
    return left


def _lives(number: int) -> bool:
    """Say whether a process runs; one that has ended is kept by the kernel until its parent asks how."""
    try:
        if os.waitpid(number, os.WNOHANG)[0]:
            return False
    except ChildProcessError:  # not a child of this process
        pass
    try:
        status = (_PROCESSES / str(number) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in {"Z", "X"}


def _started(
    command: Sequence[str], environment: Mapping[str, str], output: "int | IO[bytes]", *, outlives: bool
) -> Running:
    try:
        return subprocess.Popen(  # noqa: S603  the caller's words, and no shell
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=None if outlives else _following(os.getpid()),  # noqa: PLW1509  it calls nothing but the kernel
        )
    except FileNotFoundError as error:
        raise NotFound(f"There is no program {command[0]}.") from error


def _following(parent: int) -> Callable[[], Any]:
    """Return what lets a new process be told to end when its parent is gone, however that happens."""

    def follow() -> None:
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
            if os.getppid() != parent:  # it was gone before that
                os._exit(1)

    return follow


def _lines(child: Running, deadline: float) -> Iterator[str]:
    """Yield what a program writes, until it has closed its output."""
    if child.stdout is None:
        raise AssertionError
    pending = b""
    while True:
        ready, _, _ = select.select([child.stdout], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError
        chunk = os.read(child.stdout.fileno(), _CHUNK)
        *whole, pending = (pending + chunk).split(b"\n")
        yield from (line.decode(errors="replace").rstrip("\r") for line in whole)
        if not chunk:
            break
    if pending:
        yield pending.decode(errors="replace")


def _end(child: Running) -> None:
    """Let nothing of a program go on: it and its group are told to end, and killed where they do not."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGTERM)
        try:
            child.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait(_GRACE_S)
