"""Ways to drive operations in tests."""

from client_manager.models.operation import Progress


class Steps:
    """A report that remembers what it was told."""

    def __init__(self) -> None:
        self.seen: list[Progress] = []

    def __call__(self, progress: Progress) -> None:
        self.seen.append(progress)

    @property
    def names(self) -> list[str]:
        """The steps in order, repetitions left out."""
        return list(dict.fromkeys(progress.step for progress in self.seen))
