"""The API's errors: JSON with ``error`` and ``detail``; never a driver's words, a value that was sent, or a secret."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from client_manager.errors import ClientManagerError, Conflict, InvalidInput, NotFound
from client_manager.node import logs

_STATUS: Final = (
    (NotFound, HTTPStatus.NOT_FOUND),
    (Conflict, HTTPStatus.CONFLICT),
    (InvalidInput, HTTPStatus.UNPROCESSABLE_ENTITY),
)


def problem(status: int, error: str, detail: str = "", headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return an error's answer."""
    return JSONResponse({"error": error, "detail": detail}, status, headers=headers)


def install(app: FastAPI) -> None:
    """Answer every error in that form; by coroutines, since functions would wait for one of the few threads."""
    app.add_exception_handler(ClientManagerError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _bug)


async def _ours(_: Request, error: Exception) -> JSONResponse:
    """The reason is left out: it may be the server's own sentence."""
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), HTTPStatus.SERVICE_UNAVAILABLE)
    return problem(status, str(getattr(error, "what", "")), str(getattr(error, "hint", "")))


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    faults = error.errors() if isinstance(error, RequestValidationError) else ()
    if any(fault["type"] == "json_invalid" for fault in faults):
        return problem(HTTPStatus.BAD_REQUEST, "The body is not JSON.")
    said = (f"{'.'.join(map(str, fault['loc'][1:]))}: {fault['msg'].removeprefix('Value error, ')}" for fault in faults)
    detail = "; ".join(part.removeprefix(": ") for part in said)
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "The request is not valid.", detail)


async def _http(_: Request, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, HTTPException) else HTTPStatus.INTERNAL_SERVER_ERROR
    return problem(status, f"{HTTPStatus(status).phrase}.")


async def _bug(request: Request, error: Exception) -> JSONResponse:
    logs.tell_bug("request_failed", error, path=request.url.path)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal error.", "The node's log has the details.")
