"""What was so, and when: the truth that what a node says is held against."""

import time
from bisect import bisect_right
from dataclasses import dataclass, field


@dataclass
class Story:
    """Something that is so or not, from moment to moment; in seconds of the epoch."""

    so_at_first: bool = True
    _marks: list[tuple[float, bool]] = field(default_factory=list)

    def tell(self, *, so: bool) -> float:
        """From now on it is so, or not; returns when that is."""
        now = time.time()
        self._marks.append((now, so))
        return now

    @property
    def now(self) -> bool:
        return self._marks[-1][1] if self._marks else self.so_at_first

    def ever(self, begin: float, end: float, *, so: bool) -> bool:
        """Say whether it was so at any moment between these two."""
        place = bisect_right(self._marks, (begin, True))
        first = self._marks[place - 1][1] if place else self.so_at_first
        return first == so or any(value == so for at, value in self._marks[place:] if at <= end)

    def always(self, begin: float, end: float, *, so: bool) -> bool:
        """Say whether it was so all the time between these two."""
        return not self.ever(begin, end, so=not so)
