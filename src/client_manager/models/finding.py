"""What the doctor finds."""

from typing import Literal, Self

from client_manager.errors import ClientManagerError
from client_manager.models.base import Model

Verdict = Literal["ok", "warning", "problem"]


class Finding(Model):
    """One check: its verdict, and for anything but ``ok`` the cause and the fix."""

    check: str
    verdict: Verdict
    what: str
    fix: str = ""

    @classmethod
    def of(cls, check: str, error: ClientManagerError) -> Self:
        """Return the problem that a check could not be made."""
        return cls(check=check, verdict="problem", what=f"{error.what} {error.why}".strip(), fix=error.hint)
