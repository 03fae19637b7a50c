"""What the nodes' containers are made of: the product's own answer, with the fuse in front."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from client_manager.models.cluster import ClusterFolder, ClusterSpec
from client_manager.sync_node.container_config import container_config

if TYPE_CHECKING:
    from tests.chaos.nodes import Node

# The folder of a checkout to run the nodes from, in whatever image has Python: no build between two tries, and room to
# break something.
FROM_CHECKOUT: Final = "CHAOS_FROM_CHECKOUT"


def node_config(
    spec: ClusterSpec, folder: ClusterFolder, node: "Node", image: str, variables: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the body of ``POST /containers/create``: the fuse starts the node, on the cluster's own network, where
    the test asks it, and nobody but the test starts it again.
    """  # fmt: skip
    config = container_config(spec, folder, node.name)  # type: ignore[arg-type]  # a node's name
    fuse = str(Path(__file__).with_name("node_entry.py"))
    host = config["HostConfig"]
    mounts = [*host["Mounts"], _bind(fuse, read_only=True), _bind(str(node.chaos), read_only=False)]
    variables = [f"CHAOS_FOLDER={node.chaos}", *variables]
    if checkout := os.environ.get(FROM_CHECKOUT):
        mounts += [_bind(part, read_only=True) for part in (checkout, *_libraries())]
        variables.append(f"PYTHONPATH={checkout}/src:{':'.join(_libraries())}")
    return {
        **config,
        "Image": image,
        "Env": variables,
        "Entrypoint": ["python3", fuse],
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {
            **host,
            "Mounts": mounts,
            "RestartPolicy": {"Name": "no"},
            "PortBindings": {},
            "NetworkMode": node.network,
        },
        "NetworkingConfig": {"EndpointsConfig": {node.network: {"IPAMConfig": {"IPv4Address": node.address}}}},
    }


def _bind(path: str, *, read_only: bool) -> dict[str, Any]:
    return {"Type": "bind", "Source": path, "Target": path, "ReadOnly": read_only}


def _libraries() -> list[str]:
    return [path for path in sys.path if path.endswith("site-packages")]
