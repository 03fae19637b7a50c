"""The manual page is what the program says of itself, and reads in a terminal as it was meant."""

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from client_manager.commands.examples import EXAMPLES, call

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture
def man(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script that makes the page."""
    monkeypatch.syspath_prepend(DOCS)
    specification = importlib.util.spec_from_file_location("make_man_page", DOCS / "make_man_page.py")
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def rendered(page: str, *, width: int = 78) -> str:
    """What groff makes of a page; a warning fails the test."""
    if not shutil.which("groff") and not os.environ.get("CLIENT_MANAGER_REQUIRE_SERVICES"):
        pytest.skip("needs groff")
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tascii", "-P-cbou", f"-rLL={width}n"],
        input=page, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout


def test_the_page_is_what_the_program_says(man: ModuleType) -> None:
    committed = man.PAGE.read_text(encoding="utf-8")
    assert committed == man.render(), "make it anew: python docs/make_man_page.py"


@pytest.mark.parametrize("width", [58, 78, 200])
def test_the_page_is_rendered_without_a_warning(man: ModuleType, width: int) -> None:
    assert "client-manager" in rendered(man.PAGE.read_text(encoding="utf-8"), width=width)


def test_every_example_can_be_copied_from_the_screen(man: ModuleType) -> None:
    lines = [line.strip() for line in rendered(man.PAGE.read_text(encoding="utf-8")).splitlines()]
    missing = [call(words) for examples in EXAMPLES.values() for words, _ in examples if call(words) not in lines]
    assert missing == []


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        (".ends a line", r"\&.ends a line"),
        ("'quoted' \"twice\"", r"\(aqquoted\(aq \(dqtwice\(dq"),
        ("--dry-run", r"\-\-dry\-run"),
        ("C:\\new", r"C:\enew"),
        ("~/x^2", r"\(ti/x\(ha2"),
        ("Grüße", r"Gr\[u00FC]\[u00DF]e"),
        ("`--all` of `.it`", r"\fB\-\-all\fR of \fB\&.it\fR"),
    ],
)
def test_what_groff_would_take_for_a_request_is_escaped(man: ModuleType, text: str, escaped: str) -> None:
    assert man.prose(text) == escaped


@pytest.mark.parametrize(
    "text", [".SH not a heading", "'br not a break", "a\\fBb --c-d 'e' \"f\" ~g ^h `", "..", "x.y"]
)
def test_groff_shows_what_was_written(man: ModuleType, text: str) -> None:
    page = f".TH X 1\n.SH NAME\nx \\- y\n.PP\n{man.plain(text)}\n"
    assert text in [line.strip() for line in rendered(page).splitlines()]
