"""A small text file that another program replaces now and then: the token, the database's URL."""

import threading
from pathlib import Path

_Seen = tuple[int, int, int, int]


class WatchedFile:
    """Its text, read again when the file has changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._seen: _Seen | None = None
        self._text = ""

    def text(self) -> str:
        """Return what it holds, without the white space around it.

        Raises:
            OSError: it cannot be read.
            UnicodeDecodeError: it is no text.
        """
        with self._lock:
            found = self.path.stat()
            seen = (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
            if seen != self._seen:
                self._text = self.path.read_text(encoding="utf-8").strip()
                self._seen = seen
            return self._text
