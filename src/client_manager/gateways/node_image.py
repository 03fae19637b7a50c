"""The image of the sync nodes: whether it is there, and how it is made from a checkout by the Engine's own builder."""

import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from client_manager import resources
from client_manager.errors import ClientManagerError, NotFound
from client_manager.gateways.docker_engine import DockerEngine, Line
from client_manager.models.container import ImageDetail

LABEL_CONTEXT: Final = "client-manager.context"
BASE: Final = "python:3.11-slim"
# .dockerignore lets the same through.
CONTEXT: Final = ("pyproject.toml", "constraints.txt", "README.md", "src", "sql", "templates", "docs/client-manager.1")
_DOCKERFILE: Final = "Dockerfile"
_SILENCE_S: Final = 900  # while pip downloads and installs, the builder may say nothing
_LAST_LINES: Final = 5


class NodeImage:
    """One image by its reference. Every method raises ``Unavailable`` when the Engine does not answer."""

    def __init__(self, engine: DockerEngine, reference: str, base: str = BASE) -> None:
        self.reference = reference
        self._engine = engine
        self._base = base

    def current(self) -> ImageDetail | None:
        """Return the image, or None where ``ensure`` would have to build it."""
        checkout = resources.checkout()
        context = None if checkout is None else Context(checkout, self._base)
        found = self._engine.find_image(self.reference)
        return found if found and (context is None or _built_from(found) in {None, context.hash}) else None

    def ensure(self, on_progress: Line) -> ImageDetail:
        """Return the image; build it where it is missing, or was built from a checkout that has changed since.

        Raises:
            NotFound: it is missing, and the program is not a checkout that it could be built from.
            ClientManagerError: it cannot be built.
        """
        checkout = resources.checkout()
        context = None if checkout is None else Context(checkout, self._base)
        found = self._engine.find_image(self.reference)
        if found is not None and (context is None or _built_from(found) in {None, context.hash}):
            return found
        if context is None:
            raise NotFound(
                f"The image {self.reference} is not on this machine.",
                hint="Load it with 'docker load' or 'docker pull', or run 'make image' in a checkout.",
            )
        return self._build(context, on_progress)

    def _build(self, context: "Context", on_progress: Line) -> ImageDetail:
        said: list[str] = []
        with self._engine.speaking(f"The image {self.reference}") as api:
            answers = api.build(
                fileobj=io.BytesIO(context.archive()),
                custom_context=True,
                tag=self.reference,
                buildargs={"BASE": self._base},
                labels={LABEL_CONTEXT: context.hash},
                rm=True,
                forcerm=True,
                decode=True,
                timeout=_SILENCE_S,
            )
            for answer in answers:
                self._hear(answer, said, on_progress)
        found = self._engine.find_image(self.reference)
        if found is None:
            raise self._failed(said, "The builder ended without an image.")
        return found

    def _hear(self, answer: dict[str, Any], said: list[str], on_progress: Line) -> None:
        if "error" in answer:
            raise self._failed(said, str(answer["error"]))
        line = str(answer.get("stream", "")).strip()
        if line:
            said.append(line)
            on_progress(line, None)

    def _failed(self, said: list[str], error: str) -> ClientManagerError:
        return ClientManagerError(
            f"The image {self.reference} cannot be built.",
            why="\n".join((*said[-_LAST_LINES:], error)),
            hint=f"The builder needs {self._base}, and pip in it the package index.",
        )


class Context:
    """The files that the image is made of, read once: what is sent is what the hash is of."""

    def __init__(self, checkout: Path, base: str = BASE) -> None:
        self._files = {str(path.relative_to(checkout)): path.read_bytes() for path in _files(checkout)}
        digest = hashlib.sha256(base.encode())
        for name, content in self._files.items():
            digest.update(f"\n{name} {hashlib.sha256(content).hexdigest()}".encode())
        self.hash = digest.hexdigest()[:32]

    def archive(self) -> bytes:
        """Return a tar that is the same for the same files."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for name, content in self._files.items():
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(content), 0o644
                tar.addfile(member, io.BytesIO(content))
        return archive.getvalue()


def _files(checkout: Path) -> Iterator[Path]:
    yield checkout / _DOCKERFILE
    for name in CONTEXT:
        top = checkout / name
        below = sorted(path for path in top.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        yield from below if top.is_dir() else [top]


def _built_from(image: ImageDetail) -> str | None:
    """Return the hash of an image that was built here; None: it came from elsewhere, and is used as it is."""
    labels = image.config.get("Labels")
    return str(labels[LABEL_CONTEXT]) if isinstance(labels, dict) and LABEL_CONTEXT in labels else None
