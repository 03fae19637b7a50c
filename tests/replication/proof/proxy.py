"""A road to PostgreSQL that breaks at a COMMIT, before it or after it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

_COMMIT = b"COMMIT\0"
_ANSWER = b"COMMIT\0"


class Road:
    """Forwards connections; ``break_at`` says what becomes of the next COMMIT."""

    def __init__(self, host: str, port: int) -> None:
        self.break_at: str | None = None
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = [self._listener]
        self._threads: list[threading.Thread] = []
        self.port = self._listener.getsockname()[1]
        self._start(self._accept)

    def close(self) -> None:
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
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
                server = socket.create_connection(self._target)
                self._sockets += [client, server]
                self._start(self._to_server, client, server)
                self._start(self._to_client, client, server)

    def _to_server(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                if self.break_at == "before" and _COMMIT in data:
                    self.break_at = None
                    break
                server.sendall(data)
        _cut(client, server)

    def _to_client(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                if self.break_at == "after" and _ANSWER in data:
                    self.break_at = None
                    break
                client.sendall(data)
        _cut(client, server)


def _cut(*sockets: socket.socket) -> None:
    for each in sockets:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


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
