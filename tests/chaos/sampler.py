"""Asks one node for its health, over and over, from inside its network: one line of JSON for each answer, or none.

``python sampler.py PORT``; standard library only. ``sent`` and ``received`` are seconds of the epoch.
"""

import http.client
import json
import sys
import time

EVERY_S = 0.15
PATIENCE_S = 1.0


def ask(port: int) -> tuple[int, object]:
    """Return status and body; 0 where nobody answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    except (OSError, http.client.HTTPException) as error:
        return 0, type(error).__name__
    finally:
        connection.close()


def main() -> None:
    """Ask until nobody listens any more."""
    port = int(sys.argv[1])
    while True:
        sent = time.time()
        status, body = ask(port)
        sys.stdout.write(json.dumps({"sent": sent, "received": time.time(), "status": status, "body": body}) + "\n")
        sys.stdout.flush()
        time.sleep(EVERY_S)


if __name__ == "__main__":
    main()
