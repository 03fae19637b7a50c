"""Tables that keep to a number of lines: a row is one line, and what is too long for it is cut and says so."""

from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from client_manager.views.text import one_line

Cell = tuple[str, str]  # what is said, and how it looks
_GAP: Final = "  "
_CUT: Final = ".."
_LEAST: Final = 6


def cut(text: str, width: int) -> str:
    """Return text from elsewhere in one line of at most ``width`` columns, ending in two dots where it was longer."""
    line = one_line(text)
    if cell_len(line) <= width:
        return line
    return set_cell_size(line, max(0, width - len(_CUT))).rstrip() + _CUT[:width]


def row_lines(
    headings: Sequence[str], rows: Sequence[Sequence[Cell]], width: int, *, gives: Sequence[int]
) -> list[Text]:
    """Return headings and rows, a line each, none wider than ``width``.

    The columns in ``gives`` become narrower where there is no room, the widest of them first.
    """
    said = [[one_line(text) for text, _ in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(headings, *said, strict=True)]
    _narrow(widths, width, gives)
    lines = [_line([(heading, "quiet") for heading in headings], widths, width)]
    return [*lines, *(_line(row, widths, width) for row in rows)]


def _narrow(widths: list[int], width: int, gives: Sequence[int]) -> None:
    room = width - len(_GAP) * (len(widths) - 1)
    while sum(widths) > room:
        widest = max(gives, key=lambda column: widths[column])
        if widths[widest] <= _LEAST:
            return
        widths[widest] -= 1


def _line(cells: Sequence[Cell], widths: Sequence[int], width: int) -> Text:
    line = Text(no_wrap=True, overflow="crop")
    for (text, style), room in zip(cells, widths, strict=True):
        line.append(set_cell_size(cut(text, room), room), style).append(_GAP)
    line.rstrip()
    line.truncate(width)
    return line
