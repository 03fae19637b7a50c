"""Find ``sql/`` and ``templates/``, whether the program is installed or checked out."""

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_CHECKOUT = Path(__file__).resolve().parents[2]


def root() -> "Traversable":
    """Return the folder that holds ``sql`` and ``templates``.

    A wheel carries them inside the package; an editable install must see the live files, so the checkout comes first.
    """
    return checkout() or files("client_manager") / "_data"


def checkout() -> Path | None:
    """Return the folder that the program was checked out to; None where it is installed."""
    is_one = (_CHECKOUT / "pyproject.toml").is_file() and (_CHECKOUT / "sql").is_dir()
    return _CHECKOUT if is_one else None


def read_text(*parts: str) -> str:
    """Return the text of one resource, for example ``read_text("sql", "queries", "clients.sql")``.

    Raises:
        FileNotFoundError: the resource is not shipped; a packaging fault.
    """
    return root().joinpath(*parts).read_text(encoding="utf-8")
