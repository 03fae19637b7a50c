"""Lets any thread wake one that waits for a descriptor."""

import socket
import threading
from dataclasses import dataclass, field


def _pair() -> tuple[socket.socket, socket.socket]:
    pair = socket.socketpair()
    for end in pair:
        end.settimeout(0)
    return pair


@dataclass
class Waker:
    """A pair of sockets; who waits listens to ``number``. Closed, it can still be called, by whoever is late."""

    _pair: tuple[socket.socket, socket.socket] = field(default_factory=_pair)
    _closed: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def number(self) -> int:
        """The descriptor that can be read when somebody has called."""
        return self._pair[0].fileno()

    def call(self) -> None:
        """Wake whoever waits, or will wait next."""
        with self._lock:
            if self._closed:
                return
            try:
                self._pair[1].send(b".")
            except BlockingIOError:  # so many calls wait unheard that one more says nothing new
                return

    def heard(self) -> None:
        """Forget all calls until now."""
        try:
            self._pair[0].recv(1 << 16)
        except BlockingIOError:  # it was not a call that has ended the wait
            return

    def close(self) -> None:
        """Give both sockets back."""
        with self._lock:
            self._closed = True
            for end in self._pair:
                end.close()
