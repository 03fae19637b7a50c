"""Containers that the console did not make: found, adopted as they are, and nothing of them lost when they change."""

import json
import sqlite3
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from client_manager.app import App
from client_manager.deployment import adopt, change, clients, create, ports, remove
from client_manager.errors import Blocked, Conflict, InvalidInput, NotFound
from client_manager.gateways.open_webui import database_answers
from client_manager.models.client import ClientSpec
from client_manager.models.client_request import ChangeRequest, CreateRequest
from client_manager.models.environment import SECRET_KEY
from tests.steps import Steps

MIB = 1024**2


@dataclass(frozen=True)
class Old:
    """A container as somebody else made it."""

    container: str
    domain: str
    port: int
    folder: Path


def _predecessor(api: Any, image: str, old: Old, env: dict[str, str], *, start: bool = True) -> None:
    """Make what client-manager.sh made with ``docker run``."""
    for folder in ("data", "static"):
        (old.folder / folder).mkdir(parents=True)
    variables = {
        "GOOGLE_CLIENT_ID": "1.apps.test",
        "GOOGLE_CLIENT_SECRET": "google-secret",
        "GOOGLE_REDIRECT_URI": f"https://{old.domain}/oauth/google/callback",
        "ENABLE_OAUTH_SIGNUP": "true",
        "OAUTH_ALLOWED_DOMAINS": old.domain,
        "WEBUI_NAME": "Chat & Co = 'quoted'",
        "WEBUI_URL": f"https://{old.domain}",
        "WEBUI_BASE_URL": f"https://{old.domain}",
        "FQDN": old.domain,
        "CLIENT_NAME": "chat",
        "ADDED_BY_HAND": "keeps = its value",
        "EMPTY": "",
        **env,
    }
    host = api.create_host_config(
        port_bindings={8080: old.port},
        mem_limit="700m",
        mem_reservation="600m",
        memswap_limit="1400m",
        restart_policy={"Name": "unless-stopped"},
        binds=[f"{old.folder}/data:/app/backend/data", f"{old.folder}/static:/app/backend/open_webui/static"],
    )
    test = "curl --silent --fail http://localhost:8080/health || exit 1"
    made = api.create_container(
        image,
        name=old.container,
        ports=[8080],
        detach=True,
        environment=variables,
        host_config=host,
        healthcheck={"test": ["CMD-SHELL", test], "interval": 10**10, "timeout": 5 * 10**9, "retries": 3},
    )["Id"]
    if start:
        api.start(made)
        _wait_for(api, made, "curl --silent --fail http://localhost:8080/health/db")


@pytest.fixture
def old(docker_api: Any, app: App, name: str, tmp_path: Path) -> Old:
    """A container of the predecessor, healthy."""
    made = Old(f"openwebui-chat-{name}-com", f"chat.{name}.com", ports.choose(app), tmp_path / "old")
    _predecessor(docker_api, app.settings.image, made, {SECRET_KEY: "key-of-old"})
    return made


@dataclass(frozen=True)
class HandMade:
    """A container that an administrator made with care."""

    container: str
    volume: str
    network: str
    link: str


@pytest.fixture
def hand_made(docker_api: Any, app: App, name: str) -> Iterator[HandMade]:
    """One with everything: its key only inside it, volumes, networks, labels, a command and a host name of its own."""
    made = HandMade(f"webui-{name}", f"vol-{name}", f"a-{name}", f"172.29.{int(name[1:3], 16)}")
    pool = {"Subnet": f"{made.link}.0/24"}
    docker_api.create_network(made.network, driver="bridge", ipam={"Driver": "default", "Config": [pool]})
    host = docker_api.create_host_config(
        port_bindings={8080: ("127.0.0.1", ports.choose(app))},
        binds=[f"{made.volume}:/app/backend/data"],
        extra_hosts={"ollama": "10.1.2.3"},
        restart_policy={"Name": "on-failure", "MaximumRetryCount": 4},
        cap_drop=["NET_RAW"],
        ulimits=[{"Name": "nofile", "Soft": 1024, "Hard": 2048}],
        shm_size=32 * MIB,
        mem_limit="300m",
        memswap_limit="300m",
    )
    container = docker_api.create_container(
        app.settings.image,
        ["python3", "-u", "/opt/app.py", "by hand"],
        name=made.container,
        hostname="chat-host",
        ports=[8080],
        detach=True,
        volumes=["/app/backend/data", "/scratch"],
        environment={"WEBUI_URL": f"https://hand.{name}.test", "TOOL_API_KEY": "tool-secret"},
        labels={"team": "chat", "traefik.enable": "true"},
        stop_signal="SIGINT",
        working_dir="/tmp",  # noqa: S108  a folder inside the container
        host_config=host,
    )["Id"]
    docker_api.connect_container_to_network(container, made.network, aliases=["webui"], ipv4_address=f"{made.link}.77")
    docker_api.start(container)
    _wait_for(docker_api, container, "curl --silent --fail http://localhost:8080/health/db")
    yield made
    mounts = docker_api.inspect_container(made.container)["Mounts"]
    docker_api.remove_container(made.container, force=True)
    for mount in mounts:  # a replaced container no longer takes its anonymous volume along
        docker_api.remove_volume(mount["Name"])


def _wait_for(api: Any, container: str, condition: str) -> None:
    """Return when a command succeeds in a container, at the latest after ten seconds."""
    test = f"for i in $(seq 100); do {condition} && exit 0; sleep 0.1; done; exit 1"
    run = api.exec_create(container, ["sh", "-c", test])["Id"]
    api.exec_start(run)
    assert api.exec_inspect(run)["ExitCode"] == 0


def _adopt(app: App, container: str, name: str | None = None, domain: str | None = None) -> ClientSpec:
    spec = adopt.plan_adopt(app, container, name, domain)
    adopt.adopt(app, spec)
    return spec


def _change(app: App, spec: ClientSpec, **fields: Any) -> ClientSpec:
    planned = change.plan_settings(app, spec.name, ChangeRequest(**fields))
    return change.apply_change(app, *planned, Steps())


def _env(inspected: dict[str, Any]) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in inspected["Config"]["Env"])


def _labels(inspected: dict[str, Any]) -> dict[str, str]:
    return {key: value for key, value in inspected["Config"]["Labels"].items() if not key.startswith("client-manager.")}


def _lasting(inspected: dict[str, Any], *, but: tuple[str, ...]) -> dict[str, Any]:
    """Return all that a replacement must not change: everything but ids, times and addresses that the Engine gives."""
    config = {key: value for key, value in inspected["Config"].items() if key not in {"Env", "Labels", *but}}
    host = {key: value for key, value in inspected["HostConfig"].items() if key not in {"Binds", *but}}
    if config["Hostname"] == inspected["Id"][:12]:
        del config["Hostname"]
    return {
        "config": {key: value for key, value in config.items() if value},
        "host": {key: value for key, value in host.items() if value},
        "labels": _labels(inspected),
        "mounts": sorted(
            (m["Destination"], m["Type"], m["Source"], m.get("Name"), m["RW"]) for m in inspected["Mounts"]
        ),
        "networks": {
            network: (
                sorted(set(end["Aliases"] or ()) - {inspected["Id"][:12]}),
                (end["IPAMConfig"] or {}).get("IPv4Address"),
            )
            for network, end in inspected["NetworkSettings"]["Networks"].items()
        },
        "ports": inspected["NetworkSettings"]["Ports"],
        "path": (inspected["Path"], inspected["Args"]),
    }


def test_container_of_the_predecessor_is_found_with_its_domain(app: App, old: Old) -> None:
    (found,) = (row for row in clients.list_clients(app) if row.container == old.container)

    assert (found.kind, found.drift, found.state) == ("found", "not managed", "running")
    assert (found.domain, found.port, found.database) == (old.domain, old.port, "sqlite")


def test_container_made_by_hand_is_found_by_its_data(app: App, hand_made: HandMade, name: str) -> None:
    (found,) = (row for row in clients.list_clients(app) if row.container == hand_made.container)

    assert (found.kind, found.domain) == ("found", f"hand.{name}.test")


def test_adopting_changes_nothing_in_docker(app: App, docker_api: Any, old: Old, name: str) -> None:
    before = docker_api.inspect_container(old.container)

    spec = _adopt(app, old.container)

    after = docker_api.inspect_container(old.container)
    assert _without_chance(after) == _without_chance(before)
    assert after["State"]["Running"]
    assert after["State"]["StartedAt"] == before["State"]["StartedAt"]
    assert (spec.name, spec.domain, spec.port) == (f"chat-{name}-com", old.domain, old.port)
    assert spec.secrets["GOOGLE_CLIENT_SECRET"].get_secret_value() == "google-secret"


def _without_chance(container: dict[str, Any]) -> dict[str, Any]:
    """What the Engine says of a container, without its health check's doings; mounts come in no order."""
    mounts = sorted(container["Mounts"], key=lambda mount: str(mount["Destination"]))
    return {**container, "Mounts": mounts, "State": None, "ExecIDs": None}


def test_planning_an_adoption_writes_nothing(app: App, old: Old) -> None:
    adopt.plan_adopt(app, old.container, None, None)

    assert not app.settings.data_root.exists()


@pytest.mark.parametrize("made", ["old", "hand_made"])
def test_adopted_client_has_not_drifted(app: App, made: str, request: pytest.FixtureRequest, name: str) -> None:
    _adopt(app, request.getfixturevalue(made).container, name)

    detail = clients.inspect_client(app, name)

    assert (detail.summary.kind, detail.summary.drift, detail.differences) == ("adopted", "no", ())


def test_container_of_the_predecessor_keeps_all_it_had_when_it_changes(app: App, docker_api: Any, old: Old) -> None:
    before = docker_api.inspect_container(old.container)
    spec = _adopt(app, old.container)

    changed = _change(app, spec, memory_bytes="512m")

    after = docker_api.inspect_container(old.container)
    limits = ("Memory", "MemorySwap", "MemoryReservation")
    assert after["Id"] != before["Id"]
    assert _lasting(after, but=limits) == _lasting(before, but=limits)
    assert _env(after) == _env(before)
    assert after["HostConfig"]["Memory"] == changed.memory_bytes == 512 * MIB
    assert database_answers(f"127.0.0.1:{old.port}")
    assert clients.inspect_client(app, spec.name).summary.drift == "no"


def test_container_made_by_hand_keeps_all_it_had_when_it_changes(
    app: App, docker_api: Any, hand_made: HandMade, name: str
) -> None:
    before = docker_api.inspect_container(hand_made.container)
    spec = _adopt(app, hand_made.container, name)

    _change(app, spec, memory_bytes="400m")

    after = docker_api.inspect_container(hand_made.container)
    limits = ("Memory", "MemorySwap")
    assert after["Id"] != before["Id"]
    assert _lasting(after, but=limits) == _lasting(before, but=limits)
    assert _env(after) == {**_env(before), "WEBUI_SECRET_KEY": "key-of-the-image"}
    assert after["HostConfig"]["Memory"] == 400 * MIB
    assert clients.inspect_client(app, name).summary.drift == "no"


def test_key_that_is_only_inside_the_container_is_taken_into_the_spec(app: App, hand_made: HandMade, name: str) -> None:
    spec = adopt.plan_adopt(app, hand_made.container, name, None)

    assert spec.secrets["WEBUI_SECRET_KEY"].get_secret_value() == "key-of-the-image"


def test_data_of_an_adopted_client_survives_a_change(app: App, old: Old) -> None:
    spec = _adopt(app, old.container)
    with closing(sqlite3.connect(old.folder / "data" / "webui.db")) as connection, connection:
        connection.execute("INSERT INTO chat VALUES ('a chat')")

    _change(app, spec, memory_bytes="1g")

    with closing(sqlite3.connect(old.folder / "data" / "webui.db")) as connection:
        assert connection.execute("SELECT id FROM chat").fetchall() == [("a chat",)]


def test_adopted_client_that_was_removed_comes_back_on_its_own_data(app: App, old: Old, name: str) -> None:
    spec = _adopt(app, old.container, name)
    with closing(sqlite3.connect(old.folder / "data" / "webui.db")) as connection, connection:
        connection.execute("INSERT INTO chat VALUES ('a chat')")
    remove.remove(app, name, delete_data=False, report=Steps())

    planned = create.plan_create(app, CreateRequest(name=name, domain=old.domain))
    back = create.create(app, planned, Steps())

    assert back.secrets[SECRET_KEY] == spec.secrets[SECRET_KEY]
    with closing(sqlite3.connect(old.folder / "data" / "webui.db")) as connection:
        assert connection.execute("SELECT id FROM chat").fetchall() == [("a chat",)]
    assert app.engine.get(back.container).mounts["/app/backend/data"][1] == str(old.folder / "data")


def test_domain_of_an_adopted_client_takes_its_redirects_along(app: App, old: Old, name: str) -> None:
    spec, domain = _adopt(app, old.container), f"ai.{name}.org"

    change.apply_change(app, *change.plan_domain(app, spec.name, domain), Steps())

    with urllib.request.urlopen(f"http://127.0.0.1:{old.port}/environment") as answer:
        env = json.load(answer)
    assert env["GOOGLE_REDIRECT_URI"] == f"https://{domain}/oauth/google/callback"
    assert {env["WEBUI_URL"], env["WEBUI_BASE_URL"]} == {f"https://{domain}"}
    assert env["FQDN"] == domain
    assert env["OAUTH_ALLOWED_DOMAINS"] == old.domain
    with closing(sqlite3.connect(old.folder / "data" / "webui.db")) as connection:
        (url,) = connection.execute("SELECT value FROM config WHERE key = 'webui.url'").fetchone()
    assert json.loads(url) == f"https://{domain}"


def test_container_with_its_data_inside_is_not_adopted(app: App, docker_api: Any, name: str) -> None:
    env = {"WEBUI_SECRET_KEY": "k", "FQDN": f"{name}.test"}
    docker_api.create_container(app.settings.image, name=f"openwebui-{name}", environment=env)

    with pytest.raises(Blocked, match="is inside the container"):
        adopt.plan_adopt(app, f"openwebui-{name}", None, None)


def test_container_without_a_key_is_not_adopted(app: App, docker_api: Any, name: str, tmp_path: Path) -> None:
    old = Old(f"openwebui-{name}", f"{name}.test", ports.choose(app), tmp_path / "old")
    _predecessor(docker_api, app.settings.image, old, {}, start=False)

    with pytest.raises(Blocked, match="cannot be found"):
        adopt.plan_adopt(app, old.container, None, None)


def test_container_that_removes_itself_is_not_adopted(app: App, docker_api: Any, name: str) -> None:
    host = docker_api.create_host_config(binds=[f"vol-{name}:/app/backend/data"], auto_remove=True)
    env = {"WEBUI_SECRET_KEY": "k", "FQDN": f"{name}.test"}
    docker_api.create_container(app.settings.image, name=f"openwebui-{name}", environment=env, host_config=host)

    with pytest.raises(Blocked, match="--rm"):
        adopt.plan_adopt(app, f"openwebui-{name}", None, None)


@pytest.mark.parametrize("address", ["", "https://[your domain]", "http://192.0.2.1"])
def test_container_that_does_not_say_its_domain_is_asked_for_one(
    app: App, docker_api: Any, name: str, address: str
) -> None:
    host = docker_api.create_host_config(binds=[f"vol-{name}:/app/backend/data"])
    env = {"WEBUI_SECRET_KEY": "k", "WEBUI_URL": address}
    docker_api.create_container(app.settings.image, name=f"openwebui-{name}", environment=env, host_config=host)

    with pytest.raises(InvalidInput):
        adopt.plan_adopt(app, name, None, None)
    assert adopt.plan_adopt(app, name, None, f"chat.{name}.test").domain == f"chat.{name}.test"
    assert name in {row.name for row in clients.list_clients(app)}


def test_container_that_is_managed_is_not_adopted_again(app: App, old: Old) -> None:
    _adopt(app, old.container)

    with pytest.raises(Conflict, match="already"):
        adopt.plan_adopt(app, old.container, "another", None)


def test_name_of_another_client_is_not_given_again(app: App, old: Old, hand_made: HandMade, name: str) -> None:
    _adopt(app, old.container, name)

    with pytest.raises(Conflict, match=f"There is a client {name} already"):
        adopt.plan_adopt(app, hand_made.container, name, None)


def test_container_that_is_not_there_is_not_found(app: App, name: str) -> None:
    with pytest.raises(NotFound):
        adopt.plan_adopt(app, name, None, None)


def test_folder_of_an_adopted_client_outside_the_data_root_is_not_deleted(app: App, old: Old) -> None:
    spec = _adopt(app, old.container)

    with pytest.raises(Blocked, match="may not be removed"):
        remove.remove(app, spec.name, delete_data=True, report=Steps())

    assert (old.folder / "data" / "webui.db").exists()
    assert database_answers(f"127.0.0.1:{old.port}")
