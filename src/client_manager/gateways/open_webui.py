"""Open WebUI's own HTTP interface, as far as the console asks it."""

import http.client
import json
import urllib.error
import urllib.request

_TIMEOUT_S = 5


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
