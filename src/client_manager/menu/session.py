"""A sitting of one operator: what is printed, who is asked, and how a long operation shows that it lives."""

import json
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from client_manager.app import App
from client_manager.errors import Cancelled
from client_manager.menu.prompts import Prompter
from client_manager.models.base import Model
from client_manager.views.text import plain

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from client_manager.deployment.health import Report


@dataclass(frozen=True)
class Session:
    """What every action of a menu or a command needs.

    Attributes:
        yes: ordinary confirmations count as given.
        dry_run: show what would be done, and do nothing.
        as_json: results go to the standard output as JSON, progress to the standard error as JSON lines.
        in_menu: show the equivalent command after an action.
    """

    app: App
    console: "Console"
    ask: Prompter
    yes: bool = False
    dry_run: bool = False
    as_json: bool = False
    in_menu: bool = False

    def show(self, renderable: "RenderableType") -> None:
        """Print something for a person; nothing with ``as_json``."""
        if not self.as_json:
            self.console.print(renderable)

    def say(self, text: str, style: str = "") -> None:
        """Print a line for a person, as plain text."""
        self.show(Text(plain(text), style=style))

    def result(self, **fields: Model | Sequence[Model] | object) -> None:
        """Print a result for a program; nothing without ``as_json``."""
        if self.as_json:
            print(json.dumps({name: _jsonable(value) for name, value in fields.items()}, indent=2))  # noqa: T201

    def line(self, **fields: Model | Sequence[Model] | object) -> None:
        """Print one of many results for a program: one object a line, at once; nothing without ``as_json``."""
        if self.as_json:
            print(json.dumps({name: _jsonable(value) for name, value in fields.items()}), flush=True)  # noqa: T201

    def confirm(self, question: str) -> None:
        """Return if the operator agrees.

        Raises:
            Cancelled: they do not.
            NoAnswer: nobody is there, and ``yes`` was not given.
        """
        if not self.yes and not self.ask.yes_no(question):
            raise Cancelled("Nothing was done.")

    def equivalent(self, *words: str) -> None:
        """Show the command that does what was just done in a menu."""
        if self.in_menu:
            self.show(Text.assemble(("The same as a command: ", "quiet"), shlex.join(["client-manager", *words])))

    @contextmanager
    def working(self) -> Iterator["Report"]:
        """Give a long operation somewhere to report to: a live line, plain lines, or JSON lines."""
        from client_manager.menu import progress

        with progress.drawn_on(self.console, as_json=self.as_json) as report:
            yield report


def _jsonable(value: object) -> object:
    if isinstance(value, Model):
        return value.model_dump(mode="json")
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    return value
