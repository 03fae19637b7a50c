"""docker-py's errors, and those of what it stands on, as the console's own."""

import re
from typing import Final

import requests
from docker.errors import APIError

from client_manager.errors import ClientManagerError, Conflict, NotFound, Unavailable

_PORT_TAKEN: Final = re.compile(r"port is already allocated|address already in use")


def unreachable(endpoint: str, error: BaseException) -> Unavailable:
    """Return why an endpoint gave no answer at all."""
    cause = _os_error(error)
    if isinstance(cause, PermissionError):
        return Unavailable(
            f"Docker does not let you in at {endpoint}.",
            why="This user may not use the socket.",
            hint="Run as root, or have an administrator add you to the group docker and log in again.",
        )
    if isinstance(cause, TimeoutError) or isinstance(error, requests.Timeout):
        return Unavailable(
            f"Docker at {endpoint} did not answer in time.",
            why="The engine is overloaded or stuck.",
            hint="Look at 'systemctl status docker' and at the disk's load, then try again.",
        )
    return Unavailable(
        f"Docker at {endpoint} cannot be reached.",
        why=cause.strerror or type(cause).__name__ if cause else type(error).__name__,
        hint="Start it with 'systemctl start docker', or correct docker_host in the settings.",
    )


def _os_error(error: BaseException) -> OSError | None:
    """Return the system's own error under docker-py's, requests' and urllib3's wrappings."""
    queue: list[object] = [error]
    seen: set[int] = set()
    while queue:
        current = queue.pop()
        if not isinstance(current, BaseException) or id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, TimeoutError):  # one of Python's own making carries no number
            return current
        if isinstance(current, OSError) and not isinstance(current, requests.RequestException) and current.errno:
            return current
        queue += [current.__cause__, current.__context__, getattr(current, "reason", None), *current.args]
    return None


def api_error(subject: str, error: APIError) -> ClientManagerError:
    """Return what the Engine refused, and what to do about it."""
    why = str(error.explanation or "").strip()
    if _PORT_TAKEN.search(why):
        return Conflict(
            f"{subject} cannot be started: its port is taken.",
            why=why,
            hint="Choose another: 'client set NAME --port N'.",
        )
    if error.status_code == requests.codes.conflict:
        return Conflict(f"{subject} is taken or in use.", why=why)
    if error.status_code == requests.codes.not_found:
        return NotFound(f"{subject} does not exist.", why=why)
    hint = "Free disk space: 'docker system df' shows what uses it." if "no space left" in why else ""
    return ClientManagerError(f"{subject}: Docker refused.", why=why, hint=hint)


def pull_error(reference: str, message: str) -> ClientManagerError:
    """Return why a registry did not give an image, by the words of its answer."""
    if re.search(r"denied|unauthorized|forbidden", message, re.IGNORECASE):
        return Unavailable(
            f"The registry refused to give {reference}.",
            why=message,
            hint="Check its spelling; if it is private, log in with 'docker login', then try again.",
        )
    if re.search(r"not found|manifest unknown|repository does not exist|no such image", message, re.IGNORECASE):
        return NotFound(
            f"The image {reference} does not exist.",
            why=message,
            hint="Check its spelling and its tag at the registry.",
        )
    if "no space left" in message:
        return ClientManagerError(
            f"The image {reference} does not fit on the disk.",
            why=message,
            hint="Free disk space: 'docker system df' shows what uses it.",
        )
    return Unavailable(
        f"The image {reference} cannot be pulled.",
        why=message,
        hint="Check the network and the registry's name; an image that is already here is used without a pull.",
    )
