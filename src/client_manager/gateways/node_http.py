"""What a sync node of this machine says when it is asked."""

import http.client
import json
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import SecretStr

from client_manager.models.cluster import NodeOpinion

_LONGEST_ANSWER: Final = 1024 * 1024
_TIMEOUT_S: Final = 3.0


def opinion(node: str, port: int, timeout_s: float = _TIMEOUT_S) -> NodeOpinion:
    """Ask a node's ``/health``, and return what it says of itself or why it says nothing."""
    try:
        status, body = _get(port, "/health", timeout_s)
        return _read(node, port, status, body)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return NodeOpinion(node_name=node, reachable=False, problem=_why(error))


def _read(node: str, port: int, status: int, body: Any) -> NodeOpinion:  # noqa: ANN401  JSON
    if not isinstance(body, dict) or not str(body.get("node_id", "")).startswith(f"{node}/"):
        return NodeOpinion(node_name=node, reachable=False, problem=f"port {port} is another program's")
    return NodeOpinion(
        node_name=node,
        reachable=True,
        healthy=status == http.client.OK,
        is_leader=body.get("is_leader") is True,
        leader_id=body.get("leader_id"),
        term=body.get("term"),
        node_id=body["node_id"],
        problem=str(body.get("problem") or ""),
        last_sync_age_s=_age_s(body.get("last_sync")),
        uptime_seconds=body.get("uptime_seconds"),
    )


def _age_s(moment: object) -> float | None:
    """Return how long ago a moment was; a node and who asks it are on one machine, and have one clock."""
    if not isinstance(moment, str):
        return None
    return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()


def ask(port: int, path: str, token: SecretStr, timeout_s: float = _TIMEOUT_S) -> tuple[int, Any]:
    """Ask a node for what its token is needed for; return the status and the JSON of the answer.

    Raises:
        OSError: nobody answers.
        ValueError: the answer is no JSON.
    """
    return _get(port, path, timeout_s, {"Authorization": f"Bearer {token.get_secret_value()}"})


def _get(port: int, path: str, timeout_s: float, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)) as connection:
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read(_LONGEST_ANSWER))


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return "the answer is not a node's"
