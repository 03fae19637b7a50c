"""What every act needs: commands are typed and held to their exit code, and what they did is waited for and seen."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from client_manager.app import App
from client_manager.demo.narration import Narrator, command
from client_manager.demo.place import NAME, Place
from client_manager.errors import ClientManagerError, ExitCode
from client_manager.gateways import process
from client_manager.gateways.replica_rows import ReplicaRows
from client_manager.models.sync import Lease

_T = TypeVar("_T")
_COMMAND_S: Final = 600.0
_PAUSE_S: Final = 0.01
_LAST_LINES: Final = 3


class DoesNotHold(ClientManagerError):
    """Something that the demo shows is not so."""


@dataclass
class Stage:
    """A demo under way.

    Attributes:
        app: the gateways, of the demo's own settings.
        keep: whether everything stays as it is at the end.
    """

    app: App
    place: Place
    narrator: Narrator
    keep: bool = False
    began: float = field(default_factory=time.monotonic)

    def type(self, *words: str, ends_with: ExitCode = ExitCode.OK, deadline_s: float = _COMMAND_S) -> None:
        """Type a command of the console, show what it answers, and hold it to its exit code.

        Raises:
            DoesNotHold: it ends with another one.
        """
        lines: list[str] = []

        def hear(line: str) -> None:
            lines.append(line)
            self.narrator.answered(line)

        self.narrator.typed(command(*words))
        program = [sys.executable, "-m", "client_manager", *words]
        code = process.run(program, self.place.environment(), hear, deadline_s=deadline_s)
        if code != ends_with:
            raise DoesNotHold(
                f"'{' '.join(command(*words))}' ended with {code}, and should have ended with {ends_with.value}.",
                why=" ".join(line.strip() for line in lines[-_LAST_LINES:]) or "It said nothing.",
                hint="What it answered stands above.",
            )
        if ends_with is not ExitCode.OK:
            self.narrator.answered(f"(exit code {code})")

    def hold(self, condition: object, expected: str, found: object) -> None:
        """Return if a look has found what should be.

        Raises:
            DoesNotHold: it has not.
        """
        if not condition:
            raise DoesNotHold(
                f"This does not hold: {expected}.",
                why=f"Found instead: {found}.",
                hint="Please report it, with what stands above.",
            )

    def wait_until(self, look: Callable[[], _T | None], expected: str, *, within_s: float) -> _T:
        """Return the first look that finds something.

        Raises:
            DoesNotHold: none does within so many seconds.
        """
        deadline = time.monotonic() + within_s
        while True:
            found = look()
            if found:
                return found
            if time.monotonic() > deadline:
                raise DoesNotHold(
                    f"This does not come to hold: {expected}.",
                    why=f"It was looked for during {within_s:.0f} seconds.",
                    hint="Please report it, with what stands above.",
                )
            time.sleep(_PAUSE_S)

    def lease(self) -> Lease | None:
        """Return who leads the demo's cluster, or None where nobody does now."""
        with self.app.sync_store() as store:
            lease = store.lease(NAME)
        return lease if lease and lease.is_valid else None

    def leader(self) -> Lease:
        """Return who leads the demo's cluster.

        Raises:
            DoesNotHold: nobody does.
        """
        lease = self.lease()
        if lease is None:
            raise DoesNotHold("This does not hold: somebody leads the cluster.", why="There is no valid lease.")
        return lease

    def replica_counts(self) -> dict[str, int]:
        """Return table -> how many rows it has in the replica."""
        with self.app.database.connect() as connection:
            return ReplicaRows(connection, NAME).counts()

    def arrival_s(self, chat: str, title: str, since: float, *, within_s: float = 60) -> float:
        """Wait until a chat is in PostgreSQL as it was written, and return how many seconds since then it took.

        Args:
            chat: its id.
            title: as it was written.
            since: when, by the monotonic clock.
            within_s: how long it is waited for.

        Raises:
            DoesNotHold: it does not come, or is another.
        """
        with self.app.database.connect() as connection:
            rows = ReplicaRows(connection, NAME)
            found = self.wait_until(lambda: rows.chat(chat), f"the chat '{title}' arrives", within_s=within_s)
        seconds = time.monotonic() - since
        self.hold(found == title, f"the chat that arrived is called '{title}'", found)
        return seconds
