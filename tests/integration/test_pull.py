"""Images from a registry: fetched with their progress, or refused with what to do about it."""

import gzip
import hashlib
import io
import json
import socket
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from client_manager.app import App
from client_manager.deployment import create, images
from client_manager.errors import ClientManagerError, ExitCode, NotFound, Unavailable
from client_manager.models.client_request import CreateRequest
from tests.steps import Steps

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
# Docker reports progress every so many bytes; random ones, so that they do not shrink.
_LAYER_BYTES = 3 * 1024**2


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _layer(name: str) -> bytes:
    """Return an uncompressed layer with one file that no other test's image has."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        content = hashlib.shake_256(name.encode()).digest(_LAYER_BYTES)
        member = tarfile.TarInfo("file")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


@dataclass
class Registry:
    """A registry (API version 2) of one image; ``refuse`` is the status and the error that it answers instead."""

    address: str
    repository: str
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifest: bytes = b""
    refuse: tuple[int, str] | None = None

    @property
    def image(self) -> str:
        """The image as an operator names it."""
        return f"{self.address}/{self.repository}:v1"

    def publish(self) -> None:
        """Make the image."""
        layer = _layer(self.repository)
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["none"]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
        parts = {_CONFIG: json.dumps(config).encode(), _LAYER: gzip.compress(layer, 1)}
        self.blobs = {_digest(content): content for content in parts.values()}
        about = {
            kind: {"mediaType": kind, "size": len(content), "digest": _digest(content)}
            for kind, content in parts.items()
        }
        self.manifest = json.dumps(
            {"schemaVersion": 2, "mediaType": _MANIFEST, "config": about[_CONFIG], "layers": [about[_LAYER]]}
        ).encode()

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Return status, type and content of the answer to a path."""
        if path == "/v2/":
            return 200, "application/json", b"{}"
        if self.refuse:
            code, error = self.refuse
            return (
                code,
                "application/json",
                json.dumps({"errors": [{"code": error, "message": error.lower()}]}).encode(),
            )
        what = path.rpartition("/")[2]
        if path.startswith(f"/v2/{self.repository}/manifests/") and what in {"v1", _digest(self.manifest)}:
            return 200, _MANIFEST, self.manifest
        if what in self.blobs:
            return 200, "application/octet-stream", self.blobs[what]
        return 404, "application/json", b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}'


def _handler(registry: Registry) -> type[BaseHTTPRequestHandler]:
    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            code, kind, content = registry.answer(self.path)
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
            if kind == _MANIFEST:
                self.send_header("Docker-Content-Digest", _digest(content))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        do_HEAD = do_GET  # noqa: N815  the standard library names it

        def log_message(self, *_: object) -> None:
            return

    return Answer


@pytest.fixture
def registry(name: str, docker_api: Any) -> Iterator[Registry]:
    """A registry on this machine, which Docker speaks plain HTTP to, with one image, removed afterwards."""
    served = Registry("", f"test/{name}")
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(served)) as server:
        served.address = f"127.0.0.1:{server.server_address[1]}"
        served.publish()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield served
        server.shutdown()
        thread.join()
    for image in docker_api.images(f"{served.address}/{served.repository}"):
        docker_api.remove_image(image["Id"], force=True)


def test_pull_reports_how_far_it_is(app: App, registry: Registry) -> None:
    steps = Steps()

    images.choose_image(app, registry.image, steps)

    fractions = [progress.fraction for progress in steps.seen if progress.fraction is not None]
    assert steps.names == [f"Pulling {registry.image}"]
    assert any(0 < fraction < 1 for fraction in fractions)
    assert fractions[-1] == 1
    assert all(0 <= fraction <= 1 for fraction in fractions)


def test_pulled_image_is_known_by_the_digest_of_its_registry(app: App, registry: Registry) -> None:
    found = images.choose_image(app, registry.image, Steps())

    assert found.digest == f"{registry.address}/{registry.repository}@{_digest(registry.manifest)}"


def test_image_is_pulled_by_its_digest(app: App, registry: Registry) -> None:
    digest = f"{registry.address}/{registry.repository}@{_digest(registry.manifest)}"

    assert images.choose_image(app, digest, Steps()).digest == digest


def test_image_that_is_here_is_not_asked_for_again(app: App, registry: Registry) -> None:
    images.choose_image(app, registry.image, Steps())
    registry.refuse = (503, "UNAVAILABLE")
    steps = Steps()

    images.choose_image(app, registry.image, steps)

    assert steps.seen == []


def test_image_that_the_registry_does_not_have_is_not_found(app: App, registry: Registry) -> None:
    with pytest.raises(NotFound, match="does not exist") as caught:
        images.choose_image(app, registry.image.replace(":v1", ":v9"), Steps())

    assert caught.value.exit_code is ExitCode.NOT_FOUND
    assert "spelling" in caught.value.hint


@pytest.mark.parametrize("refusal", [(401, "UNAUTHORIZED"), (403, "DENIED"), (401, "DENIED"), (403, "FORBIDDEN")])
def test_registry_that_refuses_is_told_with_how_to_log_in(
    app: App, registry: Registry, refusal: tuple[int, str]
) -> None:
    registry.refuse = refusal

    with pytest.raises(Unavailable) as caught:
        images.choose_image(app, registry.image, Steps())

    assert "docker login" in caught.value.hint


def test_registry_with_a_fault_of_its_own_is_unavailable(app: App, registry: Registry) -> None:
    registry.refuse = (500, "UNKNOWN")

    with pytest.raises(Unavailable, match="cannot be pulled"):
        images.choose_image(app, registry.image, Steps())


def _nobody_listens(registry: Registry) -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    return f"127.0.0.1:{port}/{registry.repository}:v1"


def _refuses(registry: Registry) -> str:
    registry.refuse = (403, "DENIED")
    return registry.image


def _has_none(registry: Registry) -> str:
    return registry.image.replace(":v1", ":v9")


def test_registry_that_is_down_is_unavailable(app: App, registry: Registry) -> None:
    with pytest.raises(Unavailable, match="cannot be pulled") as caught:
        images.choose_image(app, _nobody_listens(registry), Steps())

    assert "connection refused" in caught.value.why


@pytest.mark.parametrize("fault", [_nobody_listens, _refuses, _has_none])
def test_nothing_is_left_of_a_client_whose_image_cannot_be_pulled(
    app: App, docker_api: Any, registry: Registry, name: str, fault: Callable[[Registry], str]
) -> None:
    spec = create.plan_create(app, CreateRequest(name=name, domain=f"{name}.test", image=fault(registry)))

    with pytest.raises(ClientManagerError):
        create.create(app, spec, Steps())

    assert not app.files.folder(name).exists()
    assert app.files.operations() == ()
    assert not [row for row in docker_api.containers(all=True) if any(name in text for text in row["Names"])]
    assert not docker_api.networks(names=[f"openwebui-{name}"])
    assert not docker_api.volumes(filters={"name": name})["Volumes"]


def test_image_that_ends_at_once_leaves_no_client(app: App, registry: Registry, name: str) -> None:
    spec = create.plan_create(app, CreateRequest(name=name, domain=f"{name}.test", image=registry.image))

    with pytest.raises(ClientManagerError):
        create.create(app, spec, Steps())

    assert not app.files.folder(name).exists()


@pytest.mark.filterwarnings("ignore:docker-credential-none-such:UserWarning")
def test_missing_login_program_is_no_fault_of_docker(
    app: App, registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("docker")
    (folder / "config.json").write_text('{"credsStore": "none-such"}', encoding="utf-8")
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))

    with pytest.raises(Unavailable, match="login to the registry") as caught:
        images.choose_image(app, registry.image, Steps())

    assert "credsStore" in caught.value.hint
