"""The network line of a connection, which is cut when an answer does not come in time.

``statement_timeout`` is the server's, and a server that hangs, or is gone, ends nothing; libpq would wait for as long
as the network keeps the connection (psycopg/psycopg2#1017).
"""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

from client_manager.errors import Unavailable


class Line:
    """The socket under a connection; a duplicate, so that another file that gets its number later is not hit."""

    def __init__(self, connection: psycopg.Connection[Any], where: str) -> None:
        self._socket = socket.socket(fileno=os.dup(connection.fileno()))
        self._where = where
        self._is_cut = False

    def close(self) -> None:
        """Give the duplicate back."""
        self._socket.close()

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Bound what the body waits for the server.

        Raises:
            Unavailable: it did not answer in time; the connection is of no use any more.
        """
        timer = threading.Timer(seconds, self._cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        except psycopg.OperationalError:
            if not self._is_cut:
                raise
            raise Unavailable(
                f"PostgreSQL at {self._where} did not answer in time.",
                why=f"There was no answer for {seconds:.1f} s.",
                hint="Look whether the server runs, and at the network between.",
            ) from None
        finally:
            timer.cancel()

    def _cut(self) -> None:
        self._is_cut = True
        with suppress(OSError):  # the server was faster
            self._socket.shutdown(socket.SHUT_RDWR)
