"""Where a demo lives: a folder of its own beside the embedded PostgreSQL's, with all that it makes on the disk."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, Literal

from client_manager.errors import ConfigurationError, Conflict
from client_manager.gateways import client_files, host, lock, settings_file
from client_manager.settings import Settings

NAME: Final = "demo"  # of its client, of its cluster, and of its folder
PREFIX: Final = f"openwebui-{NAME}-"  # of its nodes' containers
Story = Literal["docker", "processes"]

# Every account may pass: the embedded PostgreSQL has one of its own, and so have the nodes.
_PASSAGE: Final = 0o711
_MARKER: Final = "client-manager-demo"
# By chance, so that two demos of a machine do not choose the same; below those that the kernel gives away.
_PORTS: Final = range(18000, 20000)
_PARENT_TOO: Final = "made-with-its-parent"
# Every process that a demo starts has it, with the demo's folder; an operator who looks at a kept demo has not.
OF_THE_DEMO: Final = "OF_THE_CLIENT_MANAGER_DEMO"
REMOVE: Final = f"client-manager {NAME} --remove"


@dataclass(frozen=True)
class Place:
    """The folder of a demo; a file in it, which is there first and goes last, tells it from anybody else's."""

    folder: Path

    @classmethod
    def beside(cls, settings: Settings) -> "Place":
        """Return where the demo of these settings lives; with a demo's own settings it is that demo's."""
        above = settings.postgres_dir.parent
        return cls(above if _marker(above).exists() else above / NAME)

    @property
    def config(self) -> Path:
        """The demo's settings file."""
        return self.folder / "config.toml"

    @property
    def postgres(self) -> Path:
        """Where its PostgreSQL keeps its data."""
        return self.folder / "postgres"

    @property
    def is_there(self) -> bool:
        """Whether a demo plays, was kept, or was cut off here.

        Raises:
            Conflict: something of somebody else's is here.
        """
        with client_files.disk_errors(self.folder):
            if _marker(self.folder).exists():
                return True
            if self.folder.exists() and any(self.folder.iterdir()):
                raise Conflict(
                    f"The folder {self.folder} is there, and no demo has made it.",
                    why=f"The file {_MARKER}.lock is not in it.",
                    hint="Nothing of it was changed. Move it away, or set postgres_dir to another place.",
                )
        return False

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold the folder, so that no other demo, and no removal of one, works in it.

        Raises:
            Conflict: somebody else holds it.
        """
        with client_files.disk_errors(self.folder):
            alone = not self.folder.parent.exists()
            self.folder.mkdir(mode=_PASSAGE, parents=True, exist_ok=True)
            self.folder.chmod(_PASSAGE)
            if alone:
                (self.folder / _PARENT_TOO).touch()
        with lock.held(self.folder, _MARKER, NAME):
            yield

    def settings(self, operators: Settings) -> Settings:
        """Return the settings of the demo: everything of its own, on the operator's Docker and of their images."""
        port, *node_ports = _free_ports(3)
        return operators.model_copy(
            update={
                "data_root": self.folder / "openwebui",
                "state_dir": self.folder / "state",
                "postgres_dir": self.postgres,
                "database_url": None,
                "cluster": NAME,
                "first_port": port,
                "last_port": port,
                "node_ports": tuple(node_ports),
                "node_container_prefix": PREFIX,
            }
        )

    @property
    def story(self) -> str:
        """Which story plays here; empty before one has begun."""
        with client_files.disk_errors(self._story):
            return self._story.read_text(encoding="utf-8") if self._story.exists() else ""

    @property
    def _story(self) -> Path:
        return self.folder / "story"

    def prepare(self, settings: Settings, story: Story) -> None:
        """Write the settings for every command that is typed in the demo, and which story it is."""
        values = settings.model_dump(mode="json", exclude_none=True, exclude={"database_url"})
        settings_file.write_settings(self.config, values)
        with client_files.disk_errors(self._story):
            self._story.write_text(story, encoding="utf-8")

    def engine_of(self, operators: Settings) -> Settings:
        """Return settings with the Docker Engine that the demo in this folder was played on."""
        if not (self.is_there and self.config.exists()):
            return operators
        wrote = settings_file.read_settings(self.config)
        if "docker_host" not in wrote:  # cut off while it was written
            return operators
        return operators.model_copy(
            update={"docker_host": wrote["docker_host"], "docker_context": wrote.get("docker_context")}
        )

    @property
    def variables_in_the_way(self) -> tuple[str, ...]:
        """The operator's variables that would win over the demo's settings."""
        return tuple(sorted(name for name in os.environ if _is_of_the_console(name) and not name.endswith("_CONFIG")))

    def environment(self) -> dict[str, str]:
        """Return the variables of the demo's commands: the operator's without the console's own settings."""
        own = {name: value for name, value in os.environ.items() if not _is_of_the_console(name)}
        return {
            **own,
            "CLIENT_MANAGER_CONFIG": str(self.config),
            OF_THE_DEMO: str(self.folder),
            "PYTHONUNBUFFERED": "1",
        }

    def delete(self) -> None:
        """Delete the folder with all that is in it, the marker last; the one above too, if it was made with it."""
        with client_files.disk_errors(self.folder):
            parent_too = (self.folder / _PARENT_TOO).exists()
            for path in self.folder.iterdir():
                if path != _marker(self.folder):
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            _marker(self.folder).unlink(missing_ok=True)
            self.folder.rmdir()
            if parent_too and not any(self.folder.parent.iterdir()):
                self.folder.parent.rmdir()


def _is_of_the_console(variable: str) -> bool:
    return variable.startswith("CLIENT_MANAGER_")


def _marker(folder: Path) -> Path:
    return folder / f"{_MARKER}.lock"


def _free_ports(count: int) -> list[int]:
    drawn = secrets.SystemRandom().sample(_PORTS, len(_PORTS))
    free = list(islice((port for port in drawn if host.port_is_free(port)), count))
    if len(free) < count:
        raise ConfigurationError(
            f"The ports from {_PORTS[0]} to {_PORTS[-1]} are taken.", hint="'ss -ltnp' shows what has them."
        )
    return sorted(free)
