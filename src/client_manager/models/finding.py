"""What the doctor finds."""

from typing import Literal

from client_manager.models.base import Model

Verdict = Literal["ok", "warning", "problem"]


class Finding(Model):
    """One check: its verdict, and for anything but ``ok`` the cause and the fix."""

    check: str
    verdict: Verdict
    what: str
    fix: str = ""
