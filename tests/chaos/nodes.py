"""One node: its container, the ways to hurt it, and everything that its /health has ever said."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import Any

import pytest

from tests.chaos import sampler
from tests.chaos.story import Story

_SHOWN = 300
NEEDED = {"nsenter": "util-linux", "iptables": "iptables", "mount": "mount"}


def require_programs() -> None:
    """Fail, and say what to install, where a program is missing that no container can stand in for."""
    missing = [f"{name} (apt-get install {package})" for name, package in NEEDED.items() if not shutil.which(name)]
    if os.geteuid() != 0:
        missing.append("the rights of root, to enter the nodes' network")
    if missing:
        pytest.fail(f"the chaos tests need {', '.join(missing)}")


def wait_until(what: str, done: Callable[[], Any], deadline_s: float = 30, every_s: float = 0.05) -> Any:
    """Wait for a condition, and return what it gave; fail with its name."""
    end = time.monotonic() + deadline_s
    while not (found := done()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline_s:g} s: {what}")
        time.sleep(every_s)
    return found


@dataclass(frozen=True)
class Sample:
    """One question for a node's health; status 0: no answer, and ``body`` says why."""

    node: str
    sent: float
    received: float
    status: int
    body: Any


@dataclass
class Node:
    """A container that runs a node behind ``node_entry.py``.

    Attributes:
        alive: it runs and is not frozen; of one that has just been started, since its first answer.
        linked: packets of its come through.
    """

    api: Any
    name: str
    container: str
    network: str
    address: str
    server: str
    port: int
    chaos: Path
    samples: list[Sample] = field(default_factory=list)
    alive: Story = field(default_factory=lambda: Story(so_at_first=False))
    linked: Story = field(default_factory=Story)
    _sampler: subprocess.Popen[str] | None = None
    _begins: bool = False

    def create(self, config: Mapping[str, Any]) -> None:
        """Make the container; the folder of its fuse is made anew."""
        self.chaos.mkdir(parents=True, exist_ok=True)
        self.api.create_container_from_config(config, self.container)

    def start(self) -> float:
        """Start it, and begin to ask; returns when."""
        for left in self.chaos.glob("*.json"):
            left.unlink()
        self.api.start(self.container)
        self._begins = True
        self._ask()
        return time.time()

    def remove(self) -> None:
        self._ask_no_more()
        with contextlib.suppress(Exception):
            self.api.remove_container(self.container, force=True, v=True)

    @property
    def runs(self) -> bool:
        return bool(self.api.inspect_container(self.container)["State"]["Running"])

    @property
    def first_process(self) -> int:
        return int(self.api.inspect_container(self.container)["State"]["Pid"])

    @property
    def process(self) -> int:
        """The node itself, seen from the host."""

        def children() -> list[str]:
            first = self.first_process
            return Path(f"/proc/{first}/task/{first}/children").read_text().split()

        return int(wait_until(f"{self.name}'s container has begun the node", children)[0])

    def send(self, number: Signals) -> float:
        """Send the node a signal; returns when. What ends or freezes it is remembered."""
        process = self.process
        if number in {Signals.SIGKILL, Signals.SIGSTOP, Signals.SIGTERM}:
            self._is_no_more()
        at = time.time()
        os.kill(process, number)
        if number == Signals.SIGCONT and not self._begins:
            self.alive.tell(so=True)
        return at

    def arm(self, label: str, number: Signals) -> None:
        """Let it send itself a signal at that step of its next run."""
        order = self.chaos / "arming"
        order.write_text(json.dumps({"label": label, "signal": number.name}))
        order.rename(self.chaos / "armed.json")

    def gone_off(self, deadline_s: float = 30) -> float:
        """Wait until it has; returns when it was."""
        fired = self.chaos / "fired.json"
        wait_until(f"{self.name} reaches the step", fired.exists, deadline_s, 0.01)
        self._is_no_more()
        return float(json.loads(fired.read_text())["at"])

    def disarm(self) -> None:
        for left in self.chaos.glob("*.json"):
            left.unlink()

    def ended(self) -> None:
        """Wait until the container has ended."""
        self._is_no_more()
        self.api.wait(self.container, timeout=30)
        self._ask_no_more()

    def stop(self) -> float:
        """End it as an operator does."""
        at = self._is_no_more()
        self.api.stop(self.container, timeout=20)
        self._ask_no_more()
        return at

    def cut(self) -> float:
        """Take it off the network."""
        at = self.linked.tell(so=False)
        self.api.disconnect_container_from_network(self.container, self.network)
        return at

    def join(self) -> None:
        self.api.connect_container_to_network(self.container, self.network, ipv4_address=self.address)
        self.linked.tell(so=True)

    def drop_packets(self) -> float:
        """Let every packet between it and the server vanish; nobody is told."""
        at = self.linked.tell(so=False)
        for chain, end in (("OUTPUT", "-d"), ("INPUT", "-s")):
            self._inside("iptables", "-I", chain, end, self.server, "-j", "DROP")
        return at

    def let_packets_through(self) -> None:
        self._inside("iptables", "-F")
        self.linked.tell(so=True)

    def log(self, lines: int = 40) -> str:
        said: bytes = self.api.logs(self.container, tail=lines)
        return said.decode(errors="replace")

    def events(self, many: int = 15) -> str:
        """The last things that it logged, but for runs that went well, each on a short line."""
        lines = [line for line in self.log(300).splitlines() if '"success"' not in line and '"psycopg"' not in line]
        return "\n".join(line[:_SHOWN] for line in lines[-many:])

    def _is_no_more(self) -> float:
        self._begins = False
        return self.alive.tell(so=False)

    def said(self) -> Sample | None:
        """The latest answer."""
        return self.samples[-1] if self.samples else None

    def _inside(self, *command: str) -> None:
        done = subprocess.run(
            ["nsenter", "--target", str(self.first_process), "--net", *command],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"

    def _ask(self) -> None:
        self._ask_no_more()
        command = ["nsenter", "--target", str(self.first_process), "--net", sys.executable, sampler.__file__]
        self._sampler = subprocess.Popen([*command, str(self.port)], stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._listen, args=(self._sampler,), daemon=True).start()

    def _listen(self, asking: subprocess.Popen[str]) -> None:
        assert asking.stdout
        with asking.stdout:
            for line in asking.stdout:
                if line.endswith("\n"):
                    self._hear(Sample(self.name, **json.loads(line)))

    def _hear(self, sample: Sample) -> None:
        if sample.status and self._begins:
            self._begins = False
            self.alive.tell(so=True)
        self.samples.append(sample)

    def _ask_no_more(self) -> None:
        if self._sampler is not None:
            self._sampler.kill()
            self._sampler.wait()
            self._sampler = None
