"""What Docker takes for the name of a container and of an image: each rule stands here once, also for the settings."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator

_CONTAINER: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")  # the Engine's own rule
_NODE_PREFIX: Final = re.compile(r"(?=.{0,64}$)openwebui-(?:[a-z0-9-]*-)?")
# https://pkg.go.dev/github.com/distribution/reference: a reference with its tag, its digest, or both
_IMAGE: Final = re.compile(
    r"(?P<name>(?:[a-zA-Z0-9][a-zA-Z0-9.-]*(?::\d+)?/)?[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?",
    re.ASCII,
)


def _container_name(name: str) -> str:
    if not _CONTAINER.fullmatch(name):
        raise ValueError("letters, digits, '_', '.' and '-' only, beginning with a letter or a digit")
    return name


def _node_prefix(prefix: str) -> str:
    if not _NODE_PREFIX.fullmatch(prefix):
        raise ValueError(
            "openwebui- or openwebui-NAME-, of lower-case letters, digits and hyphens, up to 64 characters"
        )
    return prefix


def _image(reference: str) -> str:
    match = _IMAGE.fullmatch(reference)
    if not match:
        raise ValueError("an image is written like ghcr.io/open-webui/open-webui:v0.12.4")
    if not match["tag"] and not match["digest"]:
        raise ValueError("name the tag too, so that a later pull does not change what runs")
    return reference


def image_tag(reference: str) -> str:
    """Return the tag of an image reference, or the reference itself where it has none."""
    match = _IMAGE.fullmatch(reference)
    return match["tag"] if match and match["tag"] else reference


ContainerName = Annotated[str, AfterValidator(_container_name)]
NodePrefix = Annotated[str, AfterValidator(_node_prefix)]
ImageReference = Annotated[str, AfterValidator(_image)]
