"""The settings file, one value of it changed and all else as it was."""

import os
import tempfile
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
