"""Every command that the documents show: in blocks, and between backquotes."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CHECKOUT: Final = Path(__file__).resolve().parents[2]
_MADE: Final = "reference.md"  # by the program, of the program: tests/unit/test_reference.py
DOCUMENTS: Final = (
    CHECKOUT / "README.md",
    *(path for path in sorted((CHECKOUT / "docs").glob("*.md")) if path.name != _MADE),
)
PROGRAM: Final = "client-manager"
_VARIABLE: Final = r"[A-Z_]+=\S* "
_WORDS: Final = (
    rf"(?:{_VARIABLE})*(?:sudo )?(?:client-manager(?= [a-z-]|$)|make|docker|git|export|cd|ln|pip|curl|pg_dump)\b"
)
_OTHER: Final = r"(?:\.ci/run|\./|systemctl|apt-get|source|\. )"
_COMMAND: Final = re.compile(rf"(?:{_WORDS}|{_OTHER})")
_NOUNS: Final = "client|cluster|node|sync|database|replicate"
# What stands for something of the reader's: CLIENT, N, [--json], a|b, VERB...
_PLACEHOLDER: Final = re.compile(r"(?<![\w=/.])[A-Z]{1,}(?![\w.])|=[A-Z]+\b|\[|\||\.\.\.")


@dataclass(frozen=True)
class Shown:
    """A command as a document shows it.

    Attributes:
        in_block: it stands on a line of its own, to be typed as it is.
        is_mention: a sentence speaks of it by its noun and verb, without the program's name.
        is_shape: it says how such a command is written, with words that stand for the reader's own.
        is_typed: it is one that a reader types as it is.
    """

    document: str
    line: int
    text: str
    in_block: bool
    is_mention: bool = False

    @property
    def is_shape(self) -> bool:
        return not self.in_block and bool(_PLACEHOLDER.search(self.text))

    @property
    def is_typed(self) -> bool:
        return self.in_block or not (self.is_shape or self.is_mention)

    @property
    def is_ours(self) -> bool:
        """Whether it is the program's own, and not the shell's or another's."""
        return self.words[:1] == [PROGRAM]

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text.replace("\\|", "|"))


def shown_in(path: Path) -> list[Shown]:
    """Return a document's commands, in its order."""
    return list(shown(path.name, path.read_text(encoding="utf-8")))


def shown(document: str, text: str) -> Iterator[Shown]:
    """Give the commands of a text."""
    for number, line, block in _lines(text):
        if block is None:
            for piece in re.findall(r"`([^`]+)`", line):
                yield from _named(document, number, piece)
        elif command := _typed(line, transcript=any(each.lstrip().startswith("$ ") for each in block)):
            yield Shown(document, number, _whole(command, text, number), in_block=True)


def _named(document: str, number: int, piece: str) -> Iterator[Shown]:
    """Give what stands between backquotes, if it is a command."""
    if re.match(rf"(?:{PROGRAM}|make|docker|pg_dump) [a-z-]", piece):
        yield Shown(document, number, piece, in_block=False)
    elif re.match(rf"(?:{_NOUNS}) [a-z-]+(?: |$)", piece):
        is_mention = not _PLACEHOLDER.search(piece)
        yield Shown(document, number, f"{PROGRAM} {piece}", in_block=False, is_mention=is_mention)


def _typed(line: str, *, transcript: bool) -> str:
    """Return what is typed on a line of a block; nothing where it is an answer, or a drawing."""
    line = line.strip()
    if transcript:
        if not line.startswith("$ "):
            return ""
        line = line.removeprefix("$ ")
    elif not _COMMAND.match(line):
        return ""
    return re.split(r"\s+#\s", line)[0].strip()


def _whole(command: str, text: str, number: int) -> str:
    """Return a command with the lines that it goes on in, behind backslashes."""
    for line in text.splitlines()[number:]:
        if not command.endswith("\\"):
            break
        command = f"{command.removesuffix(chr(92)).rstrip()} {line.strip().removeprefix('> ')}"
    return command


def _lines(text: str) -> Iterator[tuple[int, str, list[str] | None]]:
    """Give each line with its number, and with the block that it is in."""
    lines, number = text.splitlines(), 0
    while number < len(lines):
        line = lines[number]
        fenced = line.lstrip().startswith("```")
        if not fenced and not _indented(lines, number):
            yield number + 1, line, None
            number += 1
            continue
        first = number + fenced
        last = first
        while last < len(lines) and (
            not lines[last].lstrip().startswith("```") if fenced else lines[last].startswith("    ") or not lines[last]
        ):
            last += 1
        block = lines[first:last]
        yield from ((first + place + 1, each, block) for place, each in enumerate(block) if each.strip())
        number = last + fenced


def _indented(lines: list[str], number: int) -> bool:
    """Whether a line begins an indented block: it is no table of a list, and a blank line stands before it."""
    return (
        lines[number].startswith("    ")
        and not lines[number].lstrip().startswith("|")
        and (number == 0 or not lines[number - 1].strip() or lines[number - 1].startswith("<!--"))
    )
