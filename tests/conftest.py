"""Fixtures that every layer of the tests shares."""

import io
import os
import secrets
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import APIError, DockerException, NotFound

from client_manager.app import App
from client_manager.settings import Settings

OPEN_WEBUI = "ghcr.io/open-webui/open-webui:v0.12.4"
APP_IMAGE = "client-manager-test/app"
_APP_FOLDER = Path(__file__).parent / "images" / "app"


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("CLIENT_MANAGER_", "DOCKER_")) and name != "CLIENT_MANAGER_REQUIRE_SERVICES":
            monkeypatch.delenv(name)
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))


@pytest.fixture(scope="session")
def docker_api() -> Iterator[Any]:
    """The Engine, spoken to without the console's own gateway."""
    try:
        client = docker.APIClient(version="auto")
        client.inspect_image(OPEN_WEBUI)
    except DockerException as error:
        if os.environ.get("CLIENT_MANAGER_REQUIRE_SERVICES"):
            raise
        pytest.skip(f"needs Docker and {OPEN_WEBUI}: {type(error).__name__}")
    yield client
    client.close()


@pytest.fixture(scope="session")
def app_image(docker_api: Any) -> str:
    """An image that stands where Open WebUI would and fails on request; v2 of it exists too. Returns v1's tag."""
    for version in ("1", "2"):
        context = io.BytesIO()
        with tarfile.open(fileobj=context, mode="w") as archive:
            archive.add(_APP_FOLDER, arcname=".")
        context.seek(0)
        tag = f"{APP_IMAGE}:v{version}"
        lines = docker_api.build(
            fileobj=context, custom_context=True, tag=tag, rm=True, decode=True, buildargs={"VERSION": version}
        )
        failures = [line["error"] for line in lines if "error" in line]
        assert not failures
    return f"{APP_IMAGE}:v1"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings whose data root and ports are the test's own."""
    first = 20000 + secrets.randbelow(400) * 20
    return Settings(
        data_root=tmp_path / "openwebui",
        state_dir=tmp_path / "state",
        first_port=first,
        last_port=first + 19,
        image=f"{APP_IMAGE}:v1",
        network_pool="10.214.0.0/16",  # type: ignore[arg-type]  pydantic reads the text
        memory_bytes=256 * 1024**2,
        health_timeout_s=20,
        stop_timeout_s=5,
    )


@pytest.fixture
def new_name(request: pytest.FixtureRequest) -> Iterator[Callable[[], str]]:
    """Returns client names that no other test uses, and clears away what Docker has of them afterwards."""
    names: list[str] = []

    def make() -> str:
        names.append(f"t{secrets.token_hex(5)}")
        return names[-1]

    yield make
    if names and "docker_api" in request.fixturenames:
        clear_away(request.getfixturevalue("docker_api"), names)


@pytest.fixture
def name(new_name: Callable[[], str]) -> str:
    """One such name."""
    return new_name()


@pytest.fixture
def app(settings: Settings, docker_api: Any, app_image: str) -> App:
    """The console on the real Engine, with a data root of its own."""
    del docker_api, app_image
    return App(settings)


def clear_away(api: Any, names: list[str]) -> None:
    """Remove every container, network and volume whose name holds one of these."""
    for container in api.containers(all=True):
        if any(name in text for name in names for text in container["Names"]):
            api.remove_container(container["Id"], force=True, v=True)
    for network in api.networks():
        if any(name in network["Name"] for name in names):
            api.remove_network(network["Id"])
    for volume in api.volumes()["Volumes"] or ():
        if any(name in volume["Name"] for name in names):
            try:
                api.remove_volume(volume["Name"])
            except NotFound:
                continue
            except APIError as error:  # another test's container still has it
                raise AssertionError(volume) from error
