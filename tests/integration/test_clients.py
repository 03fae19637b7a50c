"""Many clients on one host: how they are told apart, kept apart, and brought back."""

import shutil
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from client_manager.app import App
from client_manager.deployment import change, clients, create, networks, ports, remove
from client_manager.errors import Conflict, NotFound
from client_manager.gateways.open_webui import database_answers
from client_manager.models.client import ClientSpec
from client_manager.models.client_request import ChangeRequest, CreateRequest
from client_manager.settings import Settings
from tests.steps import Steps

MIB = 1024**2


def _create(app: App, name: str, **fields: Any) -> ClientSpec:
    request = CreateRequest(name=name, domain=f"{name}.example.test", **fields)
    return create.create(app, create.plan_create(app, request), Steps())


def _repair(app: App, name: str) -> tuple[str, ...]:
    spec, wrong = change.plan_repair(app, name)
    change.repair(app, spec, Steps())
    return wrong


def _row(app: App, name: str) -> tuple[str, str, str]:
    (found,) = (row for row in clients.list_clients(app) if row.name == name)
    return found.kind, found.state, found.drift


@pytest.fixture
def foreign(docker_api: Any, app: App) -> Callable[..., str]:
    """Makes a container that is not the console's, never started; ``new_name`` clears it away."""

    def make(container: str, **arguments: Any) -> str:
        made = docker_api.create_container(app.settings.image, name=container, **arguments)
        return str(made["Id"])

    return make


def test_running_client_is_listed_as_it_is(app: App, name: str) -> None:
    spec = _create(app, name)

    (found,) = (row for row in clients.list_clients(app) if row.name == name)

    assert (found.kind, found.state, found.drift, found.version) == ("managed", "running", "no", "v1")
    assert (found.domain, found.port, found.database) == (f"{name}.example.test", spec.port, "sqlite")
    assert clients.inspect_client(app, name).differences == ()


def test_stopped_client_is_listed_as_stopped(app: App, docker_api: Any, name: str) -> None:
    _create(app, name)
    docker_api.kill(f"openwebui-{name}")

    assert _row(app, name) == ("managed", "stopped", "no")


def test_client_without_its_container_is_listed_as_missing(app: App, docker_api: Any, name: str) -> None:
    _create(app, name)
    docker_api.remove_container(f"openwebui-{name}", force=True)

    assert _row(app, name) == ("managed", "missing", "missing")
    assert clients.inspect_client(app, name).summary.drift == "missing"


def test_missing_container_comes_back_from_the_spec(app: App, docker_api: Any, name: str) -> None:
    spec = _create(app, name)
    docker_api.remove_container(f"openwebui-{name}", force=True)

    wrong = _repair(app, name)

    assert wrong == (f"the container openwebui-{name} is missing",)
    assert _row(app, name) == ("managed", "running", "no")
    assert database_answers(f"127.0.0.1:{spec.port}")


def test_client_whose_spec_was_edited_has_drifted(app: App, name: str) -> None:
    spec = _create(app, name)
    app.files.write(spec.with_changes(memory_bytes=300 * MIB))

    assert _row(app, name) == ("managed", "running", "changed")


def test_limit_that_was_changed_behind_the_console_is_shown_and_repaired(app: App, docker_api: Any, name: str) -> None:
    _create(app, name)
    docker_api.update_container(f"openwebui-{name}", mem_limit="300m", memswap_limit="600m")

    detail = clients.inspect_client(app, name)

    shown = [(difference.field, difference.before, difference.after) for difference in detail.differences]
    assert detail.summary.drift == "changed"
    assert shown == [("memory_bytes", str(256 * MIB), str(300 * MIB))]
    assert _repair(app, name) == (f"memory_bytes is {300 * MIB}, should be {256 * MIB}",)
    assert clients.inspect_client(app, name).differences == ()
    assert docker_api.inspect_container(f"openwebui-{name}")["HostConfig"]["Memory"] == 256 * MIB


def test_foreign_container_with_a_name_of_the_house_is_listed_as_found(
    app: App, name: str, foreign: Callable[..., str]
) -> None:
    foreign(f"openwebui-{name}", environment={"FQDN": f"{name}.test"})

    assert _row(app, name) == ("found", "stopped", "not managed")


def test_unmanaged_client_says_how_to_adopt_it(app: App, name: str, foreign: Callable[..., str]) -> None:
    foreign(f"openwebui-{name}")

    with pytest.raises(NotFound, match="is not managed yet") as caught:
        clients.get_spec(app, name)
    assert caught.value.hint.endswith(f"client adopt openwebui-{name}")


def test_machinery_of_the_house_is_listed_as_no_client(app: App, name: str, foreign: Callable[..., str]) -> None:
    foreign(f"openwebui-{name}-node", labels={"client-manager.role": "sync-node"})
    foreign(f"{name}-unrelated")

    assert not [row for row in clients.list_clients(app) if name in row.container]


@pytest.fixture
def house(docker_api: Any, foreign: Callable[..., str]) -> Iterator[None]:
    """Containers with the names of the house's own machinery, made elsewhere; one that is there already stays."""
    there = {text for row in docker_api.containers(all=True) for text in row["Names"]}
    made = [foreign(name) for name in sorted(clients.NOT_CLIENTS) if f"/{name}" not in there]
    yield
    for container in made:
        docker_api.remove_container(container, force=True)


@pytest.mark.usefixtures("house")
def test_sync_nodes_and_nginx_are_listed_as_no_clients(app: App) -> None:
    assert not clients.NOT_CLIENTS & {row.container for row in clients.list_clients(app)}


def test_port_of_a_stopped_container_is_taken(
    app: App, docker_api: Any, name: str, foreign: Callable[..., str]
) -> None:
    first = app.settings.first_port
    foreign(f"x-{name}", ports=[8080], host_config=docker_api.create_host_config(port_bindings={8080: first}))

    assert ports.choose(app) != first
    with pytest.raises(Conflict, match=f"Port {first} is taken") as caught:
        ports.check(app, first)
    assert f"x-{name}" in caught.value.why


def test_second_port_of_a_stopped_container_is_taken(
    app: App, docker_api: Any, name: str, foreign: Callable[..., str]
) -> None:
    first = app.settings.first_port
    both = docker_api.create_host_config(port_bindings={8080: [first, first + 1]})
    foreign(f"x-{name}", ports=[8080], host_config=both)

    assert {first, first + 1} <= set(ports.ports_in_use(app))


def test_port_range_of_a_stopped_container_is_no_fault(
    app: App, docker_api: Any, name: str, foreign: Callable[..., str]
) -> None:
    some = docker_api.create_host_config(port_bindings={8080: "30000-30009"})
    foreign(f"openwebui-{name}", ports=[8080], host_config=some)

    assert app.settings.first_port <= ports.choose(app) <= app.settings.last_port
    assert _row(app, name)[0] == "found"


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])  # noqa: S104  what a program of this machine may do
def test_port_of_a_program_of_this_machine_is_taken(app: App, address: str) -> None:
    first = app.settings.first_port
    with socket.create_server((address, first)):
        assert ports.choose(app) != first
        with pytest.raises(Conflict, match=f"Port {first} is taken") as caught:
            ports.check(app, first)
    assert "a program of this machine" in caught.value.why


def test_port_of_a_client_whose_container_is_missing_is_taken(app: App, docker_api: Any, name: str) -> None:
    spec = _create(app, name)
    docker_api.remove_container(f"openwebui-{name}", force=True)

    assert spec.port is not None
    assert ports.choose(app) != spec.port
    with pytest.raises(Conflict, match=f"Port {spec.port} is taken") as caught:
        ports.check(app, spec.port)
    assert f"client {name}" in caught.value.why


def test_ports_that_are_all_taken_are_told(settings: Settings, docker_api: Any, app_image: str) -> None:
    del docker_api, app_image
    narrow = App(settings.model_copy(update={"last_port": settings.first_port}))
    with socket.create_server(("127.0.0.1", settings.first_port)), pytest.raises(Conflict, match="is free"):
        ports.choose(narrow)


def _reaches(api: Any, container: str, address: str) -> bool:
    code = f"import socket; socket.create_connection(('{address}', 8080), 1.5)"
    run = api.exec_create(container, ["python3", "-c", code])["Id"]
    api.exec_start(run)
    return bool(api.exec_inspect(run)["ExitCode"] == 0)


def _address(api: Any, container: str) -> str:
    (end,) = api.inspect_container(container)["NetworkSettings"]["Networks"].values()
    return str(end["IPAddress"])


def test_clients_do_not_reach_one_another(app: App, docker_api: Any, new_name: Callable[[], str]) -> None:
    one, two = (_create(app, new_name()).container for _ in range(2))

    assert _reaches(docker_api, one, _address(docker_api, one))
    assert not _reaches(docker_api, one, _address(docker_api, two))
    assert not _reaches(docker_api, two, _address(docker_api, one))


def test_pool_without_a_free_subnet_is_told(app: App, docker_api: Any, name: str) -> None:
    docker_api.create_network(f"x-{name}", ipam={"Config": [{"Subnet": f"10.219.{int(name[1:3], 16)}.0/28"}]})
    full = App(app.settings.model_copy(update={"network_pool": f"10.219.{int(name[1:3], 16)}.0/28"}))
    spec = create.plan_create(full, CreateRequest(name=name, domain=f"{name}.test"))

    with pytest.raises(Conflict, match="No subnet"):
        networks.ensure_network(full, spec)


def test_removed_client_comes_back_with_its_data_and_its_key(app: App, docker_api: Any, name: str) -> None:
    spec = _create(app, name)
    data = app.files.data(name)
    (data / "upload.txt").write_text("kept", encoding="utf-8")

    remove.remove(app, name, delete_data=False, report=Steps())

    assert not [row for row in clients.list_clients(app) if row.name == name]
    assert not docker_api.networks(names=[f"openwebui-{name}"])
    assert (data / "webui.db").exists()
    again = _create(app, name)
    assert again.secrets == spec.secrets
    assert (data / "upload.txt").read_text(encoding="utf-8") == "kept"
    assert not (app.files.folder(name) / "client.json.removed").exists()


def test_client_removed_with_its_data_leaves_nothing(app: App, docker_api: Any, name: str) -> None:
    _create(app, name)

    remove.remove(app, name, delete_data=True, report=Steps())

    assert not app.files.folder(name).exists()
    assert not [row for row in docker_api.containers(all=True) if f"/openwebui-{name}" in row["Names"]]
    assert not docker_api.networks(names=[f"openwebui-{name}"])
    assert not docker_api.volumes(filters={"name": name})["Volumes"]


def test_network_attached_by_hand_survives_a_replacement(app: App, docker_api: Any, name: str) -> None:
    _create(app, name)
    docker_api.create_network(f"tools-{name}", ipam={"Config": [{"Subnet": f"10.218.{int(name[1:3], 16)}.0/28"}]})
    docker_api.connect_container_to_network(f"openwebui-{name}", f"tools-{name}", aliases=["chat"])

    planned = change.plan_settings(app, name, ChangeRequest(memory_bytes="300m"))
    change.apply_change(app, *planned, Steps())

    attached = docker_api.inspect_container(f"openwebui-{name}")["NetworkSettings"]["Networks"]
    assert set(attached) == {f"openwebui-{name}", f"tools-{name}"}
    assert "chat" in attached[f"tools-{name}"]["Aliases"]
    assert attached[f"tools-{name}"]["IPAddress"]


@pytest.fixture
def tag(docker_api: Any, app_image: str, name: str) -> Iterator[str]:
    """A tag of the test's own for v1 of the application."""
    reference = f"client-manager-test/{name}:v1"
    docker_api.tag(app_image, f"client-manager-test/{name}", "v1")
    yield reference
    for container in docker_api.containers(all=True):
        if any(name in text for text in container["Names"]):
            docker_api.remove_container(container["Id"], force=True)
    docker_api.remove_image(reference, noprune=True)


def _move(api: Any, tag: str, image: str) -> None:
    repository, _, version = tag.rpartition(":")
    api.tag(image, repository, version, force=True)


def test_repair_runs_the_recorded_image_although_its_tag_moved_on(
    app: App, docker_api: Any, name: str, tag: str
) -> None:
    _create(app, name, image=tag)
    before = docker_api.inspect_container(f"openwebui-{name}")["Image"]
    _move(docker_api, tag, app.settings.image.replace(":v1", ":v2"))

    assert clients.inspect_client(app, name).differences == ()
    _repair(app, name)

    after = docker_api.inspect_container(f"openwebui-{name}")
    assert docker_api.inspect_image(tag)["Id"] != before
    assert after["Image"] == before
    assert clients.inspect_client(app, name).differences == ()


def test_tag_that_is_chosen_again_is_what_it_is_now(app: App, docker_api: Any, name: str, tag: str) -> None:
    _create(app, name, image=tag)
    _move(docker_api, tag, app.settings.image.replace(":v1", ":v2"))

    planned = change.plan_settings(app, name, ChangeRequest(image=tag))
    change.apply_change(app, *planned, Steps())

    runs = docker_api.inspect_container(f"openwebui-{name}")["Image"]
    assert runs == docker_api.inspect_image(tag)["Id"] == clients.get_spec(app, name).image_digest


def test_recorded_image_that_is_gone_is_told(app: App, docker_api: Any, name: str, tag: str) -> None:
    spec = _create(app, name, image=tag)
    gone = spec.with_changes(image_digest=f"sha256:{'0' * 64}")
    app.files.write(gone)
    _move(docker_api, tag, app.settings.image.replace(":v1", ":v2"))

    with pytest.raises(NotFound, match="is gone"):
        change.repair(app, gone, Steps())


def test_copy_of_a_clients_folder_does_not_speak_for_the_client(app: App, name: str) -> None:
    _create(app, name)
    shutil.copytree(app.files.folder(name), app.files.folder(f"{name}-copy"))

    with pytest.raises(Exception, match=f"is the spec of {name}"):
        remove.remove(app, f"{name}-copy", delete_data=True, report=Steps())

    assert (app.files.data(name) / "webui.db").exists()
