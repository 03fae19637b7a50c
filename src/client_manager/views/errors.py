"""Errors as a person meets them: what, why, what next."""

from rich.text import Text

from client_manager.errors import Cancelled, ClientManagerError, Undone
from client_manager.views.text import plain


def error_text(error: ClientManagerError) -> Text:
    """Return an error in up to three parts, each on lines of its own."""
    word, style = _word(error)
    text = Text.assemble((f"{word} ", style), plain(error.what))
    if error.why:
        text.append(f"\n{plain(error.why)}", style="quiet")
    for note in getattr(error, "__notes__", ()):
        text.append(f"\n{plain(note)}", style="attention")
    if error.hint:
        text.append("\nNext: ", style="heading").append(plain(error.hint))
    return text


def _word(error: ClientManagerError) -> tuple[str, str]:
    if isinstance(error, Cancelled):
        return "Cancelled:", "attention"
    return ("Undone:", "attention") if isinstance(error, Undone) else ("Error:", "bad")
