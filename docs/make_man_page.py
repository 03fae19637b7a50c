"""Write docs/client-manager.1, the manual page: the same reading of the program as the reference, for man(1)."""  # noqa: INP001  a script, run by its path

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from make_reference import SETTINGS, commands, examples, exit_codes, one_line, parameters, settings, usage

PAGE: Final = Path(__file__).with_name("client-manager.1")
# groff_char(7): what stands for itself in a terminal, and can be copied from there. The backslash comes first.
_CHARACTERS: Final = (
    ("\\", r"\e"), ("-", r"\-"), ("'", r"\(aq"), ("^", r"\(ha"), ("~", r"\(ti"), ('"', r"\(dq"),
)  # fmt: skip
_FILES: Final = (
    ("~/.config/client-manager/config.toml", "the settings; `CLIENT_MANAGER_CONFIG` names another file"),
    ("/opt/openwebui", "the data root: a folder for each client, and what is kept of clusters"),
    ("~/.local/state/client-manager/journal.jsonl", "who did what, from where, with what outcome"),
)


def render() -> str:
    """Return the page."""
    everything = commands()
    program = everything.pop(())
    lines = [
        r".\" Made by docs/make_man_page.py from the program; a test keeps it equal.",
        '.TH CLIENT\\-MANAGER 1 "" "client\\-manager" "User Commands"',
        ".SH NAME",
        rf"client\-manager \- {prose('the console of the operator of many Open WebUI tenants')}",
        ".SH SYNOPSIS",
        r"\fBclient\-manager\fR [\fICOMMAND\fR] [\fIOPTIONS\fR]",
        ".SH DESCRIPTION",
        prose(one_line(program.help or "")),
        *_options(program),
        ".SH COMMANDS",
        *(line for path, command in everything.items() for line in _command(path, command)),
        ".SH EXAMPLES",
        *_examples(()),
        ".SH CONFIGURATION",
        prose(SETTINGS),
        *_pairs((name, f"{meaning} ({kind}; default {default})") for name, kind, default, meaning in settings()),
        ".SH FILES",
        *_pairs((f"`{path}`", meaning) for path, meaning in _FILES),
        ".SH EXIT STATUS",
        *_pairs((f"`{code}`", f"{name}: {meaning}") for code, name, meaning in exit_codes()),
    ]
    return "\n".join(lines) + "\n"


def plain(text: str) -> str:
    """Return text as it must stand in a page so that it is read as it is: no request, no escape, no other hyphen."""
    for character, escape in _CHARACTERS:
        text = text.replace(character, escape)
    if not text.isascii():
        text = "".join(letter if letter.isascii() else rf"\[u{ord(letter):04X}]" for letter in text)
    return rf"\&{text}" if text.startswith(".") else text


def prose(text: str) -> str:
    """Return a text in which backquotes stand around what is typed."""
    pieces = re.split(r"`([^`]+)`", text)
    # The odd ones stood between backquotes; only the first can be mistaken for a request.
    return "".join(rf"\fB{plain(piece)}\fR" if index % 2 else plain(piece) for index, piece in enumerate(pieces))


def _command(path: tuple[str, ...], command: Any) -> Iterator[str]:  # noqa: ANN401  typer's own
    if hasattr(command, "commands"):
        yield f".SS {plain(' '.join(path))}"
        yield prose(one_line(command.help or ""))
        return
    yield ".PP"
    yield rf"\fB{plain(usage(path, command))}\fR"
    yield ".RS 4"
    yield prose(one_line(command.help or ""))
    yield from _options(command)
    yield from _examples(path)
    yield ".RE"


def _options(command: Any) -> Iterator[str]:  # noqa: ANN401
    return _pairs(
        (", ".join(f"`{name}`" for name in names), f"{meaning} ({value})")
        for names, value, meaning in parameters(command)
    )


def _pairs(rows: Any) -> Iterator[str]:  # noqa: ANN401  an iterable of pairs
    for name, meaning in rows:
        yield from (".TP", prose(name), prose(meaning))


def _examples(path: tuple[str, ...]) -> Iterator[str]:
    for example, why in examples(path):
        yield from (".PP", prose(f"{why[:1].upper()}{why[1:]}:"), ".PP", ".nf", rf"\fB{plain(example)}\fR", ".fi")


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
