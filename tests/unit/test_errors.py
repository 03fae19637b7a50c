"""The error tree, its exit codes, and the page that documents them."""

import re

import pytest

from client_manager import errors
from client_manager.errors import ClientManagerError, Ended, ExitCode

_LINE = re.compile(r"^(?P<bars>[ │├└─]*)(?P<name>[A-Z]\w+) +(?P<code>\d+)$", re.MULTILINE)


def _classes(top: type[ClientManagerError] = ClientManagerError) -> list[type[ClientManagerError]]:
    own = [kind for kind in top.__subclasses__() if kind.__module__ == errors.__name__]
    return [top, *(kind for child in own for kind in _classes(child))]


def _documented() -> dict[str, int]:
    return {match["name"]: int(match["code"]) for match in _LINE.finditer(errors.__doc__ or "")}


def test_every_error_is_documented_with_its_exit_code() -> None:
    assert {kind.__name__: int(kind.exit_code) for kind in _classes()} == _documented()


def test_every_error_has_an_exit_code_of_its_own() -> None:
    codes = [kind.exit_code for kind in _classes() if kind is not Ended]  # a way to be cancelled

    assert len(set(codes)) == len(codes)


def test_exit_codes_are_those_that_scripts_rely_on() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        "OK": 0,
        "FAILED": 1,
        "USAGE": 2,
        "CONFIGURATION": 3,
        "BLOCKED": 4,
        "NOT_FOUND": 5,
        "CONFLICT": 6,
        "UNAVAILABLE": 7,
        "UNDONE": 8,
        "NO_ANSWER": 9,
        "QUARANTINED": 10,
        "BUG": 70,
        "CANCELLED": 130,
    }


def test_no_error_is_a_success_or_a_bug() -> None:
    assert not {ExitCode.OK, ExitCode.BUG, ExitCode.QUARANTINED} & {kind.exit_code for kind in _classes()}


@pytest.mark.parametrize("kind", _classes())
def test_every_error_says_what_why_and_what_to_do(kind: type[ClientManagerError]) -> None:
    error = kind("what", why="why", hint="hint")

    assert (error.what, error.why, error.hint, str(error)) == ("what", "why", "hint", "what")
