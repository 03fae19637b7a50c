"""The signals that end an operation, in a program of their own."""

import signal
import subprocess
import sys

import pytest

# Python drops an exception that is raised in a finalizer, and goes on.
STRUCK_IN_A_FINALIZER = """
import os, signal, sys, time
from client_manager import cli

class Struck:
    def __del__(self):
        os.kill(os.getpid(), signal.{name})
        for _ in range(1000):
            pass

def program():
    Struck()
    print("goes on", flush=True)
    time.sleep(20)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(cli.run(program))
"""
DEFERRED_TOO = STRUCK_IN_A_FINALIZER.replace(
    "    time.sleep(20)",
    "    with interrupts.deferred():\n        time.sleep(0.3)\n        print('whole', flush=True)\n    time.sleep(20)",
).replace("import cli", "import cli\nfrom client_manager.gateways import interrupts")


def _run(program: str, number: signal.Signals) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", program.format(name=number.name)]
    return subprocess.run(command, capture_output=True, text=True, timeout=15, check=False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_that_strikes_in_a_finalizer_still_ends_the_program(number: signal.Signals) -> None:
    result = _run(STRUCK_IN_A_FINALIZER, number)
    assert result.returncode == 130, result.stderr
    assert "Exception ignored" not in result.stderr


def test_a_signal_that_a_finalizer_dropped_waits_for_what_nothing_may_interrupt() -> None:
    result = _run(DEFERRED_TOO, signal.SIGINT)
    assert result.returncode == 130, result.stderr
    assert result.stdout.split("\n") == ["goes on", "whole", ""]


def test_a_fault_in_a_finalizer_is_still_told() -> None:
    program = STRUCK_IN_A_FINALIZER.replace("os.kill(os.getpid(), signal.{name})", "raise ValueError('{name}')")
    result = _run(program.replace("time.sleep(20)", "pass"), signal.SIGINT)
    assert result.returncode == 0
    assert "ValueError: SIGINT" in result.stderr
