"""A sync node as the Engine API's own JSON; pure, so that what will run can be shown and compared exactly."""

import hashlib
import json
from typing import Any, Final

from client_manager.models.cluster import ClusterFolder, ClusterSpec, NodeName
from client_manager.models.container import LABEL_CLUSTER, LABEL_ROLE, LABEL_SPEC

LABEL_NODE: Final = "client-manager.node"
ROLE: Final = "sync-node"
# A polite stop lets the node end or break off its runs and hand over; Docker itself waits no longer than this.
STOP_S: Final = 45
_PROCESSES: Final = 256
_SCRATCH: Final = "rw,noexec,nosuid,nodev,size=64m,mode=1777"


def network_name(spec: ClusterSpec) -> str:
    """Return the network of a cluster's nodes, where they have one of their own."""
    return f"{spec.container_prefix}sync-{spec.name}"


def labels(spec: ClusterSpec) -> dict[str, str]:
    """Return the labels that mark what belongs to a cluster's nodes."""
    return {LABEL_ROLE: ROLE, LABEL_CLUSTER: spec.name}


def container_config(spec: ClusterSpec, folder: ClusterFolder, node: NodeName) -> dict[str, Any]:
    """Return the body of ``POST /containers/create``; holds no secret, which the node reads from its folder."""
    body = {
        "Image": spec.image,
        "Cmd": ["node", "run", "--cluster-folder", str(folder.path), "--node", node],
        "User": f"{spec.uid}:{spec.gid}",
        "StopTimeout": STOP_S,
        **_ports(spec, node),
        "HostConfig": _host_config(spec, folder, node),
    }
    return {**body, "Labels": {**labels(spec), LABEL_NODE: node, LABEL_SPEC: _hash(spec, body)}}


def spec_hash(spec: ClusterSpec, folder: ClusterFolder, node: NodeName) -> str:
    """Return what the label of an up-to-date node says."""
    return str(container_config(spec, folder, node)["Labels"][LABEL_SPEC])


def _hash(spec: ClusterSpec, body: dict[str, Any]) -> str:
    """Return the hash of all that a node is started with: how its container is made, and the file that it reads."""
    text = json.dumps([spec.model_dump(mode="json"), body], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _ports(spec: ClusterSpec, node: NodeName) -> dict[str, Any]:
    return {} if spec.network == "host" else {"ExposedPorts": {f"{spec.ports[node]}/tcp": {}}}


def _host_config(spec: ClusterSpec, folder: ClusterFolder, node: NodeName) -> dict[str, Any]:
    port = spec.ports[node]
    own = spec.network != "host"
    return {
        "NetworkMode": network_name(spec) if own else "host",
        "PortBindings": {f"{port}/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]} if own else {},
        "Mounts": _mounts(spec, folder),
        "RestartPolicy": {"Name": "unless-stopped"},
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "ReadonlyRootfs": True,
        "Tmpfs": {"/tmp": _SCRATCH},  # noqa: S108  the container's own
        "Memory": spec.memory_bytes,
        "MemorySwap": spec.memory_bytes,  # none beside it: a node that swaps loses its lease
        "PidsLimit": _PROCESSES,
        "Ulimits": [{"Name": "nofile", "Soft": spec.open_files, "Hard": spec.open_files}],
    }


def _mounts(spec: ClusterSpec, folder: ClusterFolder) -> list[dict[str, Any]]:
    """Every folder at its own path: the clients' and the cluster's to read, the baselines to write."""
    socket = [_bind(str(spec.socket_folder), read_only=True)] if spec.socket_folder else []
    return [_bind(str(spec.data_root), read_only=True), _bind(str(folder.state), read_only=False), *socket]


def _bind(path: str, *, read_only: bool) -> dict[str, Any]:
    return {"Type": "bind", "Source": path, "Target": path, "ReadOnly": read_only}
