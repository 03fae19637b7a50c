"""How a container that is waited for keeps ending, over several looks at it."""

from typing import Final

from client_manager.models.container import ContainerDetail

# With `unless-stopped` a container that dies at once is started again at once; this many times is no accident.
_CRASH_LOOP: Final = 3


class ContainerEnds:
    """The ends of one container since the first look.

    The Engine tells how it ended only until it runs again, and then says 0.
    """

    def __init__(self, first: ContainerDetail) -> None:
        self._before = first.restarts
        self._last: tuple[int, int, bool] | None = None

    def reason(self, found: ContainerDetail) -> str:
        """Return why the container is to be given up, after this look; empty: it is not."""
        if not found.running:
            self._last = (found.restarts, found.exit_code, found.out_of_memory)
        times = self.times(found)
        if times < _CRASH_LOOP and found.state not in {"exited", "dead"}:
            return ""
        restarts, code, out_of_memory = self._last or (None, 0, False)
        if found.out_of_memory or out_of_memory:
            return "it was killed because its memory limit is too low"
        known = f"with code {code}" if restarts == found.restarts else ""
        if times:
            how_often = "once" if times == 1 else f"{times} times"
            return f"it ended {how_often}{f', last {known}' if known else ''}"
        return f"it ended {known}"

    def times(self, found: ContainerDetail) -> int:
        """Return how often it has been started again since the first look."""
        return found.restarts - self._before
