"""The demo on Docker, with the real Open WebUI: what it says is what the README shows, and nothing of it is left."""

import difflib
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import alone
from tests.e2e.demo import DEFAULT, Ground, ground, playing

pytestmark = pytest.mark.timeout(400)
README = Path(__file__).resolve().parents[2] / "README.md"
NAMES = ("openwebui-demo", "openwebui-demo-sync-demo", "openwebui-demo-data")
LONGEST_S = 180
# What differs from run to run, and from machine to machine.
PATTERNS = (
    (r"client-manager \d+\.\d+\.\d+", "client-manager VERSION"),
    (r"sync-node:\S+", "sync-node:VERSION"),
    (r"Engine \S+", "Engine VERSION"),
    (r"PostgreSQL \d+\.\d+", "PostgreSQL VERSION"),
    (r" 0\.\d+\.\d+ ", " VERSION "),
    (r"\d{8}T\d{6}\.\d{6}Z", "TIME"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "TIME"),
    (r"(\d+s ago) +(-|-?[\d.]+s off)", "AGO SKEW"),
    (r"\d+s ago", "AGO"),
    (r"lease [\d.]+s", "lease LEFT"),
    (r"-?\d+\.\d+ s\b", "SECONDS"),
    (r"in \d+ s\.", "in SECONDS."),
    (r"\d+\.\d+ GiB", "SIZE"),
    (r"\b1\d{9}\b", "TERM"),
    (r"\b1[89]\d{3}\b", "PORT"),
    (r"\d+ of \d+ connections", "SOME connections"),
    (r"sync-node-[ab]", "sync-node-X"),
    (r"- (Waiting for the leader|Replicating demo) ", ""),  # a job that is over before the next look shows neither
    (r"disabled: [a-z][^.]*\.", "disabled: JOBS."),
    (r"\b\d+ (tables|rows|sync_jobs|sync_progress|cache_events)", r"SOME \1"),
)


def words(text: str) -> list[str]:
    """Everything that is said, however it is folded, without what may differ."""
    text = " ".join(text.split())
    for pattern, name in PATTERNS:
        text = re.sub(pattern, name, text)
    return text.split()


def block() -> str:
    """The demo's output as the README shows it."""
    section = README.read_text(encoding="utf-8").partition("\n## The demo\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("    ") or not line]
    return "\n".join(lines).partition("$ make demo\n")[2]


@pytest.fixture(scope="module", autouse=True)
def _nobody_else() -> Iterator[None]:
    """An Engine has room for one demo at a time: its containers have fixed names."""
    with alone("demo-on-docker"):
        yield


@pytest.fixture(autouse=True)
def _all_gone(docker_api: Any) -> Iterator[None]:
    yield
    assert on_docker(docker_api) == []


def on_docker(api: Any) -> list[str]:
    """What there is of the demo's names."""
    containers = [name for row in api.containers(all=True) for name in row["Names"] if "openwebui-demo" in name]
    networks = [each["Name"] for each in api.networks() if "openwebui-demo" in each["Name"]]
    volumes = [each["Name"] for each in api.volumes()["Volumes"] or () if "openwebui-demo" in each["Name"]]
    return [*containers, *networks, *volumes]


@pytest.fixture
def place() -> Iterator[Ground]:
    with ground() as made:
        yield made


def test_what_the_readme_shows_is_what_happens(place: Ground, node_image: str, docker_api: Any) -> None:
    del node_image
    began = time.monotonic()
    played = place.run("--yes", within_s=LONGEST_S)

    assert played.returncode == 0, played.stdout + played.stderr
    assert time.monotonic() - began < LONGEST_S
    assert on_docker(docker_api) == []
    place.assert_nothing_left()
    said = played.stdout.replace(str(place.above), DEFAULT).replace(f"{socket.gethostname()} ", "vm ")
    here, shown = words(said), words(block())
    assert shown
    assert list(difflib.unified_diff(shown, here, "README.md", "the demo", lineterm="", n=8)) == []


def test_killed_in_the_middle_it_is_removed_by_one_command(place: Ground, node_image: str, docker_api: Any) -> None:
    del node_image
    with playing(place) as played:
        played.until(r"- Creating sync-node-a", within_s=LONGEST_S)
        played.signal(signal.SIGKILL)
        played.code()
    assert "openwebui-demo-data" in on_docker(docker_api)

    removed = place.run("--remove", within_s=120)

    assert removed.returncode == 0, removed.stderr
    assert on_docker(docker_api) == []
    place.assert_nothing_left()


@pytest.fixture
def used_place() -> Iterator[Ground]:
    """One whose folder above is there already."""
    with ground(was_there=True) as made:
        yield made


def test_ctrl_c_while_a_command_works_removes_all(place: Ground, node_image: str) -> None:
    del node_image
    with playing(place) as played:
        played.until(r"- Waiting for health", within_s=LONGEST_S)
        played.signal(signal.SIGINT)
        assert played.code(within_s=120) == 130
    assert "Everything that the demo had made is removed." in played.text
    place.assert_nothing_left()


@pytest.fixture
def strangers(docker_api: Any) -> Iterator[list[str]]:
    """A container, a network and a volume of somebody's who has the same names."""
    container, network, volume = NAMES
    made = docker_api.create_container("python:3.11-slim", name=container)["Id"]
    docker_api.create_network(network)
    docker_api.create_volume(volume)
    yield on_docker(docker_api)
    docker_api.remove_container(made)
    docker_api.remove_network(network)
    docker_api.remove_volume(volume)


def test_what_is_a_strangers_is_left_alone(place: Ground, strangers: list[str], docker_api: Any) -> None:
    refused = place.run("--yes")

    assert refused.returncode == 6
    assert [name for name in NAMES if name not in refused.stderr] == []
    assert on_docker(docker_api) == strangers
    place.assert_nothing_left()


def test_what_came_between_is_a_strangers_too(used_place: Ground, docker_api: Any) -> None:
    """Of a demo that was cut off nothing is removed while something has one of its names and is not its own."""
    place = used_place
    place.folder.mkdir(mode=0o711)
    (place.folder / "client-manager-demo.lock").touch()
    (place.folder / "story").write_text("docker")
    docker_api.create_network(NAMES[1])
    try:
        refused = place.run("--remove")
        assert (refused.returncode, on_docker(docker_api)) == (6, [NAMES[1]])
        assert (place.folder / "story").exists()
    finally:
        docker_api.remove_network(NAMES[1])
    assert place.run("--remove").returncode == 0
    place.assert_nothing_left()
