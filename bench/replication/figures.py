"""What was measured, against what, and whether that is good enough: one table."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Attributes:
        ratio: the value through its anchor, where there is one.
        met: None where nobody set a target.
    """

    name: str
    value: str
    anchor: str = ""
    ratio: float | None = None
    target: str = ""
    met: bool | None = None


@dataclass
class Report:
    """What is printed, and kept for the file."""

    lines: list[str] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)

    def say(self, line: str = "") -> None:
        """Print a line."""
        self.lines.append(line)
        print(line, flush=True)

    def add(self, figure: Figure) -> None:
        """Add a line to the table at the end."""
        self.figures.append(figure)

    def table(self) -> None:
        """Print the table."""
        head = ("figure", "measured", "against", "ratio", "target", "")
        rows = [
            (
                one.name,
                one.value,
                one.anchor,
                f"{one.ratio:.3g} x" if one.ratio is not None else "",
                one.target,
                {True: "met", False: "MISSED", None: ""}[one.met],
            )
            for one in self.figures
        ]
        widths = [max(len(row[place]) for row in (head, *rows)) for place in range(len(head))]
        self.say()
        for row in (head, tuple("-" * width for width in widths), *rows):
            self.say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

    @property
    def met(self) -> bool:
        """Whether no target was missed."""
        return all(one.met is not False for one in self.figures)


def spread(seconds: Sequence[float]) -> str:
    """Return the smallest, middle and largest of some times."""
    return f"{min(seconds):.2f} / {statistics.median(seconds):.2f} / {max(seconds):.2f} s"


def milliseconds(seconds: float) -> str:
    """Return a short time as a person reads it."""
    return f"{seconds * 1000:.1f} ms"


def mebibytes(size_bytes: float) -> str:
    """Return a size as a person reads it."""
    return f"{size_bytes / 2**20:.1f} MiB"
