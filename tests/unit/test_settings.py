"""The settings: a file, variables that win over it, and faults that are told without a secret."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from client_manager.errors import ConfigurationError
from client_manager.settings import LOCAL_DOCKER, Settings, config_file, ignored_docker_context, load_settings

NOBODY = 65534
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a settings file and names it in CLIENT_MANAGER_CONFIG."""

    def write(text: str) -> Path:
        path = tmp_path / "settings.toml"
        path.write_text(text, encoding="utf-8")
        monkeypatch.setenv("CLIENT_MANAGER_CONFIG", str(path))
        return path

    return write


def _said(error: ConfigurationError) -> str:
    return f"{error.what} {error.why} {error.hint}"


def test_settings_without_file_and_variables_are_the_defaults() -> None:
    settings = load_settings()

    assert settings.data_root == Path("/opt/openwebui")
    assert settings.docker_host == LOCAL_DOCKER
    assert settings.database_url is None


def test_settings_come_from_the_file(write: Write) -> None:
    write('data_root = "/srv/webui"\nfirst_port = 9000\nhealth_timeout_s = 12.5\n')

    settings = load_settings()

    assert (settings.data_root, settings.first_port, settings.health_timeout_s) == (Path("/srv/webui"), 9000, 12.5)


def test_settings_come_from_the_users_folder_when_no_file_is_named() -> None:
    config_file().parent.mkdir(parents=True)
    config_file().write_text("first_port = 9001\n", encoding="utf-8")

    assert load_settings().first_port == 9001


def test_variable_wins_over_the_file(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write("first_port = 9000\nlast_port = 9010\n")
    monkeypatch.setenv("CLIENT_MANAGER_FIRST_PORT", "9005")

    settings = load_settings()

    assert (settings.first_port, settings.last_port) == (9005, 9010)


def test_argument_wins_over_variable_and_file(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write("first_port = 9000\n")
    monkeypatch.setenv("CLIENT_MANAGER_FIRST_PORT", "9005")

    assert Settings(first_port=9007).first_port == 9007


def test_docker_host_of_the_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/user/1000/docker.sock")

    assert load_settings().docker_host == "unix:///run/user/1000/docker.sock"


def test_docker_host_of_the_file_wins_over_that_of_the_environment(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write('docker_host = "unix:///a.sock"\n')
    monkeypatch.setenv("DOCKER_HOST", "unix:///b.sock")

    assert load_settings().docker_host == "unix:///a.sock"


@pytest.mark.parametrize(
    "prefix", ["-x", "openwebui x-", "openwebui/", "", "x-", "openwebui-a", "openwebui-" + 64 * "a" + "-"]
)
def test_prefix_that_no_node_could_have_is_refused(write: Write, prefix: str) -> None:
    write(f'node_container_prefix = "{prefix}"\n')

    with pytest.raises(ConfigurationError) as caught:
        load_settings()

    assert "node_container_prefix" in caught.value.why
    assert "openwebui-NAME-" in caught.value.why


@pytest.mark.parametrize("name", ["image", "node_image"])
@pytest.mark.parametrize("reference", ["ghcr.io/open-webui/open-webui", "Open WebUI:1", "", "x:y:z", "x@sha256:1"])
def test_image_without_a_tag_or_with_a_bad_reference_is_refused(write: Write, name: str, reference: str) -> None:
    write(f'{name} = "{reference}"\n')

    with pytest.raises(ConfigurationError) as caught:
        load_settings()

    assert f"{name}: " in caught.value.why


def test_unknown_name_in_the_file_is_refused_by_name(write: Write) -> None:
    write('colour = "hunter2"\n')

    with pytest.raises(ConfigurationError) as caught:
        load_settings()

    assert "colour" in caught.value.why
    assert "hunter2" not in _said(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("first_port", '"eighty"'),
        ("first_port", "80"),
        ("last_port", "65536"),
        ("data_root", '"relative/folder"'),
        ("state_dir", '""'),
        ("memory_bytes", "1"),
        ("health_timeout_s", "0"),
        ("stop_timeout_s", "-1"),
        ("network_pool", '"10.0.0.0/99"'),
        ("image", "7"),
        ("database_url", '"mysql://h/d"'),
    ],
)
def test_wrong_value_is_refused_with_the_name_of_its_setting(write: Write, name: str, value: str) -> None:
    write(f"{name} = {value}\n")

    with pytest.raises(ConfigurationError) as caught:
        load_settings()

    assert caught.value.why.startswith(f"{name}: ")


@pytest.mark.parametrize("text", ["first_port 9000", "first_port = ", "[", "a = 1\na = 2"])
def test_file_that_is_no_toml_is_refused_by_its_path(write: Write, text: str) -> None:
    path = write(text)

    with pytest.raises(ConfigurationError, match=str(path)):
        load_settings()


def test_file_that_is_no_text_is_refused_by_its_path(write: Write) -> None:
    path = write("")
    path.write_bytes(b'image = "\xff\xfe"')

    with pytest.raises(ConfigurationError, match=str(path)):
        load_settings()


def test_named_file_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CLIENT_MANAGER_CONFIG", str(tmp_path / "none.toml"))

    with pytest.raises(ConfigurationError, match=r"none\.toml does not exist"):
        load_settings()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user can enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


# tomllib: pydantic-settings loads it late, and nobody may be shut out of Python's own folder too
_AS_NOBODY = f"""
import os, tomllib
from client_manager import errors, settings
config = os.environ.pop("CLIENT_MANAGER_CONFIG")
settings.load_settings()  # loads what a run needs while it can be read
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid({NOBODY})
    os.setuid({NOBODY})
os.environ["CLIENT_MANAGER_CONFIG"] = config
try:
    settings.load_settings()
except errors.ConfigurationError as error:
    print(error.what)
"""


def _load_as_nobody(config: Path) -> str:
    """Return what load_settings says to a user who may not read everything."""
    environment = {**os.environ, "CLIENT_MANAGER_CONFIG": str(config)}
    done = subprocess.run(
        [sys.executable, "-c", _AS_NOBODY], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return done.stdout


def test_file_that_the_user_may_not_read_is_refused(folder: Path) -> None:
    config = folder / "config.toml"
    config.write_text("first_port = 9000\n", encoding="utf-8")
    config.chmod(0)

    assert f"{config} cannot be read" in _load_as_nobody(config)


def test_file_in_a_folder_that_the_user_may_not_enter_is_refused(folder: Path) -> None:
    config = folder / "closed" / "config.toml"
    config.parent.mkdir()
    config.write_text("first_port = 9000\n", encoding="utf-8")
    config.parent.chmod(0)
    try:
        assert f"{config} cannot be read" in _load_as_nobody(config)
    finally:
        config.parent.chmod(0o700)


@pytest.mark.parametrize(
    "url", ["mysql://u:hunter2@h/d", "hunter2", "postgresql:/u:hunter2@h", " postgresql://u:hunter2@h"]
)
def test_wrong_database_url_is_refused_without_its_password(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("CLIENT_MANAGER_DATABASE_URL", url)

    with pytest.raises(ConfigurationError) as caught:
        load_settings()

    assert "database_url" in caught.value.why
    assert "hunter2" not in _said(caught.value)
    assert caught.value.__cause__ is None


def test_database_url_is_masked_where_settings_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIENT_MANAGER_DATABASE_URL", "postgresql://u:hunter2@h/d")

    settings = load_settings()

    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://u:hunter2@h/d"
    assert "hunter2" not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"


@pytest.fixture
def docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The docker command's own configuration file."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return tmp_path / "config.json"


def test_leftover_docker_context_is_told_and_not_used(docker_config: Path) -> None:
    docker_config.write_text(json.dumps({"currentContext": "production"}), encoding="utf-8")

    settings = load_settings()

    assert (settings.docker_host, settings.docker_context) == (LOCAL_DOCKER, None)
    assert ignored_docker_context(settings) == "production"


def test_docker_context_of_a_variable_is_told_and_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONTEXT", "production")

    assert ignored_docker_context(load_settings()) == "production"


def test_docker_context_that_was_chosen_in_the_settings_is_not_told(docker_config: Path) -> None:
    docker_config.write_text(json.dumps({"currentContext": "production"}), encoding="utf-8")

    assert ignored_docker_context(Settings(docker_context="production")) is None


@pytest.mark.parametrize("text", ["{}", '{"currentContext": "default"}', '{"currentContext": ""}', "[]", "null"])
def test_docker_configuration_without_another_context_is_nothing_to_tell(docker_config: Path, text: str) -> None:
    docker_config.write_text(text, encoding="utf-8")

    assert ignored_docker_context(load_settings()) is None


def test_docker_configuration_that_is_broken_is_told(docker_config: Path) -> None:
    docker_config.write_text("{", encoding="utf-8")

    assert str(docker_config) in (ignored_docker_context(load_settings()) or "")
