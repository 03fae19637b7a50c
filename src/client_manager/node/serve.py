"""The node's process: its threads, how they begin, and how they end."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Final, NoReturn

from pydantic import ValidationError

from client_manager import __version__
from client_manager.errors import ConfigurationError, ExitCode
from client_manager.gateways.database import Database
from client_manager.models.base import parse
from client_manager.models.cluster import ClusterFolder, ClusterSpec, NodeName
from client_manager.node import logs
from client_manager.node.api import Api, make_app
from client_manager.node.election import Election
from client_manager.node.health import Vitals
from client_manager.node.http_server import HttpServer
from client_manager.node.identity import Identity
from client_manager.node.leadership import Leadership
from client_manager.node.metrics import Metrics
from client_manager.node.scheduler import Scheduler
from client_manager.node.secret_values import SecretValues
from client_manager.node.watched_file import WatchedFile

_ENDING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# What a stop may take: the election drains the scheduler and hands over; what is left of the runs is broken off.
_HAND_OVER_S: Final = 20.0
_BREAK_OFF_S: Final = 10.0
_LAST_ANSWERS_S: Final = 4.0
_API_TIMEOUT_S: Final = 3.0
_LOOK_S: Final = 0.2  # how soon a signal is heard that the kernel gave to another thread
_REDEPLOY: Final = "Deploy the cluster again: client-manager cluster deploy NAME."

Run = Callable[[threading.Event], None]


def run_node(cluster_folder: Path, node_name: str, port_file: Path | None = None) -> None:
    """Be a sync node until SIGTERM, SIGINT or SIGHUP; then hand the lead over and return.

    PostgreSQL need not answer, nor be migrated: the node waits, and ``/health`` says for what. A thread that ends by a
    bug ends the process with 70; the log has the traceback.

    Args:
        cluster_folder: with ``cluster.json``, ``database.url``, ``token`` and ``state/``.
        node_name: ``sync-node-a`` or ``sync-node-b``.
        port_file: where the port of the API is written, for the container's health check.

    Raises:
        InvalidInput: there is no such node.
        ConfigurationError: a file is missing, cannot be read, or is not what it should be.
        Conflict: the API's port is taken.
    """
    folder = ClusterFolder(path=cluster_folder)
    name: NodeName = parse(NodeName, node_name, what="name of a node")
    identity = Identity(_read_spec(folder.spec), folder, name)
    node = _Node.assembled(identity)
    if port_file is not None:
        port_file.write_text(str(node.server.port), encoding="ascii")
    node.run()


@dataclass
class _Thread:
    """A part of the node, in a thread that must not end by itself."""

    name: str
    target: Run
    stop: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread = field(init=False)

    def start(self, ended: Callable[[str, BaseException | None], None]) -> None:
        self.thread = threading.Thread(target=self._guarded, args=(ended,), name=self.name, daemon=True)
        self.thread.start()

    def _guarded(self, ended: Callable[[str, BaseException | None], None]) -> None:
        try:
            self.target(self.stop)
        except BaseException as error:  # noqa: BLE001  whatever it is, the process ends with it
            ended(self.name, error)
            return
        if not self.stop.is_set():
            ended(self.name, None)

    def end(self, within_s: float) -> None:
        self.stop.set()
        self.thread.join(within_s)


@dataclass
class _Node:
    """The parts of a node."""

    vitals: Vitals
    server: HttpServer
    election: _Thread
    scheduler: _Thread
    api: _Thread
    # Its put() may be called from a signal handler, in the middle of anything (docs.python.org, queue.SimpleQueue).
    _ends: "SimpleQueue[str]" = field(default_factory=SimpleQueue)
    _failed: bool = False

    @classmethod
    def assembled(cls, identity: Identity) -> "_Node":
        """Read the files, take the port, and put the parts together."""
        token, url = WatchedFile(identity.folder.token), WatchedFile(identity.folder.database_url)
        _require_token(token)
        database = Database(url.path, application_name=identity.node_id)
        # A name of its own: what an operator asks for is not cut off with a deposed leader's sessions.
        asking = Database(url.path, application_name=f"{identity.node_id} api", connect_timeout_s=_API_TIMEOUT_S)
        leadership = Leadership()
        vitals = Vitals(identity, leadership)
        logs.set_up(SecretValues(token, url), lambda: _context(identity, leadership))
        told = _Hub()
        scheduler = Scheduler(identity, database, leadership, told=told)
        election = Election(identity, database, leadership, drain=scheduler.drain, told=told)
        metrics = Metrics(vitals, scheduler.snapshot)
        vitals.ask_last_sync = scheduler.last_sync
        told.listeners = (logs.hear, vitals.hear, metrics.hear)
        server = HttpServer(make_app(Api(vitals, asking, metrics), token), identity.spec, identity.name)
        return cls(
            vitals,
            server,
            _Thread("election", election.run),
            _Thread("scheduler", scheduler.run),
            _Thread("api", server.run),
        )

    def run(self) -> None:
        """Start everything, wait for the end, end everything."""
        for number in _ENDING:
            signal.signal(number, self._on_signal)
        threading.excepthook = self._on_stray
        logs.tell("started", {"version": __version__, "listens": f"{self.server.host}:{self.server.port}"})
        for part in (self.api, self.scheduler, self.election):
            part.start(self._on_end)
        reason = self._end()
        if self._failed:
            _leave(ExitCode.BUG)
        self._stop(reason)

    def _end(self) -> str:
        """Wait for a reason to end.

        Python runs a signal's handler in this thread only, and not while it sleeps in C; the kernel wakes another one
        where it gives the signal to that.
        """
        while True:
            with suppress(Empty):
                return self._ends.get(timeout=_LOOK_S)

    def _stop(self, reason: str) -> None:
        began = time.monotonic()
        logs.tell("stopping", {"reason": reason})
        self.election.end(_HAND_OVER_S)
        self.scheduler.end(_BREAK_OFF_S)
        self.server.end()
        self.api.end(_LAST_ANSWERS_S)
        left = [part.name for part in (self.election, self.scheduler, self.api) if part.thread.is_alive()]
        logs.tell(
            "stopped",
            {"seconds": round(time.monotonic() - began, 3), "left_behind": left},
            logging.WARNING if left else logging.INFO,
        )
        if self._failed or left:
            _leave(ExitCode.BUG if self._failed else ExitCode.OK)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._ends.put(signal.Signals(number).name)

    def _on_end(self, name: str, error: BaseException | None) -> None:
        self.vitals.thread_ended(name)
        logs.tell_bug("thread_ended", error or RuntimeError("It returned without being told to."), thread=name)
        self._failed = True
        self._ends.put(name)

    def _on_stray(self, died: threading.ExceptHookArgs) -> None:
        self._on_end(died.thread.name if died.thread else "?", died.exc_value or died.exc_type())


class _Hub:
    """Passes an event on to everybody who listens."""

    def __init__(self) -> None:
        self.listeners: tuple[Callable[[str, Mapping[str, object]], None], ...] = ()

    def __call__(self, event: str, fields: Mapping[str, object]) -> None:
        for listener in self.listeners:
            listener(event, fields)


def _context(identity: Identity, leadership: Leadership) -> Mapping[str, object]:
    return {"node": identity.name, "cluster": identity.cluster, "term": leadership.view.term}


def _read_spec(path: Path) -> ClusterSpec:
    try:
        return ClusterSpec.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read.", why=error.strerror or type(error).__name__, hint=_REDEPLOY
        ) from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise ConfigurationError(f"{path} is not what it should be.", why=faults, hint=_REDEPLOY) from None


def _require_token(token: WatchedFile) -> None:
    try:
        text = token.text()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigurationError(f"{token.path} cannot be read.", why=why, hint=_REDEPLOY) from error
    if not text:
        raise ConfigurationError(f"{token.path} is empty.", why="The API would let nobody in.", hint=_REDEPLOY)


def _leave(code: ExitCode) -> NoReturn:
    """End at once: threads that hang would hold up an orderly end, and with it the successor of this node."""
    logging.shutdown()
    os._exit(code)
