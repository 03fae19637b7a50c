"""This machine: its ports, its disk, its routes, and who is at the keyboard."""

import errno
import getpass
import ipaddress
import os
import resource
import shutil
import socket
from pathlib import Path

from client_manager.errors import ClientManagerError, Unavailable


def port_is_free(port: int) -> bool:
    """Say whether a program could listen on 127.0.0.1 at this port now.

    Raises:
        ClientManagerError: the kernel answers neither yes nor no.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Without this a port in TIME_WAIT counts as taken; with it, one that somebody listens on still does.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise ClientManagerError(f"Port {port} cannot be tried.", why=error.strerror or str(error)) from error
    return True


def free_bytes(folder: Path) -> int:
    """Return how many bytes the folder's disk can still take; the nearest existing parent counts."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(existing).free


def routes() -> tuple[ipaddress.IPv4Network, ...]:
    """Return the networks that this machine routes to, the default route left out (proc(5), /proc/net/route)."""
    table = Path("/proc/net/route")
    if not table.is_file():
        return ()
    rows = (line.split() for line in table.read_text(encoding="ascii").splitlines()[1:])
    found = (ipaddress.ip_network((_little_endian(row[1]), _prefix(row[7]))) for row in rows)
    return tuple(network for network in found if isinstance(network, ipaddress.IPv4Network) and network.prefixlen)


def _little_endian(text: str) -> int:
    return int.from_bytes(bytes.fromhex(text), "little")


def _prefix(mask: str) -> int:
    return _little_endian(mask).bit_count()


def operator() -> str:
    """Return who is at work and from where, for the journal and for locks: ``ada from 192.0.2.7``."""
    name = os.environ.get("SUDO_USER") or _account()
    source = os.environ.get("SSH_CONNECTION", "").split(" ")[0]
    return f"{name} from {source}" if source else name


def _account() -> str:
    """Return who this process runs as; in a container the number has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the first before Python 3.13
        return f"uid {os.getuid()}"


def open_files() -> int:
    """Return how many files a program of this machine may have open; Docker cannot give a container more."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def has_ipv4(name: str) -> bool:
    """Say whether a host's name has an address of the fourth version, by which a container's network reaches it.

    Raises:
        Unavailable: the name has no address at all.
    """
    try:
        found = socket.getaddrinfo(name, None, proto=socket.IPPROTO_TCP)
    except OSError as error:
        raise Unavailable(
            f"{name} has no address.", why=str(error.strerror or error), hint="Check the name, and this machine's DNS."
        ) from error
    return any(family == socket.AF_INET for family, *_ in found)


def name() -> str:
    """Return what this machine is called."""
    return socket.gethostname()
