"""One client of this node: where its database is, its engine, and one run of it."""

import resource
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from uuid import UUID

from client_manager.errors import Blocked, Cancelled, ClientManagerError, Conflict, Unavailable
from client_manager.gateways.database import Database
from client_manager.gateways.job_store import JobStore
from client_manager.models.replication import RunResult, VerifyResult
from client_manager.models.work import RunKind, RunOutcome
from client_manager.node import folders
from client_manager.node.identity import Identity
from client_manager.replication.engine import Engine, Options
from client_manager.replication.steps import Interrupt
from client_manager.replication.trouble import Fenced

_BY: Final = "scheduler"
_FULL: Final = "full"
_VERIFY: Final = "verify"
# What SQLite reads as part of a database: https://www.sqlite.org/tempfiles.html
_PARTS: Final = ("", "-wal", "-shm", "-journal")


@dataclass(frozen=True)
class Order:
    """What is to be done with a client.

    Attributes:
        term: under which it is done.
        interrupt: as ``Engine.run`` has it.
        job_id: of the waiting job that is worked off; None: it is the client's time.
    """

    term: int
    interrupt: Interrupt
    kind: RunKind = "sync"
    job_id: UUID | None = None


@dataclass(frozen=True)
class Ended:
    """How it went.

    Attributes:
        again: whether it failed by what may pass by itself.
        problem: why it failed, in words; never a tenant's.
        error_type: of it.
        left_open: the job could not be ended, and is to be, with this status.
    """

    outcome: RunOutcome
    seconds: float = 0.0
    again: bool = False
    problem: str = ""
    error_type: str = ""
    result: RunResult | VerifyResult | None = None
    left_open: bool = False

    @property
    def fields(self) -> dict[str, object]:
        """What became of it, for logs and metrics."""
        return {
            "status": self.outcome,
            "seconds": round(self.seconds, 3),
            **self.figures,
            "error_type": self.error_type,
            "error": self.problem,
        }

    @property
    def figures(self) -> dict[str, object]:
        """What it did, for logs and metrics."""
        result = self.result
        if isinstance(result, RunResult):
            return {
                "level": result.level,
                "tables": result.tables,
                "rows": result.inserted + result.updated + result.deleted,
                "bytes": result.bytes,
                "quarantined": result.quarantined,
                "missed": result.missed,
            }
        if isinstance(result, VerifyResult):
            return {"differences": len(result.differences), "healed": result.healed, "rows": result.rows}
        return {}


@dataclass
class Runner:
    """One client. Its source stays open between runs; one thread uses it at a time.

    Attributes:
        config: of its deployment; ``sqlite_path``, where given, says where its database is.
    """

    identity: Identity
    database: Database
    client: str
    config: Mapping[str, object]
    _engine: Engine | None = field(default=None, init=False)
    _folder: Path | None = field(default=None, init=False)

    def close(self) -> None:
        """Give the source's descriptors back."""
        if self._engine is not None:
            self._engine.close()
        self._engine = self._folder = None

    def stands_at(self, generation: int, token: str | None) -> bool:
        """Say whether this machine has the baseline of this state of the replica."""
        folder = folders.newest(self.identity.client_state(self.client))
        if folder is None:
            return False
        try:
            return self._opened(folder).stands_at(generation, token)
        except Blocked:
            return False  # the run says why

    def is_idle(self) -> bool:
        """Say whether the source is what it was at the last run; some microseconds, and no query."""
        return self._engine is not None and self._engine.is_idle()

    def carry_out(self, order: Order) -> Ended:
        """Do what is ordered; whatever goes wrong stays this client's matter."""
        began = time.monotonic()
        try:
            result = self._result(order)
        except Exception as error:  # noqa: BLE001  a client that nobody foresaw must not stop the others
            return self._failed(order, error, time.monotonic() - began)
        seconds = time.monotonic() - began
        return Ended("success" if result else "skipped", seconds, result=result)

    def _result(self, order: Order) -> RunResult | VerifyResult | None:
        folder = folders.choose(self.identity.client_state(self.client))
        full, verify = False, order.kind == "verify"
        if order.job_id is not None:
            with self._store() as store:
                job = store.claim(order.job_id, self.client, order.term)
            if job is None:
                return None
            full, verify = job.sync_type == _FULL, job.sync_type == _VERIFY
        engine = self._opened(folder)

        def interrupt() -> None:
            order.interrupt()
            self.source()

        interrupt()
        if verify:
            return self._verified(engine.verify(term=order.term, within=order.job_id, interrupt=interrupt), order)
        return engine.run(full=full, term=order.term, job_id=order.job_id, interrupt=interrupt)

    def _verified(self, result: VerifyResult, order: Order) -> VerifyResult:
        """Write down what a comparison that was asked for has found; others leave their conflicts only."""
        if order.job_id is not None:
            with self._store() as store:
                store.finish_verification(order.job_id, order.term, result)
        return result

    def _failed(self, order: Order, error: Exception, seconds: float) -> Ended:
        outcome: RunOutcome = "failed"
        if isinstance(error, Cancelled):
            outcome = "cancelled"
        elif isinstance(error, Fenced) and self._is_deposed(order):
            return Ended("fenced", seconds, problem=_words(error), error_type=type(error).__name__)
        ended = Ended(
            outcome,
            seconds,
            again=isinstance(error, Unavailable | Conflict),
            problem=_words(error),
            error_type=type(error).__name__,
        )
        return ended if self._ended_job(order, ended) else replace(ended, left_open=True)

    def _is_deposed(self, order: Order) -> bool:
        """Whether the lead is gone, and the job with it; else somebody else has replicated this one client."""
        try:
            order.interrupt()
        except Fenced:
            return True
        except ClientManagerError:
            return False
        return False

    def _ended_job(self, order: Order, ended: Ended) -> bool:
        """End the job where the engine has not; False where PostgreSQL does not answer."""
        if order.job_id is None:
            return True
        try:
            with self._store() as store:
                store.end(order.job_id, order.term, ended.outcome, ended.problem)
        except ClientManagerError:
            return False
        return True

    @contextmanager
    def _store(self) -> Iterator[JobStore]:
        identity = self.identity
        with self.database.connect() as connection:
            yield JobStore(connection, identity.cluster, identity.name, identity.node_id)

    def _opened(self, folder: Path) -> Engine:
        if self._engine is None or self._folder != folder:
            self.close()
            self._engine = Engine(
                self.source(),
                self.client,
                database=self.database,
                state_dir=folder,
                options=Options(triggered_by=_BY, node_name=self.identity.name),
            )
            self._folder = folder
        return self._engine

    def source(self) -> Path:
        """Return where the client's database is.

        Raises:
            Blocked: it would be another's: outside the data root, or reached through a link that leaves its folder.
        """
        root = self.identity.spec.data_root
        given = self.config.get("sqlite_path")
        path = root / self.client / "data" / "webui.db" if given is None else Path(str(given))
        reason = _unfit(path, root)
        if reason:
            raise Blocked(
                f"The database of {self.client} is not read from {path}.",
                why=f"{reason} What is read there would become this client's replica.",
                hint=f"Put the file itself there, or correct sqlite_path: client-manager sync register {self.client}.",
            )
        return path


def _unfit(path: Path, root: Path) -> str:
    """Return why a path is refused; empty: it is not."""
    if ".." in path.parts or not path.is_relative_to(root) or path == root:
        return f"It is not inside {root}."
    inside = path.relative_to(root)
    if inside.parts[0].startswith("."):
        return f"{root / inside.parts[0]} belongs to the console itself."
    own = root.resolve() / inside.parts[0]
    for part in _PARTS:
        led_to = path.with_name(path.name + part).resolve()
        if not led_to.is_relative_to(own):
            return f"{path.name}{part} is a link to {led_to}, outside of {own}."
    return ""


def _words(error: Exception) -> str:
    """Return what may be shown of an error; the text of one that is not ours could hold a tenant's row."""
    if not isinstance(error, ClientManagerError):
        return type(error).__name__
    return f"{error.what} {error.why}".strip()


def allow_many_files() -> None:
    """Raise the limit of open files: every client keeps two open, and a container may begin with room for 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
