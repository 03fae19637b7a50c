"""What a node says of itself over HTTP, and what is made of answers that are not a node's."""

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from client_manager.gateways import node_http


class Program:
    """A program on a port that answers what it is told to."""

    def __init__(self) -> None:
        self.status, self.body, self.asked = 200, b"", ""
        program = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                program.asked = f"{self.path} {self.headers.get('Authorization')}"
                self.send_response(program.status)
                self.end_headers()
                self.wfile.write(program.body)

            def log_message(self, *arguments: Any) -> None:
                del arguments

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]


@pytest.fixture
def program() -> Iterator[Program]:
    program = Program()
    thread = threading.Thread(target=program.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield program
    program.server.shutdown()
    program.server.server_close()
    thread.join()


def test_a_node_that_is_well(program: Program) -> None:
    moment = datetime.now(UTC) - timedelta(seconds=90)
    program.body = json.dumps({
        "node_id": "sync-node-a/1", "is_leader": True, "leader_id": "sync-node-a/1", "term": 4, "problem": "",
        "last_sync": moment.isoformat(), "uptime_seconds": 12.5,
    }).encode()  # fmt: skip

    said = node_http.opinion("sync-node-a", program.port)

    assert (said.reachable, said.healthy, said.is_leader, said.term) == (True, True, True, 4)
    assert said.last_sync_age_s == pytest.approx(90, abs=5)


def test_a_node_that_is_not_says_why(program: Program) -> None:
    program.status = 503
    program.body = json.dumps({"node_id": "sync-node-a/1", "problem": "No leader is known."}).encode()

    said = node_http.opinion("sync-node-a", program.port)

    assert (said.reachable, said.healthy, said.is_leader) == (True, False, False)
    assert said.problem == "No leader is known."


@pytest.mark.parametrize("body", [b"{}", b"[]", b"<html>", b'{"node_id": "sync-node-b/1"}', b'{"node_id": 7}'])
def test_what_is_no_answer_of_this_node_counts_for_nothing(program: Program, body: bytes) -> None:
    program.body = body

    said = node_http.opinion("sync-node-a", program.port)

    assert not said.reachable
    assert not said.healthy
    assert said.problem


def test_nobody_there() -> None:
    with socket.socket() as taken:  # bound, so that nobody else gets it, and not listening
        taken.bind(("127.0.0.1", 0))
        said = node_http.opinion("sync-node-a", taken.getsockname()[1])

    assert (said.reachable, said.problem) == (False, "Connection refused")


def test_the_token_goes_along_where_it_is_asked_for(program: Program) -> None:
    program.body = b'{"nodes": []}'

    assert node_http.ask(program.port, "/api/v1/cluster/status", SecretStr("t")) == (200, {"nodes": []})
    assert program.asked == "/api/v1/cluster/status Bearer t"
