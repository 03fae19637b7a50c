"""What a real bash completes: commands, options, and names out of files, never with an error or a trace."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pexpect
import pytest

from client_manager.app import App
from client_manager.models.operation import Operation
from client_manager.settings import Settings

BIN: Final = Path(sys.executable).parent
CUT_OFF: Final = Operation(
    action="change settings",
    client="globex",
    container="openwebui-globex",
    operator="ada",
    old_container_id=None,
    old_was_running=False,
    had_spec=True,
    had_data=True,
    had_volume=True,
    had_network=True,
)
# Completes each line of the standard input as Tab at its end would, and prints what there is to choose from.
_COMPLETE: Final = """
source ~/.bashrc
while IFS= read -r line; do
  read -ra COMP_WORDS <<< "$line"
  [[ $line == *" " ]] && COMP_WORDS+=("")
  COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 )) COMPREPLY=()
  _client_manager_completion client-manager
  printf '%s\\n' "$line|${COMPREPLY[*]}"
done
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose bash has the completion installed, and a data root with clients and a cluster."""
    home = tmp_path_factory.mktemp("home")
    for file in ("acme/client.json", "globex/client.json", ".client-manager/clusters/host-1/cluster.json"):
        (home / "root" / file).parent.mkdir(parents=True)
        (home / "root" / file).write_text("{}")
    App(Settings(data_root=home / "root")).files.write_operation(CUT_OFF)
    done = bash(home, "client-manager --install-completion; true")
    assert "completion installed" in done.stdout, done.stderr
    return home


def environment(home: Path, **more: str) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("CLIENT_MANAGER_", "DOCKER_", "XDG_"))
    }
    return {
        **kept,
        "HOME": str(home),
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "CLIENT_MANAGER_DATA_ROOT": str(home / "root"),
        "CLIENT_MANAGER_STATE_DIR": str(home / "state"),
        "CLIENT_MANAGER_DOCKER_HOST": "unix:///nonexistent/docker.sock",
        "CLIENT_MANAGER_DATABASE_URL": "postgresql://console@127.0.0.1:9/x",
        **more,
    }


def bash(home: Path, script: str, said: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", script], input=said, env=environment(home, **more), capture_output=True, text=True, timeout=50,
        check=False,
    )  # fmt: skip


def completed(home: Path, *lines: str, **more: str) -> list[str]:
    """What each half-typed line could become."""
    done = bash(home, _COMPLETE, "".join(f"{line}\n" for line in lines), **more)
    assert (done.returncode, done.stderr) == (0, "")
    return [line.partition("|")[2] for line in done.stdout.splitlines()]


def test_commands_options_and_names_are_completed_and_nothing_is_written(home: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
    wanted = {
        "client-manager cl": "client cluster",
        "client-manager client show --rev": "--reveal",
        "client-manager client stop glo": "globex",
        "client-manager sync pause ": "acme globex",
        "client-manager cluster watch h": "host-1",
        "client-manager node logs ": "sync-node-a sync-node-b",
        "client-manager node logs sync-node-a --cluster ": "host-1",
        "client-manager client create ": "",
        "client-manager client undo ": "globex",
    }
    assert dict(zip(wanted, completed(home, *wanted), strict=True)) == wanted
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before


@pytest.mark.parametrize("data_root", ["relative", "{home}/root/acme/client.json", "{home}/none"])
def test_what_cannot_be_read_completes_nothing_and_says_nothing(home: Path, data_root: str) -> None:
    more = {"CLIENT_MANAGER_DATA_ROOT": data_root.format(home=home)}
    assert completed(home, "client-manager client show ", **more) == [""]


@pytest.fixture
def shell(home: Path) -> Iterator[Any]:
    """A bash at a terminal."""
    child = pexpect.spawn("bash", ["--noprofile", "-i"], env=environment(home, INPUTRC="/dev/null"), timeout=30)
    yield child
    child.close(force=True)


def test_tab_at_a_terminal_completes_a_client_s_name(shell: Any) -> None:
    shell.expect("[#$] ")
    shell.send("client-manager client show gl\t")
    shell.expect_exact("globex ")
