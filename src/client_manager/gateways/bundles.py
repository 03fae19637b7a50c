"""Bundles: a cluster's rows in one checksummed file, complete on the disk before anything is deleted."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from client_manager.errors import ClientManagerError, ConfigurationError, NotFound
from client_manager.gateways.client_files import disk_errors
from client_manager.models.deregistration import Bundle

FOLDER: Final = "bundles"
# Rows hold what tenants wrote, in conflicts: nobody else's to read.
_MODE: Final = 0o600
_FOLDER_MODE: Final = 0o700
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]|^\.")


def write(folder: Path, bundle: Bundle) -> Path:
    """Write a bundle into a folder under a name of its own, flush it, read it again, and return where it is.

    Raises:
        ClientManagerError: the disk refuses, or does not give back what it was given.
    """
    text = _text(bundle)
    name = _UNSAFE.sub("_", bundle.cluster)  # the predecessor took any name
    path = folder / f"{name}-{bundle.made_at:%Y%m%dT%H%M%S.%fZ}.json"
    beside = path.with_name(f"{path.name}.new")
    with disk_errors(path):
        folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        try:
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.link(beside, path)  # never over a bundle that is there
        finally:
            beside.unlink(missing_ok=True)
        _flush(folder)
    if read(path) != bundle:
        raise ClientManagerError(f"{path} does not hold what was written to it.", hint="Check the disk.")
    return path


def read(path: Path) -> Bundle:
    """Return the bundle of a file.

    Raises:
        NotFound: there is no such file.
        ConfigurationError: it is not a bundle, was altered or cut, or a later program wrote it.
    """
    with disk_errors(path):
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise NotFound(f"There is no bundle {path}.", hint=f"They are in {path.parent}.") from None
        except UnicodeDecodeError:
            raise _broken(path, "It is no text.") from None
    return _parsed(path, text)


def row(text: str) -> dict[str, Any] | str:
    """Return a row as PostgreSQL wrote it, as what a bundle holds: the text itself where a float would not be exact."""
    try:
        parsed = json.loads(text, parse_float=_exact)
    except ValueError:
        return text
    return parsed if isinstance(parsed, dict) else text


def row_text(row: Mapping[str, Any] | str) -> str:
    """Return a row of a bundle as PostgreSQL reads it."""
    return row if isinstance(row, str) else json.dumps(row)


def _parsed(path: Path, text: str) -> Bundle:
    try:
        document = json.loads(text)
        content, checksum = document["content"], document["sha256"]
    except (ValueError, KeyError, TypeError):
        raise _broken(path, "It is not a whole JSON document with content and sha256.") from None
    if hashlib.sha256(_canonical(content).encode()).hexdigest() != checksum:
        raise _broken(path, "Its checksum is not that of its content: it was altered.")
    try:
        return Bundle.model_validate_json(json.dumps(content))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise _broken(path, faults) from None


def _broken(path: Path, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"{path} is not a bundle of this program.", why=why, hint="Use an unaltered copy, or a newer client-manager."
    )


def _text(bundle: Bundle) -> str:
    content = bundle.model_dump(mode="json")
    checksum = hashlib.sha256(_canonical(content).encode()).hexdigest()
    return json.dumps({"sha256": checksum, "content": content}, indent=1, ensure_ascii=False) + "\n"


def _canonical(content: object) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def _exact(text: str) -> float:
    number = float(text)
    if not Decimal(repr(number)).is_finite() or Decimal(repr(number)) != Decimal(text):
        raise ValueError("no float is this number")
    return number


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
