"""The sync nodes' image: built once from the checkout, runs as nobody on a file system that it cannot write to."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from client_manager import __version__, resources
from client_manager.app import App
from client_manager.errors import ClientManagerError, NotFound
from client_manager.gateways.node_image import CONTEXT, LABEL_CONTEXT, Context, NodeImage
from tests.node.nodes import ask
from tests.node.process import Machine, machine
from tests.waiting import until

CHECKOUT = Path(__file__).resolve().parents[2]
_SCRATCH = "client-manager-test/node-image"


def _run(image: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["docker", "run", "--rm", "--read-only", "--tmpfs=/tmp", "--cap-drop", "ALL", *arguments[:-1]]
    return subprocess.run([*command, image, arguments[-1]], capture_output=True, text=True, check=False)


@pytest.fixture
def scratch(docker_api: Any, new_name: Any) -> Iterator[str]:
    """A tag of this test's own."""
    tag = f"{_SCRATCH}:{new_name()}"
    yield tag
    if docker_api.images(tag):
        docker_api.remove_image(tag, force=True)


@pytest.fixture
def small_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose image costs one layer."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in CONTEXT:
        (checkout / name).parent.mkdir(exist_ok=True)
        (checkout / name).mkdir() if "." not in name else (checkout / name).write_text(name)
    (checkout / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\nLABEL made=here\n")
    monkeypatch.setattr(resources, "checkout", lambda: checkout)
    return checkout


def test_the_image_says_its_version_without_root_and_without_a_writable_file_system(node_image: str) -> None:
    said = _run(node_image, "--version")
    assert (said.returncode, said.stdout.strip()) == (0, f"client-manager {__version__}"), said.stderr


def test_the_image_runs_as_nobody_and_has_no_compiler(node_image: str) -> None:
    script = "id -u; command -v cc gcc c++; test -e /usr/src/client-manager && echo sources; touch /usr/x"
    command = ["docker", "run", "--rm", "--entrypoint", "sh", node_image, "-c", script]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.stdout.split() == ["65532"]
    assert "Permission denied" in said.stderr


def test_the_image_works_for_any_uid(node_image: str) -> None:
    said = _run(node_image, "--user", "12345:12345", "--version")
    assert said.returncode == 0, said.stderr


def test_the_image_carries_what_a_node_needs(node_image: str) -> None:
    script = (
        "from client_manager import resources; resources.read_text('sql', 'queries', 'node.sql'); "
        "import client_manager.node.serve, fastapi, uvicorn, prometheus_client; print(resources.checkout())"
    )
    command = ["docker", "run", "--rm", "--entrypoint", "python", node_image, "-c", script]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.stdout.strip() == "None", said.stderr


def test_the_docker_cli_sends_what_the_console_sends() -> None:
    allowed = {
        line.removeprefix("!") for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    assert allowed == set(CONTEXT)


def test_an_unchanged_checkout_is_not_built_again(app: App, scratch: str, small_checkout: Path) -> None:
    del small_checkout
    lines: list[str] = []
    image = NodeImage(app.engine, scratch)
    first = image.ensure(lambda line, _: lines.append(line))
    assert lines
    assert image.ensure(lambda line, _: pytest.fail(f"built: {line}")) == first


def test_a_changed_checkout_is_built_anew(app: App, scratch: str, small_checkout: Path) -> None:
    image = NodeImage(app.engine, scratch)
    first = image.ensure(lambda _line, _fraction: None)
    (small_checkout / "README.md").write_text("changed")
    second = image.ensure(lambda _line, _fraction: None)
    assert (first.id != second.id, second.config["Labels"]) == (
        True,
        {"made": "here", LABEL_CONTEXT: Context(small_checkout).hash},
    )


def test_an_image_from_elsewhere_is_used_as_it_is(app: App, app_image: str, small_checkout: Path) -> None:
    del small_checkout
    found = NodeImage(app.engine, app_image).ensure(lambda line, _: pytest.fail(f"built: {line}"))
    assert found == app.engine.find_image(app_image)


def test_an_installed_program_says_where_to_get_the_image(
    app: App, scratch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "checkout", lambda: None)
    with pytest.raises(NotFound, match=scratch):
        NodeImage(app.engine, scratch).ensure(lambda _line, _fraction: None)


def test_a_build_that_fails_says_what_the_builder_said(app: App, scratch: str, small_checkout: Path) -> None:
    (small_checkout / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\nRUN echo the-reason && exit 3\n")
    with pytest.raises(ClientManagerError) as caught:
        NodeImage(app.engine, scratch).ensure(lambda _line, _fraction: None)
    assert "the-reason" in caught.value.why
    assert app.engine.find_image(scratch) is None


def test_compiled_files_do_not_change_the_hash(small_checkout: Path) -> None:
    before = Context(small_checkout).hash
    cache = small_checkout / "src" / "__pycache__"
    cache.mkdir()
    (cache / "module.pyc").write_bytes(b"x")
    assert Context(small_checkout).hash == before
    shutil.rmtree(cache)
    (small_checkout / "src" / "module.py").write_text("x = 1\n")
    assert Context(small_checkout).hash != before


def _as_nobody(where: Machine) -> Machine:
    """Give the files to the account that the node runs as."""
    for path in (where.data_root, *where.data_root.rglob("*")):
        os.chown(path, 65532, 65532)
    return where


def test_a_node_in_its_container_is_healthy_leads_and_stops_in_time(
    docker_api: Any, node_image: str, tmp_path: Path, database_url: str, name: str
) -> None:
    where = _as_nobody(machine(tmp_path, database_url, "acme"))
    root, folder = str(where.data_root), where.folder
    binds = [f"{root}:{root}:ro", f"{folder.state}:{folder.state}:rw"]
    command = ["node", "run", "--cluster-folder", str(folder.path), "--node", "sync-node-a"]
    config = docker_api.create_host_config(
        network_mode="host",
        binds=binds,
        read_only=True,
        tmpfs=["/tmp:rw,noexec"],  # noqa: S108  the container's own
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        mem_limit="256m",
    )
    container = docker_api.create_container(node_image, command, name=name, host_config=config)["Id"]
    docker_api.start(container)

    def state() -> dict[str, Any]:
        found: dict[str, Any] = docker_api.inspect_container(container)["State"]
        assert found["Running"], docker_api.logs(container).decode()
        return found

    until(lambda: state()["Health"]["Status"] == "healthy", within_s=60)
    found = ask(database_url, "SELECT leader_name FROM sync_metadata.leader_election")
    assert found == [("sync-node-a",)]
    until(lambda: b'"job_ended"' in docker_api.logs(container), within_s=30)
    log = docker_api.logs(container).decode()
    assert ask(database_url, "SELECT generation > 0 FROM sync_metadata.replication_state") == [(True,)], log
    assert ask(database_url, "SELECT count(*) FROM acme.chat") == [(2,)]
    docker_api.stop(container, timeout=30)
    ended = docker_api.inspect_container(container)["State"]
    assert (ended["ExitCode"], ended["OOMKilled"]) == (0, False)
    assert "stopped" in docker_api.logs(container).decode().splitlines()[-1]
