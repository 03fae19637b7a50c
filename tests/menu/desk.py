"""An operator's place at a machine with a cluster."""

import gc
import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import StringIO
from typing import Any, Final

import pytest

from client_manager.app import App
from client_manager.menu import main
from client_manager.menu.prompts import Nobody
from client_manager.menu.session import Session
from client_manager.settings import Settings
from tests.menu.conftest import ENTER, Answer, Operator, Pick, Terminal
from tests.screen import console_on
from tests.waiting import until

EXIT: Final = Pick("Exit")
BACK: Final = Pick("Back")
YES: Final = f"y{ENTER}"


@dataclass
class Desk:
    """Where the menu is run, and what it shows is read."""

    app: App
    _terminal: Terminal | None = None
    screen: StringIO = field(default_factory=StringIO)

    @property
    def terminal(self) -> Terminal:
        assert self._terminal, "nobody can press keys here"
        return self._terminal

    def sit_down(self, *script: Answer) -> Operator:
        """Run the menu with a script that ends by leaving it."""
        operator = Operator(self.terminal, [*script])
        main.run(self.session(ask=operator, in_menu=True))
        assert not operator.script, f"these were not asked for: {operator.script}"
        return operator

    def session(self, **fields: Any) -> Session:
        console = console_on(self.screen)
        return Session(**{"app": self.app, "console": console, "ask": Nobody(), **fields})

    def without_database(self) -> None:
        """From now on nothing listens where the database was."""
        gone = Settings(database_url="postgresql://u:hunter2@127.0.0.1:9/x").database_url
        self.app = App(self.app.settings.model_copy(update={"database_url": gone}))

    @property
    def shown(self) -> str:
        """What was printed, in one line: where lines break is the width's business."""
        return " ".join(self.screen.getvalue().split())


def as_json(desk: Desk, capsys: pytest.CaptureFixture[str], action: Callable[[Session], object]) -> Any:
    """What a command prints with --json."""
    capsys.readouterr()
    action(desk.session(as_json=True, yes=True))
    return json.loads(capsys.readouterr().out)


@contextmanager
def meanwhile(act: Callable[[], object]) -> Iterator[None]:
    """Do something beside the body."""
    thread = threading.Thread(target=act)
    thread.start()
    try:
        yield
    finally:
        thread.join()


@contextmanager
def ctrl_c_when(condition: Callable[[], bool]) -> Iterator[None]:
    """Interrupt this process, as Ctrl-C does when nothing is asked, once something has happened.

    The signal goes to a thread beside the main one, as the kernel may choose: no call of the main thread ends by it.
    """

    def press() -> None:
        until(condition)
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    with meanwhile(press):
        yield
    gc.collect()  # what was interrupted may have left a socket, which is no other test's
