"""The settings: one file, and ``CLIENT_MANAGER_*`` variables that win over it."""

import json
import os
import re
import socket
from functools import partial
from pathlib import Path
from typing import Annotated

import platformdirs
from pydantic import AfterValidator, Field, IPvAnyNetwork, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from client_manager import __version__
from client_manager.docker_names import ImageReference, NodePrefix
from client_manager.errors import ConfigurationError

LOCAL_DOCKER = "unix:///var/run/docker.sock"


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        message = "must be an absolute path"
        raise ValueError(message)
    return path


def _postgres_url(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("postgresql://", "postgres://")):
        message = "must begin with postgresql://"
        raise ValueError(message)
    return url


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
Seconds = Annotated[float, Field(gt=0)]
PortNumber = Annotated[int, Field(ge=1024, le=65535)]


def config_file() -> Path:
    """Return the settings file: ``$CLIENT_MANAGER_CONFIG``, else ``config.toml`` in the user's configuration folder."""
    named = os.environ.get("CLIENT_MANAGER_CONFIG")
    return Path(named) if named else platformdirs.user_config_path("client-manager") / "config.toml"


def _postgres_dir() -> Path:
    if os.geteuid() == 0:  # its server has an account of its own, which may not enter root's home
        return Path("/var/lib/client-manager/postgres")
    return platformdirs.user_data_path("client-manager") / "postgres"


def _cluster() -> str:
    """Return this machine's name as a cluster may be called."""
    name = re.sub(r"[^a-z0-9]+", "-", socket.gethostname().partition(".")[0].lower())[:52].strip("-")
    return name or "cluster"


def _docker_host() -> str:
    return os.environ.get("DOCKER_HOST") or LOCAL_DOCKER


class Settings(BaseSettings):
    """Everything an operator may set; durations in seconds, sizes in bytes.

    Attributes:
        data_root: where clients live, one folder each; must be on the machine that Docker runs on.
        database_url: PostgreSQL or Supabase, where the sync system keeps its state; left out, it comes embedded.
        postgres_dir: where the embedded PostgreSQL keeps its data.
        docker_host: the Docker endpoint; ``DOCKER_HOST`` is its default.
        docker_context: a Docker context to use instead; a context that is merely current is ignored.
        image: what a new client runs.
        memory_bytes: memory limit of a new client.
        first_port: first host port that a new client may get.
        last_port: last host port that a new client may get.
        network_pool: where the clients' own networks get their /28 subnets; Docker's default pools end at about 30.
        health_timeout_s: how long a started client may take until ``/health/db`` answers; a first start migrates.
        stop_timeout_s: how long a client may take to stop before it is killed.
        state_dir: the journal and tracebacks.
        cluster: what a sync cluster of this machine is called where nobody says; by default like the machine.
        node_image: what sync nodes run; built from this installation where it is missing.
        node_health_timeout_s: how long a started sync node may take until it answers, and a cluster until one leads.
        node_stop_timeout_s: how long a sync node may take to end its runs and hand over before it is killed.
        node_ports: where the API of sync-node-a and that of sync-node-b are, on 127.0.0.1.
        node_container_prefix: of the names of the sync nodes' containers.
    """

    model_config = SettingsConfigDict(env_prefix="CLIENT_MANAGER_", extra="forbid", frozen=True)

    data_root: AbsolutePath = Path("/opt/openwebui")
    database_url: Annotated[SecretStr, AfterValidator(_postgres_url)] | None = None
    postgres_dir: AbsolutePath = Field(default_factory=_postgres_dir)
    docker_host: str = Field(default_factory=_docker_host)
    docker_context: str | None = None
    image: ImageReference = "ghcr.io/open-webui/open-webui:v0.12.4"
    memory_bytes: int = Field(default=2 * 1024**3, ge=128 * 1024**2)
    first_port: PortNumber = 8081
    last_port: PortNumber = 9080
    network_pool: IPvAnyNetwork = Field(default="10.213.0.0/16", validate_default=True)
    health_timeout_s: Seconds = 300
    stop_timeout_s: Seconds = 30
    state_dir: AbsolutePath = Field(default_factory=partial(platformdirs.user_state_path, "client-manager"))
    cluster: str = Field(default_factory=_cluster)
    node_image: ImageReference = f"client-manager/sync-node:{__version__}"
    node_health_timeout_s: Seconds = 120
    node_stop_timeout_s: Seconds = 45
    node_ports: tuple[PortNumber, PortNumber] = (9443, 9444)
    node_container_prefix: NodePrefix = "openwebui-"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  pydantic-settings names the parameters
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read arguments first, then variables, then the file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, config_file())


def load_settings() -> Settings:
    """Read the settings.

    Raises:
        ConfigurationError: a value is wrong, a name is unknown, or the file cannot be read; never repeats a value,
            since it may be a secret.
    """
    try:
        _require_named_file()
        return Settings()
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise ConfigurationError(
            "A setting is wrong.", why=faults, hint=f"Correct it in {config_file()} or in its CLIENT_MANAGER_ variable."
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"The settings file {config_file()} cannot be read.",
            why=str(error),
            hint="It must be TOML, name = value, and yours to read.",
        ) from error


def _require_named_file() -> None:
    named = os.environ.get("CLIENT_MANAGER_CONFIG")
    if named and not Path(named).is_file():
        raise ConfigurationError(
            f"The settings file {named} does not exist.",
            why="CLIENT_MANAGER_CONFIG names it.",
            hint="Correct or unset CLIENT_MANAGER_CONFIG.",
        )


def ignored_docker_context(settings: Settings) -> str | None:
    """Return the Docker context that the docker command would use here and we do not, or None.

    A context left over from other work must not make the console manage another host.
    """
    if settings.docker_context:
        return None
    named = os.environ.get("DOCKER_CONTEXT")
    if not named:
        folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            return f"unreadable ({folder / 'config.json'})"
        named = config.get("currentContext") if isinstance(config, dict) else None
    return named if named and named != "default" else None
