"""Ports of this machine that nobody has at this moment."""

import os
import secrets
import socket
from contextlib import ExitStack


def window(size: int) -> int:
    """The first of so many ports that are this process's alone, below those that the kernel gives to connections."""
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return 20000 + process % 4 * 2000 + secrets.randbelow(2000 // size) * size


def free_port() -> int:
    """One such port."""
    return free_ports(1)[0]


def free_pair() -> tuple[int, int]:
    """Two of them, as a cluster's nodes need."""
    first, second = free_ports(2)
    return first, second


def free_ports(count: int) -> list[int]:
    """So many of them, all different."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(probe.getsockname()[1]) for probe in probes]
