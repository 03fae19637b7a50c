"""What the Engine is told of a sync node, exactly."""

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from client_manager.models.cluster import ClusterFolder, ClusterSpec
from client_manager.sync_node.container_config import container_config, spec_hash

FOLDER = ClusterFolder(path=Path("/opt/openwebui/.client-manager/clusters/prod"))


def spec(**changes: Any) -> ClusterSpec:
    values: dict[str, Any] = {
        "name": "prod",
        "hostname": "host-1",
        "host_id": UUID(int=7),
        "data_root": "/opt/openwebui",
        "image": "client-manager/sync-node:1.0",
        "network": "host",
        "uid": 65532,
        "gid": 1000,
    }
    return ClusterSpec.model_validate({**values, **changes})


def bind(path: str, *, read_only: bool) -> dict[str, Any]:
    return {"Type": "bind", "Source": path, "Target": path, "ReadOnly": read_only}


def test_a_node_sees_the_clients_writes_only_baselines_and_may_do_nothing_else() -> None:
    config = container_config(spec(), FOLDER, "sync-node-a")
    mark = config["Labels"].pop("client-manager.spec")

    assert len(mark) == 16
    assert config == {
        "Image": "client-manager/sync-node:1.0",
        "Cmd": ["node", "run", "--cluster-folder", str(FOLDER.path), "--node", "sync-node-a"],
        "User": "65532:1000",
        "StopTimeout": 45,
        "Labels": {
            "client-manager.role": "sync-node",
            "client-manager.cluster": "prod",
            "client-manager.node": "sync-node-a",
        },
        "HostConfig": {
            "NetworkMode": "host",
            "PortBindings": {},
            "Mounts": [bind("/opt/openwebui", read_only=True), bind(f"{FOLDER.path}/state", read_only=False)],
            "RestartPolicy": {"Name": "unless-stopped"},
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "ReadonlyRootfs": True,
            "Tmpfs": {"/tmp": "rw,noexec,nosuid,nodev,size=64m,mode=1777"},  # noqa: S108  the container's own
            "Memory": 512 * 1024**2,
            "MemorySwap": 512 * 1024**2,
            "PidsLimit": 256,
            "Ulimits": [{"Name": "nofile", "Soft": 65536, "Hard": 65536}],
        },
    }


def test_on_a_bridge_the_port_is_published_on_the_loopback_and_the_socket_mounted() -> None:
    config = container_config(spec(network="bridge", socket_folder="/var/lib/pg/socket"), FOLDER, "sync-node-b")

    assert config["ExposedPorts"] == {"9444/tcp": {}}
    host = config["HostConfig"]
    assert host["NetworkMode"] == "openwebui-sync-prod"
    assert host["PortBindings"] == {"9444/tcp": [{"HostIp": "127.0.0.1", "HostPort": "9444"}]}
    assert host["Mounts"][2:] == [bind("/var/lib/pg/socket", read_only=True)]


@pytest.mark.parametrize(
    "changes",
    [
        {"image": "client-manager/sync-node:1.1"},
        {"workers": 5},
        {"times": {"ttl_s": 9}},
        {"database": "elsewhere:5432/postgres"},
        {"memory_bytes": 256 * 1024**2},
        {"uid": 0},
    ],
    ids=str,
)
def test_whatever_a_node_is_started_with_is_in_its_hash(changes: dict[str, Any]) -> None:
    assert spec_hash(spec(**changes), FOLDER, "sync-node-a") != spec_hash(spec(), FOLDER, "sync-node-a")


def test_the_hash_of_the_same_is_the_same_and_another_nodes_another() -> None:
    assert spec_hash(spec(), FOLDER, "sync-node-a") == spec_hash(spec(), FOLDER, "sync-node-a")
    assert spec_hash(spec(), FOLDER, "sync-node-a") != spec_hash(spec(), FOLDER, "sync-node-b")
