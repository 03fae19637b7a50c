"""The live screen: one thread reads the database, one asks the nodes, and this one draws and heeds the keys."""

import os
import select
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from rich.live import Live
from rich.text import Text

from client_manager.errors import ClientManagerError
from client_manager.menu.session import Session
from client_manager.models.cluster import ClusterState, NodeOpinion
from client_manager.views.watch import Screen, Trouble, watch_screen

if TYPE_CHECKING:
    from client_manager.app import App

T = TypeVar("T")
Looks = Generator[T, None, None]
_DRAWN_EVERY_S: Final = 1.0
_FIRST_LOOK_S: Final = 0.1
# Nobody's network needs so long for one answer; from here on the picture counts as old.
_OLD_AFTER_S: Final = 4.0
# One that hangs is left behind; it ends with the program.
_LAST_WAIT_S: Final = 0.5
_PAPER: Final = Screen(160, 10_000, "Ctrl-C: leave")
_LEAVING: Final = frozenset({b"q", b"Q", b"\x1b", b""})


def states(app: "App", cluster: str) -> Looks[ClusterState]:
    """Look at a cluster again and again, over one connection; ends with the first error."""
    with app.sync_store() as store:
        while True:
            yield store.state(cluster)


class Reader(threading.Thread, Generic[T]):
    """Looks at something every now and then, so that one that hangs never holds up the screen."""

    def __init__(self, looks: Callable[[], Looks[T]], interval_s: float) -> None:
        super().__init__(daemon=True)
        self._looks = looks
        self._interval_s = interval_s
        self._ended = threading.Event()
        self._began = datetime.now(UTC), time.monotonic()
        self._latest: tuple[T, datetime, float] | None = None
        self._trouble: Trouble | None = None
        self._fault: Exception | None = None

    def run(self) -> None:
        """Look until it is told to end, again from the start after an error."""
        try:
            while not self._ended.is_set():
                with closing(self._looks()) as looks:
                    self._follow(looks)
                self._ended.wait(self._interval_s)
        except Exception as error:  # noqa: BLE001  the drawing thread raises it
            self._fault = error

    def _follow(self, looks: Looks[T]) -> None:
        try:
            for look in looks:
                self._latest, self._trouble = (look, datetime.now(UTC), time.monotonic()), None
                if self._ended.wait(self._interval_s):
                    return
        except ClientManagerError as error:
            self._trouble = Trouble(self._trouble.since if self._trouble else datetime.now(UTC), error.what)

    def end(self) -> None:
        """Look no more."""
        self._ended.set()

    @property
    def latest(self) -> tuple[T, datetime] | None:
        """What was seen last, and when.

        Raises:
            Exception: a fault of the program's own, which ended the looking.
        """
        if self._fault:
            raise self._fault
        return self._latest[:2] if self._latest else None

    @property
    def trouble(self) -> Trouble | None:
        """Why there is nothing newer; that nothing has come for long is trouble too."""
        if self._trouble:
            return self._trouble
        since, heard_at = self._latest[1:] if self._latest else self._began
        late = time.monotonic() - heard_at > _OLD_AFTER_S + self._interval_s
        return Trouble(since, "The database does not answer.") if late else None


class Watched:
    """A cluster that is looked at: its state by the database, and what its nodes say."""

    def __init__(
        self,
        state: Callable[[], Looks[ClusterState]],
        opinions: Callable[[], Looks[tuple[NodeOpinion, ...]]],
        interval_s: float,
    ) -> None:
        self.interval_s = interval_s
        self._states = Reader(state, interval_s)
        self._opinions = Reader(opinions, interval_s)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Look while the body runs."""
        for reader in (self._states, self._opinions):
            reader.start()
        try:
            yield
        finally:
            for reader in (self._states, self._opinions):
                reader.end()
            for reader in (self._states, self._opinions):
                reader.join(_LAST_WAIT_S)

    @property
    def is_first(self) -> bool:
        """Whether nothing has been seen yet."""
        return self._states.latest is None and self._states.trouble is None

    @property
    def seen(self) -> tuple[ClusterState, datetime] | None:
        """The latest state, and of when it is."""
        return self._states.latest

    @property
    def opinions(self) -> tuple[NodeOpinion, ...]:
        """What the nodes said last; nothing where that is old."""
        latest = self._opinions.latest
        return latest[0] if latest and self._opinions.trouble is None else ()

    @property
    def trouble(self) -> Trouble | None:
        """Why there is no newer state."""
        return self._states.trouble

    def screen(self, size: Screen) -> Text:
        """Return the screen as it is now."""
        return watch_screen(self.seen, self.opinions, self.trouble, datetime.now().astimezone(), size)


def watch(session: Session, watched: Watched) -> None:
    """Show a cluster until q or Ctrl-C; where the screen cannot be redrawn, one picture below the other."""
    try:
        with watched.going_on():
            if session.as_json:
                _print_objects(session, watched)
            elif session.console.is_terminal and not session.console.is_dumb_terminal and sys.stdin.isatty():
                _draw(session, watched)
            else:
                _print_pictures(session, watched)
    except KeyboardInterrupt:
        return


def _draw(session: Session, watched: Watched) -> None:
    console = session.console
    with _keys() as leaves, Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(watched.screen(Screen(console.width, console.height)), refresh=True)
            if leaves(_FIRST_LOOK_S if watched.is_first else min(_DRAWN_EVERY_S, watched.interval_s)):
                return


def _print_pictures(session: Session, watched: Watched) -> None:
    console = session.console
    size = Screen(console.width, console.height - 2, "Ctrl-C: leave") if console.is_terminal else _PAPER
    for _ in _when_new(watched):
        console.print(watched.screen(size), soft_wrap=True)
        console.print()


def _print_objects(session: Session, watched: Watched) -> None:
    for seen in _when_new(watched):
        trouble = watched.trouble
        session.line(
            state=seen[0] if seen else None,
            opinions=watched.opinions,
            read_at=seen[1].isoformat() if seen else None,
            problem=trouble.why if trouble else None,
        )


def _when_new(watched: Watched) -> Iterator[tuple[ClusterState, datetime] | None]:
    """Yield at every interval, for the first time when there is something to say."""
    while True:
        while watched.is_first:
            time.sleep(_FIRST_LOOK_S)
        yield watched.seen
        time.sleep(watched.interval_s)


@contextmanager
def _keys() -> Iterator[Callable[[float], bool]]:
    """Read single keys; gives a function that waits for one that leaves, and says whether it came."""
    stdin = sys.stdin.fileno()
    before = termios.tcgetattr(stdin)

    def leaves(within_s: float) -> bool:
        readable, _, _ = select.select([stdin], [], [], within_s)
        return bool(readable) and os.read(stdin, 64) in _LEAVING

    tty.setcbreak(stdin)
    try:
        yield leaves
    finally:
        # A terminal that is gone has nothing to be put back, and its end is what is told.
        with suppress(termios.error):
            # TCSAFLUSH throws away what was typed and not read: it would answer the next question.
            termios.tcsetattr(stdin, termios.TCSAFLUSH, before)
