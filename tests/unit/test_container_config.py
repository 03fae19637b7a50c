"""What the Engine is asked for, to the letter."""

import json
from pathlib import Path
from typing import Any

import pytest

from client_manager.deployment.container_config import (
    as_asked,
    container_config,
    endpoints_beyond_first,
    inside_port,
)
from client_manager.models.client import Carried, ClientSpec

GOLDEN = Path(__file__).parent / "golden"
CARRIED = {
    "container_id": "0123456789abcdef",
    "config": {"Cmd": ["bash", "start.sh"], "Labels": {"team": "chat"}, "StopSignal": "SIGINT"},
    "host_config": {
        "Binds": ["/opt/openwebui/chat-acme-com/data:/app/backend/data", "scratch:/scratch:ro"],
        "NetworkMode": "default",
        "PortBindings": {
            "8080/tcp": [{"HostIp": "", "HostPort": "8081"}],
            "9090/tcp": [{"HostIp": "", "HostPort": "9"}],
        },
        "RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0},
        "MemoryReservation": 629145600,
        "ExtraHosts": ["ollama:10.0.0.1"],
    },
    "endpoints": {"a-net": {"Aliases": ["chat"]}, "bridge": {}},
}


def _spec(**changes: object) -> ClientSpec:
    fields: dict[str, Any] = {
        "name": "acme",
        "container": "openwebui-acme",
        "domain": "chat.acme.test",
        "image": "ghcr.io/open-webui/open-webui:v0.12.4",
        "image_digest": "ghcr.io/open-webui/open-webui@sha256:1",
        "port": 8081,
        "env": {"WEBUI_URL": "https://chat.acme.test", "A": "with = and 'quotes'"},
        "secrets": {"WEBUI_SECRET_KEY": "k"},
        "memory_bytes": 2**30,
        "cpus": 1.5,
    }
    return ClientSpec.model_validate({**fields, **changes})


def _adopted(**changes: object) -> ClientSpec:
    carried = Carried.model_validate(CARRIED)
    return _spec(container="openwebui-chat-acme-com", carried=carried, cpus=None, **changes)


def _golden(name: str) -> Any:
    return json.loads((GOLDEN / name).read_text(encoding="utf-8"))


def test_new_client_is_asked_for_as_in_the_golden_file() -> None:
    assert container_config(_spec(), "app:v1", "0123456789ab") == _golden("new_client.json")


def test_adopted_client_is_asked_for_as_in_the_golden_file() -> None:
    assert container_config(_adopted(), "app:v1", "0123456789ab") == _golden("adopted_client.json")


def test_adopted_client_is_attached_to_its_other_networks_afterwards() -> None:
    assert endpoints_beyond_first(_adopted()) == {"bridge": {}}


def test_new_client_has_no_other_networks() -> None:
    assert endpoints_beyond_first(_spec()) == {}


def test_client_without_a_port_publishes_none() -> None:
    assert container_config(_spec(port=None), "app:v1", "")["HostConfig"]["PortBindings"] == {}


def test_client_without_limits_is_asked_for_without_limits() -> None:
    host = container_config(_spec(memory_bytes=None, cpus=None), "app:v1", "")["HostConfig"]

    assert (host["Memory"], host["NanoCpus"]) == (0, 0)


def test_another_port_of_an_adopted_client_is_published_where_the_old_one_was() -> None:
    bindings = container_config(_adopted(port=9000), "app:v1", "")["HostConfig"]["PortBindings"]

    assert bindings["8080/tcp"] == [{"HostIp": "", "HostPort": "9000"}]
    assert bindings["9090/tcp"] == [{"HostIp": "", "HostPort": "9"}]


def test_asking_twice_is_asking_the_same() -> None:
    spec = _adopted()
    once = json.dumps(container_config(spec, "app:v1", "1"))

    assert json.dumps(container_config(spec, "app:v1", "1")) == once
    assert spec == _adopted()


@pytest.mark.parametrize(
    ("memory", "reservation", "swap"),
    [(2 * 2**30, 600 * 2**20, 2 * 2**30), (512 * 2**20, 512 * 2**20, 2**30)],
)
def test_limits_that_hang_on_the_memory_limit_are_kept_in_its_bounds(memory: int, reservation: int, swap: int) -> None:
    carried = {**CARRIED, "host_config": {"MemoryReservation": 600 * 2**20, "MemorySwap": 2**30}}
    host = container_config(_spec(memory_bytes=memory, carried=carried), "app:v1", "")["HostConfig"]

    assert (host["MemoryReservation"], host["MemorySwap"]) == (reservation, swap)


def test_swap_without_a_limit_stays_without_one() -> None:
    carried = {**CARRIED, "host_config": {"MemorySwap": -1}}

    assert container_config(_spec(carried=carried), "app:v1", "")["HostConfig"]["MemorySwap"] == -1


def test_inside_port_is_that_of_the_variable() -> None:
    assert (inside_port({"PORT": "9000"}), inside_port({"PORT": ""}), inside_port({})) == (9000, 8080, 8080)


def test_endpoint_is_reduced_to_what_was_asked_for() -> None:
    inspected = {
        "a-net": {
            "IPAMConfig": {"IPv4Address": "10.1.0.9"},
            "Links": None,
            "Aliases": ["chat", "0123456789ab"],
            "NetworkID": "f00",
            "IPAddress": "10.1.0.9",
            "MacAddress": "02:42:0a:01:00:09",
            "DriverOpts": None,
        },
        "bridge": {"IPAMConfig": None, "Aliases": None, "IPAddress": "172.17.0.2"},
    }

    assert as_asked(inspected, "0123456789abcdef") == {
        "a-net": {"IPAMConfig": {"IPv4Address": "10.1.0.9"}, "Aliases": ["chat"]},
        "bridge": {},
    }
