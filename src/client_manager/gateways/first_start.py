"""Whether anybody has ever started the program here: an empty file in the state folder remembers it."""

from pathlib import Path
from typing import Final

from client_manager.errors import ClientManagerError
from client_manager.gateways.client_files import make_folder

_MARK: Final = "started"


def is_first(state_dir: Path) -> bool:
    """Say whether the program was never started before, as far as can be seen; what did something left a journal."""
    try:
        return not any((state_dir / name).exists() for name in (_MARK, "journal.jsonl"))
    except OSError:
        return True


def remember(state_dir: Path) -> bool:
    """Remember that the first start has been; return whether that was possible. Two starts at once both may.

    Where it is not, the next start is a first one again: that harms nobody, and what cannot be written is found and
    told by whatever needs the folder.
    """
    try:
        make_folder(state_dir)
        (state_dir / _MARK).touch(mode=0o600)
    except (ClientManagerError, OSError):
        return False
    return True
