"""A road to PostgreSQL that can go silent, as a cut cable does, or be cut off, as a firewall does that says so."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit, urlunsplit


class Road:
    """Forwards connections both ways. Silent, it holds back what it is given, and nobody at either end notices."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._flowing = _open()
        self._is_cut = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._forgotten: list[threading.Event] = []
        self._threads: list[threading.Thread] = []
        self.port = self._listener.getsockname()[1]
        self._start(self._accept)

    def silence(self) -> None:
        """For the connections that there are, and for new ones until it heals."""
        self._flowing.clear()

    def cut(self) -> None:
        """End every connection, and every new one."""
        self._is_cut = True
        self._end(self._sockets)

    def heal(self) -> None:
        """Let through again; what had been held back goes on."""
        self._is_cut = False
        self._flowing.set()

    def forget(self) -> None:
        """Let new connections through; those that fell silent stay so, until the end."""
        self._forgotten.append(self._flowing)
        self._flowing = _open()

    def close(self) -> None:
        for flowing in (self._flowing, *self._forgotten):
            flowing.set()
        self._end([self._listener, *self._sockets])
        for each in (self._listener, *self._sockets):
            each.close()
        for thread in self._threads:
            thread.join(5)

    def _start(self, action: object, *arguments: object) -> None:
        thread = threading.Thread(target=action, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self._is_cut:
                    client.close()
                    continue
                server = socket.create_connection(self._target)
                self._sockets += [client, server]
                self._start(self._forward, client, server, self._flowing)
                self._start(self._forward, server, client, self._flowing)

    def _forward(self, source: socket.socket, target: socket.socket, flowing: threading.Event) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                flowing.wait()
                target.sendall(data)
            flowing.wait()  # nor does the end of a connection get through
        self._end([source, target])

    @staticmethod
    def _end(sockets: list[socket.socket]) -> None:
        for each in list(sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def _open() -> threading.Event:
    flowing = threading.Event()
    flowing.set()
    return flowing


@contextmanager
def road_to(url: str) -> Iterator[tuple[Road, str]]:
    """Yield a road to the server of a URL, and the URL that leads over it."""
    parts = urlsplit(url)
    road = Road(parts.hostname or "", parts.port or 5432)
    user = parts.netloc.rpartition("@")[0]
    try:
        yield road, urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{road.port}"))
    finally:
        road.close()
