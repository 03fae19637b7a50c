"""The data root: one folder per client, its spec, its operation under way, and its data."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from pydantic import ValidationError

from client_manager.errors import ClientManagerError, ConfigurationError
from client_manager.models.base import Model
from client_manager.models.client import ClientSpec
from client_manager.models.operation import Operation

SPEC: Final = "client.json"
PREVIOUS: Final = "client.json.previous"
REMOVED: Final = "client.json.removed"
DATA: Final = "data"

# Beside a file while it is written; every writer holds the client's lock, so one name is enough.
_NEW: Final = ".new"

M = TypeVar("M", bound=Model)


class ClientFiles:
    """The data root's files. Every method raises ``ClientManagerError`` when the disk refuses."""

    def __init__(self, data_root: Path) -> None:
        self.data_root = data_root
        self.own = data_root / ".client-manager"
        self.locks = self.own / "locks"
        self._operations = self.own / "operations"

    def folder(self, client: str) -> Path:
        """Return a client's folder."""
        return self.data_root / client

    def data(self, client: str) -> Path:
        """Return the folder that a client of ours keeps its data in."""
        return self.folder(client) / DATA

    def exists(self) -> bool:
        """Say whether the data root is there; the first client makes it."""
        with disk_errors(self.data_root):
            return self.data_root.exists()

    def names(self) -> tuple[str, ...]:
        """Return the clients that have a spec, sorted."""
        with disk_errors(self.data_root):
            if not self.data_root.exists():
                return ()
            return tuple(sorted(folder.name for folder in os.scandir(self.data_root) if _has_spec(folder)))

    def specs(self) -> tuple[ClientSpec, ...]:
        """Return every client's spec, by name.

        Raises:
            ConfigurationError: a file is not a spec.
        """
        return tuple(spec for folder in self._folders() if (spec := self.read(folder)))

    def readable_specs(self) -> tuple[tuple[ClientSpec, ...], dict[str, ConfigurationError]]:
        """Return the specs that can be read, and for each that cannot its folder and the error; only for looking."""
        specs, faults = [], {}
        for folder in self._folders():
            try:
                spec = self.read(folder)
            except ConfigurationError as error:
                faults[folder] = error
            else:
                specs += [spec] if spec else []
        return tuple(specs), faults

    def _folders(self) -> list[str]:
        with disk_errors(self.data_root):
            return sorted(path.name for path in self.data_root.iterdir()) if self.data_root.exists() else []

    def read(self, client: str) -> ClientSpec | None:
        """Return a client's spec, or None where it has none.

        Raises:
            ConfigurationError: the file is not a spec, or another client's.
        """
        spec = _read(self.folder(client) / SPEC, ClientSpec)
        if spec and spec.name != client:
            raise ConfigurationError(
                f"{self.folder(client) / SPEC} is the spec of {spec.name}.",
                why=f"What is done to {client} would be done to {spec.name}.",
                hint=f"Move the folder {self.folder(client)} out of {self.data_root}, or rename it back.",
            )
        return spec

    def read_removed(self, client: str) -> ClientSpec | None:
        """Return the spec that a removed client left beside its data, or None."""
        return _read(self.folder(client) / REMOVED, ClientSpec)

    def read_previous(self, client: str) -> ClientSpec | None:
        """Return the spec before the operation under way, or None."""
        return _read(self.folder(client) / PREVIOUS, ClientSpec)

    def write(self, spec: ClientSpec) -> None:
        """Write a spec, whole or not at all."""
        _write(self.folder(spec.name) / SPEC, spec.to_json())

    def keep_previous(self, client: str) -> None:
        """Keep the spec as it is now, to come back to."""
        spec = self.folder(client) / SPEC
        with disk_errors(spec):
            text = spec.read_text(encoding="utf-8") if spec.exists() else None
        if text is not None:
            _write(self.folder(client) / PREVIOUS, text)

    def restore_previous(self, client: str) -> None:
        """Make the kept spec the spec again; nothing kept, nothing done."""
        with disk_errors(self.folder(client)):
            if (self.folder(client) / PREVIOUS).exists():
                (self.folder(client) / PREVIOUS).replace(self.folder(client) / SPEC)
                _sync_folder(self.folder(client))

    def drop_previous(self, client: str) -> None:
        """Forget the kept spec."""
        with disk_errors(self.folder(client)):
            (self.folder(client) / PREVIOUS).unlink(missing_ok=True)

    def drop_removed(self, client: str) -> None:
        """Forget the spec of an earlier client of this name, once a new one has taken its data over."""
        with disk_errors(self.folder(client)):
            (self.folder(client) / REMOVED).unlink(missing_ok=True)

    def retire(self, client: str) -> None:
        """Set a removed client's spec aside: its data needs its secret key if it is ever to come back."""
        with disk_errors(self.folder(client)):
            if (self.folder(client) / SPEC).exists():
                (self.folder(client) / SPEC).replace(self.folder(client) / REMOVED)

    def make_data(self, client: str) -> None:
        """Make a client's data folder."""
        make_folder(self.data(client))

    def delete_data(self, folder: Path) -> None:
        """Delete a data folder with all that is in it; one that is gone is no error."""
        with disk_errors(folder):
            if folder.exists():
                shutil.rmtree(folder)

    def discard_spec(self, client: str) -> None:
        """Delete the spec of a client that never came to be, and its folder when nothing else is in it."""
        self._delete(client, SPEC, PREVIOUS)

    def drop(self, client: str) -> None:
        """Delete a client's specs, and its folder when nothing else is in it."""
        self._delete(client, SPEC, PREVIOUS, REMOVED)

    def _delete(self, client: str, *names: str) -> None:
        folder = self.folder(client)
        with disk_errors(folder):
            for name in names:
                (folder / name).unlink(missing_ok=True)
                (folder / f"{name}{_NEW}").unlink(missing_ok=True)
            if folder.exists() and not any(folder.iterdir()):
                folder.rmdir()

    def operation(self, client: str) -> Operation | None:
        """Return the operation that was under way on a client, or None."""
        return _read(self._operations / f"{client}.json", Operation)

    def operations(self) -> tuple[Operation, ...]:
        """Return every operation that was begun and not ended, by client."""
        with disk_errors(self._operations):
            if not self._operations.exists():
                return ()
            names = sorted(path.stem for path in self._operations.glob("*.json"))
        found = (self.operation(name) for name in names)
        return tuple(operation for operation in found if operation is not None)

    def write_operation(self, operation: Operation) -> None:
        """Record how far an operation is."""
        _write(self._operations / f"{operation.client}.json", operation.model_dump_json(indent=2) + "\n")

    def end_operation(self, client: str) -> None:
        """Forget an operation that was completed or undone."""
        with disk_errors(self._operations):
            (self._operations / f"{client}.json").unlink(missing_ok=True)
            _sync_folder(self._operations)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the disk's refusals into errors that say what to do."""
    try:
        yield
    except PermissionError as error:
        raise ClientManagerError(
            f"{error.filename or path} is not yours to read or change.",
            why=error.strerror or "permission denied",
            hint="Run as root, or set data_root, state_dir and postgres_dir to folders of your own.",
        ) from error
    except OSError as error:
        raise ClientManagerError(
            f"{error.filename or path} cannot be used.",
            why=error.strerror or str(error),
            hint="'df -h' shows whether the disk is full; 'client-manager doctor' checks the data root.",
        ) from error


def make_folder(folder: Path) -> None:
    """Make a folder for the owner and its group only; tenants' data is nobody else's to read."""
    with disk_errors(folder):
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)


def _has_spec(folder: "os.DirEntry[str]") -> bool:
    return folder.is_dir() and (Path(folder.path) / SPEC).exists()


def _read(path: Path, kind: type[M]) -> M | None:
    with disk_errors(path):
        try:
            text = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise ConfigurationError(
            f"{path} is not what it should be.", why=faults, hint="Correct the file, or bring it back from a backup."
        ) from None


def _write(path: Path, text: str) -> None:
    """Write beside, flush to the disk, rename: a reader or a power cut sees the old file or the new one."""
    make_folder(path.parent)
    beside = path.with_name(f"{path.name}{_NEW}")
    with disk_errors(path):
        try:
            with os.fdopen(
                os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
            ) as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
