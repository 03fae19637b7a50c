"""The API's socket and its thread: uvicorn without signal handlers and without a log of its own."""

import logging
import socket
import threading
from typing import Final

import uvicorn
from fastapi import FastAPI

from client_manager.errors import Conflict
from client_manager.models.cluster import ClusterSpec, NodeName

_LOOPBACK: Final = "127.0.0.1"
_EVERYWHERE: Final = "0.0.0.0"  # noqa: S104  of the container's own network; Docker publishes it on the loopback only
_BACKLOG: Final = 64
_MOST_REQUESTS: Final = 64
_LAST_ANSWERS_S: Final = 2


class HttpServer:
    """Listens from the moment that it is made; answers from ``run`` on."""

    def __init__(self, app: FastAPI, spec: ClusterSpec, name: NodeName) -> None:
        """Take the port.

        Raises:
            Conflict: another process has it.
        """
        self.host = _LOOPBACK if spec.network == "host" else _EVERYWHERE
        self.port = spec.ports[name]
        self._socket = _listening(self.host, self.port)
        config = uvicorn.Config(
            app,
            http="h11",
            loop="asyncio",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=_MOST_REQUESTS,
            timeout_graceful_shutdown=_LAST_ANSWERS_S,
        )
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
        self._server = uvicorn.Server(config)

    def run(self, stop: threading.Event) -> None:
        """Answer until ``end`` is called; ``stop`` is what it sets."""
        del stop
        self._server.run(sockets=[self._socket])

    def end(self) -> None:
        """Finish the answers under way, and take no more requests."""
        self._server.should_exit = True

    def close(self) -> None:
        """Give the port back, where ``run`` was never called."""
        self._socket.close()


def _listening(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), backlog=_BACKLOG)
    except OSError as error:
        raise Conflict(
            f"The port {port} cannot be listened on.",
            why=error.strerror or type(error).__name__,
            hint="Stop what has it ('ss -ltnp'), or give the node another port in cluster.json.",
        ) from error
