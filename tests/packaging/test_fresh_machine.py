"""A fresh Debian with Python and make, nothing else of ours on it, goes from the clone to the demo's end."""

import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from requests.exceptions import RequestException

CHECKOUT = Path(__file__).resolve().parents[2]
DEBIAN = "python:3.11-slim"
DEADLINE_S = 540
SCRIPT = """
command -v make > /dev/null || { apt-get update -qq && apt-get install -qq --no-install-recommends make > /dev/null; }
cd /clone
! test -e .venv
make run < /dev/null
make demo
"""


@pytest.fixture
def machine(docker_api: Any) -> Iterator[str]:
    """The container, with the clone in it; gone at the end."""
    variables, mounts = from_where_pip_installs()
    container = docker_api.create_container(
        DEBIAN,
        ["sh", "-exc", SCRIPT],
        environment=variables,
        host_config=docker_api.create_host_config(binds=mounts),
    )["Id"]
    try:
        docker_api.put_archive(container, "/", clone())
        yield container
    finally:
        docker_api.remove_container(container, force=True, v=True)


def from_where_pip_installs() -> tuple[dict[str, str], list[str]]:
    """This machine's way to the package index: what its environment and /etc/pip.conf say, and pip's cache."""
    proxies = {"http_proxy", "https_proxy", "no_proxy"}
    variables = {
        name: value for name, value in os.environ.items() if name.startswith("PIP_") or name.lower() in proxies
    }
    named = {value for value in variables.values() if value.startswith("/") and Path(value).exists()}
    mounts = [f"{path}:{path}:ro" for path in sorted({*named, "/etc/pip.conf"}) if Path(path).exists()]
    cache = Path.home() / ".cache" / "pip"
    if cache.exists() and cache.stat().st_uid == 0:  # pip takes none that is another user's
        mounts.append(f"{cache}:/root/.cache/pip")
    return variables, mounts


def clone() -> bytes:
    """The files of the checkout that are under version control, as they are now, owned by root."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, check=True, capture_output=True, text=True)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name in filter(None, listed.stdout.split("\0")):
            if (CHECKOUT / name).exists():
                tar.add(CHECKOUT / name, arcname=f"clone/{name}", filter=_of_root)
    return archive.getvalue()


def _of_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


@pytest.mark.timeout(600)
def test_from_the_clone_to_the_end_of_the_demo_without_docker(docker_api: Any, machine: str) -> None:
    docker_api.start(machine)

    try:
        code = docker_api.wait(machine, timeout=DEADLINE_S)["StatusCode"]
    except RequestException as error:  # docker-py lets the deadline through as its transport words it
        code = f"not ended within {DEADLINE_S} s: {type(error).__name__}"
    said = docker_api.logs(machine).decode(errors="replace")

    assert code == 0, said
    assert "client-manager --help  # every command" in said
    assert "Without Docker: " in said
    assert "All of it held, " in said
