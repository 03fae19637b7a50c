"""The application's own copy of its public URL, which would keep the old domain."""

from pathlib import Path

from client_manager.deployment.replace import PrepareData
from client_manager.gateways import webui_database
from client_manager.models.client import ClientSpec
from client_manager.models.environment import WEBUI_URL, follow_domain, public_url


def follow_public_url(old: ClientSpec, new: ClientSpec) -> PrepareData | None:
    """Return what makes the copy follow from one spec to another, or None where the public URL stays."""
    if public_url(old.domain, old.port) == public_url(new.domain, new.port):
        return None

    def follow(url: str) -> str:
        return follow_domain({WEBUI_URL: url}, old.domain, new.domain, ports=(old.port, new.port))[WEBUI_URL]

    def prepare(data: Path) -> None:
        webui_database.follow_public_url(data, follow)

    return prepare
