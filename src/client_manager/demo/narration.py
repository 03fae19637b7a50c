"""What the demo says: for every act its heading, what is typed, what that answers, and what a look has found."""

import re
import shlex
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from client_manager.menu.session import Session
from client_manager.views.text import plain

WIDTH: Final = 80
_PROGRAM: Final = "client-manager"
_MARGIN: Final = "   "
_GAPS: Final = re.compile(r" {3,}")


@dataclass
class Narrator:
    """Speaks to a person in lines of at most 80 columns, on a terminal and into a pipe the same."""

    session: Session
    acts: int = 0

    def act(self, title: str) -> None:
        """Begin an act."""
        self.acts += 1
        self._print("")
        self._print(f"{self.acts}. {title}", "heading")

    def tell(self, text: str, style: str = "") -> None:
        """Say something, folded."""
        for line in _folded(text, _MARGIN, _MARGIN):
            self._print(line, style)

    def says(self, text: str, style: str = "") -> None:
        """Say something that belongs to no act."""
        for line in _folded(text, "", ""):
            self._print(line, style)

    def typed(self, words: Sequence[str], *, goes_on: bool = False) -> None:
        """Show a command as it is typed, in lines that can be copied; ``goes_on``: behind the shell's back."""
        lines = [f"{_MARGIN}$"]
        for word in map(shlex.quote, words):
            if len(lines[-1]) + len(word) > WIDTH - 3:
                lines[-1] += " \\"
                lines.append(f"{_MARGIN}   ")
            lines[-1] += f" {word}"
        lines[-1] += " &" if goes_on else ""
        for line in lines:
            self._print(line, "heading")

    def answered(self, line: str) -> None:
        """Show a line of what a command answers, folded where it is too long."""
        text = plain(line).rstrip().expandtabs()
        indent = _MARGIN + " " * (len(text) - len(text.lstrip()))
        said = text.strip()
        if len(indent) + len(said) > WIDTH:
            said = _GAPS.sub("  ", said)  # of a table, whose columns are wider than what is in them
        for part in _folded(said, indent, f"{indent}  "):
            self._print(part)

    def looked(self, text: str) -> None:
        """Say what an independent look has found, which is what the act has proven."""
        for line in _folded(f"Looked: {text}", _MARGIN, f"{_MARGIN}        "):
            self._print(line, "good")

    def _print(self, line: str, style: str = "") -> None:
        self.session.say(line, style)


def _folded(text: str, first: str, others: str) -> list[str]:
    """Return text in lines of the demo's width; what is one word, like a path, is never broken."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [""]


def command(*words: str) -> tuple[str, ...]:
    """Return a command of the console's own, as it is typed."""
    return (_PROGRAM, *words)
