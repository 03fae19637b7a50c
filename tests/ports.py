"""Ports of this machine that are this process's alone, below those that the kernel gives to whoever names none."""

import os
import secrets
import socket
from typing import Final

_PROCESS: Final = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4
_FIRST: Final = 20000 + _PROCESS * 2000
_IN_WINDOWS: Final = 1500
_SINGLE: Final = 500
_single_at = secrets.randbelow(_SINGLE)


def window(size: int) -> int:
    """The first of so many of them."""
    return _FIRST + secrets.randbelow(_IN_WINDOWS // size) * size


def free_port() -> int:
    """One that nobody listens at, and that is not given again soon."""
    return free_ports(1)[0]


def free_pair() -> tuple[int, int]:
    """Two of them, as a cluster's nodes need."""
    first, second = free_ports(2)
    return first, second


def free_ports(count: int) -> list[int]:
    """So many of them, all different."""
    global _single_at  # noqa: PLW0603  one row of ports for the whole process
    found: list[int] = []
    while len(found) < count:
        port = _FIRST + _IN_WINDOWS + _single_at % _SINGLE
        _single_at += 1
        try:
            socket.create_server(("", port)).close()
        except OSError:
            continue
        found.append(port)
    return found
