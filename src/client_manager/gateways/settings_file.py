"""The settings file: one value of it changed and all else as it was, or one of its own."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from client_manager.errors import ConfigurationError
from client_manager.gateways import client_files


def write_setting(path: Path, name: str, value: str) -> None:
    """Set one value, whole or not at all; comments and order stay, and nobody else may read the file.

    Raises:
        ConfigurationError: a variable would win over the file, or the file is no TOML.
    """
    variable = f"CLIENT_MANAGER_{name.upper()}"
    if variable in os.environ:
        raise ConfigurationError(
            f"{variable} is set.",
            why=f"It wins over {path}, so that a change there would have no effect.",
            hint=f"Unset {variable}, then try again.",
        )
    client_files.make_folder(path.parent)
    with client_files.disk_errors(path):
        try:
            document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.exists() else tomlkit.document()
        except (TOMLKitError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"The settings file {path} cannot be read.", why="It is no TOML.", hint="Correct it, then try again."
            ) from error
        document[name] = value
        descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(tomlkit.dumps(document))
            file.flush()
            os.fsync(file.fileno())
        Path(beside).replace(path)


def write_settings(path: Path, values: Mapping[str, object]) -> None:
    """Write a settings file of its own, which nobody else may read; what was there is gone."""
    with client_files.disk_errors(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(tomlkit.dumps(dict(values)))


def read_settings(path: Path) -> dict[str, object]:
    """Return the values of a settings file.

    Raises:
        ConfigurationError: it is no TOML.
    """
    with client_files.disk_errors(path):
        try:
            return dict(tomlkit.parse(path.read_text(encoding="utf-8")).unwrap())
        except (TOMLKitError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"The settings file {path} cannot be read.", why="It is no TOML.") from error
