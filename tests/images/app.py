"""What the console relies on in Open WebUI, and the ways in which it fails, by TEST_* variables.

TEST_EXIT_CODE        end at once with this code
TEST_HEALTHY_AFTER_S  answer 500 on /health/db until then; "never" for ever
TEST_MIGRATE          drop a column's worth of data at start, as a version that goes back cannot undo
TEST_SAY              a line for the log
"""

import json
import os
import signal
import sqlite3
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DATABASE = "/app/backend/data/webui.db"
KEY_FILE = "/app/backend/.webui_secret_key"
started = time.monotonic()


def open_database() -> None:
    connection = sqlite3.connect(DATABASE)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE IF NOT EXISTS config (key TEXT PRIMARY KEY, value JSON)")
    connection.execute("CREATE TABLE IF NOT EXISTS chat (id TEXT PRIMARY KEY)")
    url = json.dumps(os.environ.get("WEBUI_URL", ""))
    connection.execute("INSERT OR IGNORE INTO config VALUES ('webui.url', ?)", (url,))
    if os.environ.get("TEST_MIGRATE"):
        connection.execute("CREATE TABLE IF NOT EXISTS migrated (id TEXT)")
        connection.execute("DELETE FROM chat")
    connection.commit()
    connection.close()


def healthy() -> bool:
    after = os.environ.get("TEST_HEALTHY_AFTER_S", "0")
    return after != "never" and time.monotonic() - started >= float(after)


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/health/db":
            self._send(200 if healthy() else 500, {"status": healthy()})
        elif self.path == "/environment":
            self._send(200, dict(os.environ))
        else:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>the app shell</html>")

    def _send(self, code: int, body: object) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if os.environ.get("TEST_SAY"):
        print(os.environ["TEST_SAY"])
    if not os.environ.get("WEBUI_SECRET_KEY") and not os.path.exists(KEY_FILE):
        with open(KEY_FILE, "w") as file:
            file.write("key-of-the-image\n")
    if os.environ.get("TEST_EXIT_CODE"):
        print("ending as asked")
        sys.exit(int(os.environ["TEST_EXIT_CODE"]))
    os.makedirs(os.path.dirname(DATABASE), exist_ok=True)
    open_database()
    print("listening")
    ThreadingHTTPServer(("", int(os.environ.get("PORT", "8080"))), Answer).serve_forever()
