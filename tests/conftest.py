"""Fixtures that every layer of the tests shares."""

import fcntl
import gc
import hashlib
import io
import os
import secrets
import signal
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import hypothesis
import pytest
from docker.errors import DockerException

from client_manager.app import App
from client_manager.settings import Settings
from tests.ports import window

OPEN_WEBUI = "ghcr.io/open-webui/open-webui:v0.12.4"
APP_IMAGE = "client-manager-test/app"
# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile(
    "client-manager", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("client-manager")
_APP = Path(__file__).parent / "images" / "app.py"
# By how long they take: a process that began one of these last would be waited for by the others.
LONGEST_FIRST = (
    "tests/integration/test_replace_faults.py",
    "tests/packaging/test_fresh_machine.py",
    "tests/documents/test_clusters.py",
    "tests/e2e/test_demo.py",
    "tests/integration/test_cli.py",
    "tests/menu/test_menus.py",
    "tests/node/test_scheduler.py",
    "tests/e2e/test_pictures.py",
    "tests/node/test_serve.py",
    "tests/e2e/test_deregistration.py",
    "tests/e2e/test_open_webui.py",
    "tests/e2e/test_cluster.py",
    "tests/e2e/test_restore_open_webui.py",
    "tests/integration/test_cluster_deploy.py",
    "tests/replication/proof/test_crash.py",
    "tests/replication/proof/test_cases_06_to_09_logs_and_pages.py",
    "tests/menu/test_cluster_menus.py",
)


@pytest.fixture(scope="session", autouse=True)
def _heeds_ctrl_c() -> Iterator[None]:
    """A shell starts what it runs in the background deaf to Ctrl-C, and so would be what the tests start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


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
    """An image that stands where Open WebUI would and fails on request; v2 of it exists too. Returns v1's tag.

    Made by a commit, not a build: each layer costs ten seconds where the storage driver compares whole file systems.
    """
    source = hashlib.sha256(_APP.read_bytes()).hexdigest()
    with alone("app-image"):
        for version in ("1", "2"):
            if not docker_api.images(f"{APP_IMAGE}:v{version}", filters={"label": f"source={source}"}):
                _commit(docker_api, version, source)
    return f"{APP_IMAGE}:v1"


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Keep the other processes of the tests out, so that what takes long is made once."""
    with (Path(tempfile.gettempdir()) / f"client-manager-test-{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _commit(api: Any, version: str, source: str) -> None:
    container = api.create_container(OPEN_WEBUI)["Id"]
    try:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.add(_APP, arcname="app.py")
        api.put_archive(container, "/opt", archive.getvalue())
        changes = [
            'CMD ["python3", "-u", "/opt/app.py"]',
            f'ENV TEST_VERSION={version} OF_THE_IMAGE=yes WEBUI_SECRET_KEY=""',
            f"LABEL source={source}",
        ]
        api.commit(container, APP_IMAGE, f"v{version}", changes=changes)
    finally:
        api.remove_container(container, force=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files come first, and whichever test asks for the nodes' image first waits while it is built."""
    rank = {file: place for place, file in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.nodeid.partition("::")[0], len(rank)))
    for item in items:
        if "node_image" in getattr(item, "fixturenames", ()) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture
def _sockets_collected() -> Iterator[None]:
    """docker-py leaves the socket of a client that could not be made to the garbage collector, and so to any test."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def node_image(docker_api: Any) -> str:
    """The image of the sync nodes, made of this checkout; returns its tag. Where it is current, that costs nothing."""
    del docker_api
    image = App(Settings()).node_image
    with alone("node-image"):
        image.ensure(lambda _line, _fraction: None)
    return image.reference


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings whose data root and ports are the test's own."""
    first = window(20)
    return Settings(
        data_root=tmp_path / "openwebui",
        state_dir=tmp_path / "state",
        postgres_dir=tmp_path / "postgres",
        first_port=first,
        last_port=first + 19,
        image=f"{APP_IMAGE}:v1",
        network_pool="10.214.0.0/16",
        memory_bytes=256 * 1024**2,
        health_timeout_s=60,
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
            api.remove_volume(volume["Name"])


@pytest.fixture(scope="session")
def postgres(docker_api: Any) -> Iterator[str]:
    """A PostgreSQL server of the tests' own; yields its superuser's URL. Its database 'migrated' is a template."""
    from tests.postgres import running_server

    with running_server(docker_api) as url:
        yield url


@pytest.fixture
def database_url(postgres: str) -> Iterator[str]:
    """The URL of a fresh, migrated database."""
    from tests.postgres import fresh_database

    with fresh_database(postgres) as url:
        yield url
