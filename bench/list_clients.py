"""How long ``client list`` takes with 1,000 clients, against ``docker ps -a``, which asks the Engine the same.

    python bench/list_clients.py

Creates 1,000 containers on the local Engine, never starts them, and removes them again (about a minute).
"""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import docker

from _timing import BIN, medians, report, run_s
from client_manager.deployment.container_config import container_config
from client_manager.gateways.client_files import ClientFiles
from client_manager.models.client import ClientSpec

CLIENTS = 1000
RUNS = 11
LIBRARIES = "import docker, pydantic_settings, typer; docker.APIClient(version='auto').containers(all=True)"
IMAGE = "ghcr.io/open-webui/open-webui:v0.12.4"


def spec(number: int) -> ClientSpec:
    """Return one of the clients."""
    name = f"bench-{number:04}"
    return ClientSpec.model_validate(
        {
            "name": name,
            "container": f"openwebui-{name}",
            "domain": f"{name}.example.test",
            "image": IMAGE,
            "port": 10000 + number,
            "env": {"WEBUI_URL": f"https://{name}.example.test"},
            "secrets": {"WEBUI_SECRET_KEY": f"key of {name}"},
            "memory_bytes": 2 * 1024**3,
        }
    )


@contextlib.contextmanager
def thousand_clients(data_root: Path) -> Iterator[None]:
    """Create the clients' specs and containers; remove the containers afterwards."""
    files = ClientFiles(data_root)
    api = docker.APIClient(version="auto")
    made: list[str] = []

    def make(number: int) -> None:
        one = spec(number)
        files.write(one)
        config = container_config(one, IMAGE, "bench")
        config["HostConfig"] |= {"NetworkMode": "none", "Mounts": []}
        config["NetworkingConfig"] = {}
        made.append(api.create_container_from_config(config, one.container)["Id"])

    try:
        with ThreadPoolExecutor(2) as workers:
            list(workers.map(make, range(CLIENTS)))
        yield
    finally:
        with ThreadPoolExecutor(2) as workers:
            list(workers.map(lambda container: api.remove_container(container, force=True), made))
        api.close()


def main() -> int:
    """Print the ratio; the exit code says whether the target is met."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"CLIENT_MANAGER_DATA_ROOT": folder, "CLIENT_MANAGER_STATE_DIR": folder}
        with thousand_clients(Path(folder)):
            took = medians(
                {
                    "docker": lambda: run_s(["docker", "ps", "-a"]),
                    "list": lambda: run_s([str(BIN / "client-manager"), "client", "list"]),
                    "libraries": lambda: run_s([sys.executable, "-c", LIBRARIES]),
                },
                RUNS,
            )
    met = report(f"client list, {CLIENTS} clients", took["list"], "docker ps -a", took["docker"], 2)
    # What no program on these libraries can be faster than: load them, and ask the Engine once.
    report("  the libraries and one request alone", took["libraries"], "docker ps -a", took["docker"], 2)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
