"""Open WebUI's own HTTP interface, as far as the console asks it."""

import http.client
import json
import urllib.error
import urllib.request
from typing import Any, Final

from pydantic import SecretStr

from client_manager.errors import Unavailable

_TIMEOUT_S = 5
_WORK_S: Final = 30
# What is on this machine is not asked through a proxy.
_DIRECT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def database_answers(address: str) -> bool:
    """Ask ``http://ADDRESS/health/db`` and say whether the application can use its database.

    Any unknown path answers 200 with a page, so only the JSON ``{"status": true}`` counts. No answer yet is a no:
    the caller waits, and has its own deadline.
    """
    try:
        with urllib.request.urlopen(f"http://{address}/health/db", timeout=_TIMEOUT_S) as answer:
            body = json.loads(answer.read(4096))
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError):
        return False
    return isinstance(body, dict) and body.get("status") is True


class Account:
    """A person of a client, signed in over the interface that the application's pages use."""

    def __init__(self, address: str, token: SecretStr) -> None:
        self._address = address
        self._token = token

    @classmethod
    def sign_up(cls, address: str, name: str, email: str, password: SecretStr) -> "Account":
        """Make an account at ``http://ADDRESS``; the first one of a client is its administrator.

        Raises:
            Unavailable: the application does not answer, or refuses.
        """
        body = {"name": name, "email": email, "password": password.get_secret_value()}
        return cls(address, SecretStr(str(_call(address, "/api/v1/auths/signup", "token", body))))

    def role(self) -> str:
        """Return what this person is to the application: ``admin``, ``user`` or ``pending``."""
        return str(_call(self._address, "/api/v1/auths/", "role", token=self._token))

    def write_chat(self, title: str) -> str:
        """Write a chat, and return its id."""
        chat = {"title": title, "messages": [], "models": ["none"]}
        return str(_call(self._address, "/api/v1/chats/new", "id", {"chat": chat}, token=self._token))

    def chat(self, chat: str) -> str:
        """Return the title of a chat of this person's."""
        return str(_call(self._address, f"/api/v1/chats/{chat}", "title", token=self._token))


def _call(address: str, path: str, field: str, body: object = None, *, token: SecretStr | None = None) -> Any:  # noqa: ANN401  JSON
    """Ask for one field of an answer; a body makes it a POST.

    Raises:
        Unavailable: there is no answer, or not the one that was asked for; repeats nothing that was sent.
    """
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token.get_secret_value()}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{address}{path}", data=data, headers=headers)
    try:
        with _DIRECT.open(request, timeout=_WORK_S) as answer:
            return json.load(answer)[field]
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError, LookupError, TypeError) as error:
        raise Unavailable(
            f"Open WebUI at http://{address} does not do what it was asked for at {path}.",
            why=_why(error),
            hint="Its log says more: client-manager client logs NAME.",
        ) from None


def _why(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"It answers with {error.code}."
    if isinstance(error, OSError):
        return f"It does not answer ({getattr(error, 'reason', None) or error.strerror or type(error).__name__})."
    return "Its answer is not the one of this version."
