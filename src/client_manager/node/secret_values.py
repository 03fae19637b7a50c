"""The secrets of a node, by value: the last thing that every line passes on its way out."""

import re
from typing import Final
from urllib.parse import unquote

from client_manager.node.watched_file import WatchedFile

_HIDDEN: Final = "***"
_PASSWORD: Final = re.compile(r"://[^@/?#]*?:([^@]*)@|[?&]password=([^&]*)")


class SecretValues:
    """What the files hold, and ever held: a password that has been replaced is still one."""

    def __init__(self, token: WatchedFile, database_url: WatchedFile) -> None:
        self._token = token
        self._database_url = database_url
        self._values: tuple[str, ...] = ()
        self.look()

    def hide(self, text: str) -> str:
        """Return a text without them."""
        for value in self._values:
            text = text.replace(value, _HIDDEN)
        return text

    def look(self) -> None:
        """Learn what the files hold now; to be called before each line."""
        token, url = _text(self._token), _text(self._database_url)
        found = {token, url, *_passwords(url)} - {"", *self._values}
        if found:  # the longest first: one may be a part of another
            self._values = tuple(sorted({*found, *self._values}, key=len, reverse=True))


def _passwords(url: str) -> set[str]:
    """Return the passwords in a URL, as they are written there and as they are meant."""
    written = {part for pair in _PASSWORD.findall(url) for part in pair}
    return written | {unquote(password) for password in written}


def _text(file: WatchedFile) -> str:
    """Return what is known of a file; one that cannot be read now tells no new secret, and none can be logged."""
    try:
        return file.text()
    except (OSError, UnicodeDecodeError):
        return ""
