"""What stands before the API: the token, and a bound on what is read."""

import hmac
import logging
from http import HTTPStatus
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from client_manager.node import logs
from client_manager.node.api_errors import problem
from client_manager.node.watched_file import WatchedFile

_OPEN: Final = ("/health",)
_LARGEST_BODY_BYTES: Final = 64 * 1024
_SCHEME: Final = "bearer "


class Gate:
    """Lets a request through that carries the token as it is now; ``/health`` is open to all."""

    def __init__(self, app: ASGIApp, token: WatchedFile) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer in the application's place, or let it answer."""
        if scope["type"] != "http" or scope["path"] in _OPEN:
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(Headers(scope=scope).get("authorization", ""))
        if refusal is not None:
            status, error, detail = refusal
            challenge = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else None
            await problem(status, error, detail, headers=challenge)(scope, receive, send)
            return
        await self._bounded(scope, receive, send)

    def _refusal(self, given: str) -> tuple[int, str, str] | None:
        """Return why not, or None; a token that cannot be read lets nobody in."""
        try:
            token = self._token.text()
        except (OSError, UnicodeDecodeError) as error:
            logs.tell("token_unreadable", {"path": self._token.path, "why": type(error).__name__}, logging.ERROR)
            token = ""
        if not token:
            return HTTPStatus.SERVICE_UNAVAILABLE, "The token cannot be read.", f"Put it back into {self._token.path}."
        offered = given[len(_SCHEME) :].strip() if given[: len(_SCHEME)].lower() == _SCHEME else ""
        if hmac.compare_digest(offered.encode(), token.encode()):
            return None
        return HTTPStatus.UNAUTHORIZED, "A token is needed.", "Send it as Authorization: Bearer TOKEN."

    async def _bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body first, and no more than any request of ours has; a length that is announced proves nothing."""
        body, more = b"", True
        while more and len(body) <= _LARGEST_BODY_BYTES:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message.get("body", b""), message.get("more_body", False)
        if len(body) > _LARGEST_BODY_BYTES:
            detail = f"At most {_LARGEST_BODY_BYTES} bytes."
            await problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The request is too large.", detail)(
                scope, receive, send
            )
            return
        await self._app(scope, _replay(body, receive), send)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return what gives the body that was read, and then what comes."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return left.pop() if left else await receive()

    return replayed
