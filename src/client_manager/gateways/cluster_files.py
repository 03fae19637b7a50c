"""The files of this machine's clusters: what each should be, its database's URL, its token, its baselines.

The nodes are another account, and see the data root through a read-only mount: what they may read is decided by owner
and mode alone.
"""

import os
import secrets
import shutil
from pathlib import Path
from typing import Final

from pydantic import SecretStr, ValidationError

from client_manager.errors import ConfigurationError
from client_manager.gateways.client_files import disk_errors
from client_manager.models.cluster import ClusterFolder, ClusterSpec, cluster_folder

# Whoever knows a name inside may pass; nobody but the owner sees which there are.
_PASSAGE: Final = 0o711
_OF_GROUP: Final = 0o750
_STATE: Final = 0o700
_SECRET: Final = 0o600


class ClusterFiles:
    """``<data_root>/.client-manager/clusters``. Every method raises ``ClientManagerError`` when the disk refuses."""

    def __init__(self, data_root: Path) -> None:
        self.data_root = data_root
        self._clusters = cluster_folder(data_root, "x").path.parent

    def folder(self, name: str) -> ClusterFolder:
        """Return where a cluster's files are."""
        return cluster_folder(self.data_root, name)

    def names(self) -> tuple[str, ...]:
        """Return the clusters of this machine, sorted."""
        with disk_errors(self._clusters):
            if not self._clusters.exists():
                return ()
            return tuple(sorted(path.name for path in self._clusters.iterdir() if self.folder(path.name).spec.exists()))

    def read(self, name: str) -> ClusterSpec | None:
        """Return what a cluster should be, or None where this machine has none of the name.

        Raises:
            ConfigurationError: the file is not a spec, or another cluster's.
        """
        path = self.folder(name).spec
        text = _read(path)
        if text is None:
            return None
        try:
            spec = ClusterSpec.model_validate_json(text)
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
            raise ConfigurationError(
                f"{path} is not what it should be.", why=faults, hint="Correct it, or bring it back from a backup."
            ) from None
        if spec.name != name:
            raise ConfigurationError(
                f"{path} is the spec of {spec.name}.", hint=f"Rename its folder back to {spec.name}."
            )
        return spec

    def prepare(self, spec: ClusterSpec) -> None:
        """Make the folders of a cluster, and let its nodes pass through them and write to the one for baselines."""
        folder = self.folder(spec.name)
        with disk_errors(folder.path):
            self.data_root.mkdir(mode=0o750, parents=True, exist_ok=True)
            for path in (self._clusters.parent, self._clusters):
                path.mkdir(mode=_PASSAGE, exist_ok=True)
                path.chmod(_PASSAGE)
            folder.path.mkdir(mode=_OF_GROUP, exist_ok=True)
            folder.path.chmod(_OF_GROUP)
            os.chown(folder.path, -1, spec.gid)
            folder.state.mkdir(mode=_STATE, exist_ok=True)
            folder.state.chmod(_STATE)
            for path in (folder.state, *folder.state.rglob("*")):  # of another account, where the spec has changed
                _give(path, spec)

    def write(self, spec: ClusterSpec) -> None:
        """Write what a cluster should be, whole or not at all."""
        self._write(spec, self.folder(spec.name).spec, spec.model_dump_json(indent=2) + "\n")

    def url(self, name: str) -> SecretStr | None:
        """Return the nodes' URL, or None where they have none yet."""
        text = _read(self.folder(name).database_url)
        return SecretStr(text.strip()) if text else None

    def write_url(self, spec: ClusterSpec, url: SecretStr) -> None:
        """Write the nodes' URL; they read it again for every connection."""
        self._write(spec, self.folder(spec.name).database_url, url.get_secret_value() + "\n")

    def token(self, name: str) -> SecretStr | None:
        """Return the token of the nodes' API, or None where there is none yet."""
        text = _read(self.folder(name).token)
        return SecretStr(text.strip()) if text else None

    def ensure_token(self, spec: ClusterSpec) -> None:
        """Make the token, or give the one that is there to the nodes' account."""
        token = self.token(spec.name) or SecretStr(secrets.token_urlsafe(32))
        self._write(spec, self.folder(spec.name).token, token.get_secret_value() + "\n")

    def write_root_certificate(self, spec: ClusterSpec, source: Path) -> None:
        """Keep a copy of what the database's certificate is checked against; its own path is not the nodes' to read."""
        with disk_errors(source):
            text = source.read_text(encoding="utf-8")
        self._write(spec, self.folder(spec.name).root_certificate, text)

    def discard(self, name: str) -> None:
        """Delete everything of a cluster that never came to be, or is no more; its baselines too."""
        with disk_errors(self.folder(name).path):
            if self.folder(name).path.exists():
                shutil.rmtree(self.folder(name).path)

    def _write(self, spec: ClusterSpec, path: Path, text: str) -> None:
        """Write beside, give away, flush, rename: a node sees the old file or the new one, and can read it."""
        beside = path.with_name(f"{path.name}.new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        with disk_errors(path):
            try:
                with os.fdopen(os.open(beside, flags, _SECRET), "w", encoding="utf-8") as file:
                    _give(beside, spec)
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                beside.replace(path)
            finally:
                beside.unlink(missing_ok=True)
            _flush(path.parent)


def _give(path: Path, spec: ClusterSpec) -> None:
    found = path.stat()
    if (found.st_uid, found.st_gid) != (spec.uid, spec.gid):
        os.chown(path, spec.uid, spec.gid)


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> str | None:
    with disk_errors(path):
        try:
            return path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
