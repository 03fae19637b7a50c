"""The menus, driven by real keys, on the real Engine with the image that stands for Open WebUI."""

import gc
import multiprocessing
import os
import re
import secrets
import signal
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any, Final, cast

import pexpect
import pytest

from client_manager.app import App
from client_manager.deployment import change, create
from client_manager.errors import Cancelled
from client_manager.menu import main
from client_manager.menu.clients import client_menu
from client_manager.menu.session import Session
from client_manager.models.client import ClientSpec
from client_manager.models.client_request import ChangeRequest, CreateRequest
from client_manager.models.operation import Progress
from client_manager.settings import Settings
from tests.conftest import APP_IMAGE, clear_away
from tests.menu.conftest import CLEAR, CTRL_C, ENTER, ESC, Answer, Operator, Pick, Terminal
from tests.menu.desk import ctrl_c_when
from tests.ports import window
from tests.screen import console_on
from tests.waiting import PATIENCE_S, until

EXIT: Final = Pick("Exit")
BACK: Final = Pick("Back")
MANAGE: Final = Pick("Manage")
APPLY: Final = Pick("Review and apply")
YES: Final = f"y{ENTER}"
MEBIBYTE: Final = 1024**2

# docker-py leaves a socket open that it could not connect, or was interrupted in connecting; it is collected here.
leaves_a_socket = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
both_ways_out = pytest.mark.parametrize("way_out", [ESC, CTRL_C], ids=["esc", "ctrl_c"])


@dataclass
class House:
    """A data root, and the operator who sits at its menus."""

    settings: Settings
    api: Any
    terminal: Terminal
    screen: StringIO = field(default_factory=StringIO)

    @property
    def app(self) -> App:
        return App(self.settings)

    def sit_down(self, *script: Answer) -> Operator:
        """Run the menu with a script that ends by leaving it, and return who answered."""
        operator = Operator(self.terminal, [*script])
        main.run(self.session(operator))
        assert not operator.script, f"these were not asked for: {operator.script}"
        return operator

    def session(self, operator: Operator) -> Session:
        console = console_on(self.screen)
        return Session(app=self.app, console=console, ask=operator, in_menu=True)

    def at(self, client: str, *script: Answer) -> Operator:
        """Run the menu of a client with a script that ends in that menu again."""
        return self.sit_down(MANAGE, Pick(f"{client} "), *script, BACK, ESC, EXIT)

    @property
    def shown(self) -> str:
        """What was printed, in one line: where lines break is the width's business."""
        return " ".join(self.screen.getvalue().split())

    def container(self, client: str) -> Any:
        return self.api.inspect_container(f"openwebui-{client}")

    def running(self, client: str) -> bool:
        return bool(self.container(client)["State"]["Running"])

    def variables(self, client: str) -> list[str]:
        return [*self.container(client)["Config"]["Env"]]

    def spec(self, client: str) -> ClientSpec:
        spec = self.app.files.read(client)
        assert spec is not None
        return spec

    def all_of(self, client: str) -> dict[str, object]:
        """Everything of a client that an action could change."""
        rows = self.api.containers(all=True, filters={"name": client})
        found = [self.api.inspect_container(row["Id"]) for row in rows]
        files = [
            *(self.settings.data_root / client).glob("*"),
            *(self.settings.data_root / ".client-manager" / "operations").glob(f"{client}.json"),
        ]
        return {
            "containers": [(each["Id"], each["Name"], each["State"]["StartedAt"]) for each in found],
            "running": [each["State"]["Running"] for each in found],
            "networks": sorted(network["Name"] for network in self.api.networks() if client in network["Name"]),
            "files": {path.name: path.read_bytes() if path.is_file() else b"" for path in files},
        }


NOTHING: Final[dict[str, object]] = {"containers": [], "running": [], "networks": [], "files": {}}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a data root that the tests here share."""
    folder = tmp_path_factory.mktemp("menus")
    first = window(100)
    return Settings(
        data_root=folder / "openwebui",
        state_dir=folder / "state",
        first_port=first,
        last_port=first + 99,
        image=f"{APP_IMAGE}:v1",
        network_pool="10.214.0.0/16",
        memory_bytes=256 * MEBIBYTE,
        health_timeout_s=60,
        stop_timeout_s=1,
    )


@pytest.fixture(scope="module")
def standing(place: Settings, docker_api: Any, app_image: str) -> Iterator[str]:
    """A client that the tests here share; each finds it running."""
    del app_image
    name = f"t{secrets.token_hex(5)}"
    make(App(place), name, TEST_SAY="\x1b[31m[x] good morning")
    yield name
    clear_away(docker_api, [name])


@pytest.fixture
def house(place: Settings, docker_api: Any, app_image: str, terminal: Terminal) -> House:
    del app_image
    return House(place, docker_api, terminal)


@pytest.fixture
def client(house: House, standing: str) -> str:
    house.api.start(f"openwebui-{standing}")
    return standing


@pytest.fixture
def new(house: House, name: str) -> Iterator[str]:
    """A client of this test alone."""
    make(house.app, name)
    yield name
    clear_away(house.api, [name])
    house.app.files.end_operation(name)
    house.app.files.drop(name)


@pytest.fixture
def found(house: House, name: str) -> str:
    """A container that something else made."""
    make_stranger(house.api, name)
    return name


@pytest.fixture(scope="module")
def standing_stranger(docker_api: Any, app_image: str) -> Iterator[str]:
    """Another, that the tests here share and leave alone."""
    del app_image
    name = f"t{secrets.token_hex(5)}"
    make_stranger(docker_api, name)
    yield name
    clear_away(docker_api, [name])


def make_stranger(api: Any, name: str) -> None:
    container = api.create_container(
        f"{APP_IMAGE}:v1",
        name=f"openwebui-{name}",
        environment={"WEBUI_URL": f"https://{name}.example.test", "WEBUI_SECRET_KEY": "key-of-old"},
        volumes=["/app/backend/data"],
        host_config=api.create_host_config(binds=[f"{name}-data:/app/backend/data"]),
    )
    api.start(container["Id"])
    # Before it listens, it does not heed a stop either.
    until(lambda: b"listening" in api.logs(container["Id"]))


def make(app: App, name: str, **variables: str) -> None:
    env = tuple({"name": key, "value": value} for key, value in variables.items())
    request = CreateRequest.model_validate({"name": name, "domain": f"{name}.example.test", "env": env})
    create.create(app, create.plan_create(app, request), ignore)


def ignore(_: Progress) -> None:
    """A report to nobody."""


def open_sockets() -> int:
    return sum(each.is_socket() for each in Path("/proc/self/fd").iterdir())


# The main menu.


def test_main_menu_offers_the_numbers_of_the_predecessor_and_no_others(house: House) -> None:
    operator = house.sit_down(EXIT)
    assert [(option.key, option.label) for option in operator.offered] == [
        ("1", "View Deployment Status"),
        ("2", "Create New Deployment"),
        ("3", "Manage Existing Deployment"),
        ("4", "Manage Sync Cluster"),
        ("d", "Doctor"),
        ("7", "Exit"),
    ]


@pytest.mark.parametrize("number", ["5", "6"])
def test_main_menu_does_nothing_for_a_number_that_is_not_there_yet(house: House, number: str) -> None:
    operator = house.sit_down(f"{number}{ENTER}7{ENTER}")
    assert operator.asked == ["Main menu"]
    assert "The same as a command" not in house.shown


def test_main_menu_says_where_it_is(house: House) -> None:
    house.sit_down(EXIT)
    assert "Docker unix:///var/run/docker.sock" in house.shown
    assert str(house.settings.data_root) in "".join(house.screen.getvalue().split())


def test_the_first_menu_of_all_says_what_was_found_and_later_ones_do_not(house: House, tmp_path: Path) -> None:
    house.settings = house.settings.model_copy(update={"state_dir": tmp_path / "new"})
    house.sit_down(EXIT)
    assert "Docker Engine " in house.shown
    assert "PostgreSQL starts with the first cluster (assumed)" in house.shown
    house.screen = StringIO()
    house.sit_down(EXIT)
    assert "Database" not in house.shown


def test_the_main_menu_promises_no_way_back(house: House) -> None:
    house.sit_down(ESC, EXIT)
    assert "Main menu (Ctrl-C: leave)" in house.terminal.screen
    assert "Esc: back" not in house.terminal.screen


def test_main_menu_stays_for_esc(house: House) -> None:
    assert house.sit_down(ESC, ESC, EXIT).asked == ["Main menu"] * 3


def test_main_menu_ends_for_ctrl_c(house: House) -> None:
    with pytest.raises(Cancelled):
        house.sit_down(CTRL_C)


def test_status_shows_each_client(house: House, client: str) -> None:
    house.sit_down(Pick("View Deployment Status"), EXIT)
    line = next(line for line in house.screen.getvalue().splitlines() if line.startswith(client))
    assert f"{client}.example.test" in line
    assert "running" in line
    assert "The same as a command: client-manager client list" in house.shown


def test_create_makes_a_client_and_shows_the_same_command(house: House, name: str) -> None:
    port = house.settings.last_port
    house.sit_down(
        Pick("Create"),
        name + ENTER,
        f"{CLEAR}{name}.example.test{ENTER}",
        f"{port}{ENTER}",
        ENTER,
        f"{CLEAR}300m{ENTER}",
        YES,
        EXIT,
    )
    try:
        assert house.running(name)
        assert house.container(name)["HostConfig"]["Memory"] == 300 * MEBIBYTE
        assert f"{name} is healthy at https://{name}.example.test (127.0.0.1:{port})." in house.shown
        assert (
            f"client-manager client create {name} --domain {name}.example.test --port {port}"
            f" --image {APP_IMAGE}:v1 --memory 300m" in house.shown
        )
    finally:
        house.app.files.drop(name)


CREATE_ANSWERS: Final = ("{name}" + ENTER, ENTER, ENTER, ENTER, ENTER)
CREATE_QUESTIONS: Final = (
    "Client name:",
    "Domain:",
    "Port (empty: the next free one):",
    "Image:",
    "Memory limit:",
    "Create {name}?",
)


@both_ways_out
@pytest.mark.parametrize("answered", range(len(CREATE_QUESTIONS)))
def test_create_can_be_left_at_every_question(house: House, name: str, answered: int, way_out: str) -> None:
    answers = [answer.format(name=name) for answer in CREATE_ANSWERS[:answered]]
    operator = house.sit_down(Pick("Create"), *answers, way_out, EXIT)
    questions = [question.format(name=name) for question in CREATE_QUESTIONS[: answered + 1]]
    assert operator.asked == ["Main menu", *questions, "Main menu"]
    assert house.all_of(name) == NOTHING


def test_create_refused_at_the_end_does_nothing(house: House, name: str) -> None:
    house.sit_down(Pick("Create"), name + ENTER, *CREATE_ANSWERS[1:], ENTER, EXIT)
    assert house.all_of(name) == NOTHING
    assert "Nothing was done." in house.shown


@pytest.mark.parametrize(
    ("answered", "wrong"), [(0, "Not A Name"), (1, "http://x"), (2, "80"), (3, "untagged"), (4, "1 elephant")]
)
def test_create_asks_again_for_a_value_that_cannot_be(house: House, name: str, answered: int, wrong: str) -> None:
    answers = [answer.format(name=name) for answer in CREATE_ANSWERS[:answered]]
    operator = house.sit_down(Pick("Create"), *answers, f"{CLEAR}{wrong}{ENTER}{ESC}", EXIT)
    assert operator.asked[-2:] == [CREATE_QUESTIONS[answered], "Main menu"]


def test_create_of_a_name_that_is_taken_is_an_error_before_anything_else_is_asked(house: House, client: str) -> None:
    before = house.all_of(client)
    operator = house.sit_down(Pick("Create"), client + ENTER, EXIT)
    assert f"Error: There is a client {client} already." in house.shown
    assert operator.asked == ["Main menu", CREATE_QUESTIONS[0], "Main menu"]
    assert house.all_of(client) == before


def test_doctor_shows_its_findings(house: House) -> None:
    house.sit_down(Pick("Doctor"), EXIT)
    assert re.search(r"ok\s+Docker\s+Engine \d", house.screen.getvalue())
    assert "The same as a command: client-manager doctor" in house.shown


@leaves_a_socket
def test_errors_of_a_dead_engine_are_shown_and_the_menu_comes_back(house: House, name: str) -> None:
    house.settings = house.settings.model_copy(update={"docker_host": "unix:///nonexistent/docker.sock"})
    house.sit_down(Pick("View"), MANAGE, Pick("Create"), name + ENTER, Pick("Doctor"), EXIT)
    words = "Error: Docker at unix:///nonexistent/docker.sock cannot be reached."
    assert house.shown.count(words) == 3
    assert "problem Docker" in house.shown
    gc.collect()


@both_ways_out
def test_manage_can_be_left(house: House, client: str, way_out: str) -> None:
    del client
    assert house.sit_down(MANAGE, way_out, EXIT).asked == ["Main menu", "Which deployment?", "Main menu"]


# The menu of a client.


def test_client_menu_offers_the_numbers_of_the_predecessor_and_no_others(house: House, client: str) -> None:
    operator = Operator(house.terminal, [ESC])
    client_menu(house.session(operator), client)
    assert [(option.key, option.label) for option in operator.offered] == [
        ("1", "Start"),
        ("2", "Stop"),
        ("3", "Restart"),
        ("4", "View logs"),
        ("5", "Show details"),
        ("6", "Change settings"),
        ("7", "Change domain"),
        ("8", "Sync Management"),
        ("r", "Repair"),
        ("x", "Remove deployment"),
        ("0", "Back"),
    ]


def test_client_menu_does_nothing_for_a_number_that_is_not_there_yet(house: House, client: str) -> None:
    house.api.stop(f"openwebui-{client}", timeout=5)
    before = house.all_of(client)
    house.at(client, f"9{ENTER}0{ENTER}", Pick(f"{client} "))
    assert house.all_of(client) == before


def test_client_menu_says_which_client_and_how_it_is(house: House, client: str) -> None:
    # Start first: it returns when the client is healthy, and another test may have restarted it just before.
    title = house.at(client, Pick("Start")).asked[3]
    assert title == f"{client}  {client}.example.test  running, health: healthy"


def test_client_menu_goes_back_to_the_choice_for_esc(house: House, client: str) -> None:
    operator = house.sit_down(MANAGE, Pick(f"{client} "), ESC, ESC, EXIT)
    assert operator.asked[3:] == ["Which deployment?", "Main menu"]


def test_client_menu_goes_to_the_main_menu_for_ctrl_c(house: House, client: str) -> None:
    assert house.sit_down(MANAGE, Pick(f"{client} "), CTRL_C, EXIT).asked[3:] == ["Main menu"]


def test_start_starts(house: House, client: str) -> None:
    house.api.stop(f"openwebui-{client}", timeout=5)
    house.at(client, Pick("Start"))
    assert house.running(client)
    assert (
        f"{client} is running and healthy. The same as a command: client-manager client start {client}" in house.shown
    )


def test_stop_stops(house: House, client: str) -> None:
    house.at(client, Pick("Stop"), YES)
    assert not house.running(client)
    assert f"{client} is stopped. The same as a command: client-manager client stop {client}" in house.shown


def test_restart_restarts(house: House, client: str) -> None:
    before = house.container(client)["State"]["StartedAt"]
    house.at(client, Pick("Restart"), YES)
    assert house.container(client)["State"]["StartedAt"] > before
    assert house.running(client)


def test_logs_are_shown_as_plain_text(house: House, client: str) -> None:
    house.at(client, Pick("View logs"), Pick("The last 50 lines"))
    assert "[x] good morning" in house.screen.getvalue().splitlines()
    assert "\x1b" not in house.screen.getvalue()
    assert f"client-manager client logs {client}" in house.shown


def test_logs_are_followed_until_ctrl_c(house: House, client: str) -> None:
    with ctrl_c_when(lambda: "listening" in house.screen.getvalue()):
        house.at(client, Pick("View logs"), Pick("Follow"))
    assert f"client-manager client logs {client} --follow" in house.shown


def test_a_followed_log_that_is_left_between_two_lines_closes_its_connection(house: House, client: str) -> None:
    engine = house.app.engine
    assert engine.log_tail(f"openwebui-{client}", 1)
    before = open_sockets()
    followed = cast("Generator[str]", engine.follow_log(f"openwebui-{client}", 50))
    assert next(followed)
    followed.close()
    assert open_sockets() <= before


def test_details_are_shown_without_secrets(house: House, client: str) -> None:
    house.at(client, Pick("Show details"))
    assert re.search(rf"Container\s+openwebui-{client}", house.screen.getvalue())
    assert re.search(r"WEBUI_SECRET_KEY\s+\*{8}", house.screen.getvalue())
    assert house.spec(client).secrets["WEBUI_SECRET_KEY"].get_secret_value() not in house.screen.getvalue()


def test_domain_is_changed_in_every_variable(house: House, client: str) -> None:
    domain = f"d{secrets.token_hex(4)}.example.test"
    before = house.spec(client).domain
    house.at(client, Pick("Change domain"), f"{CLEAR}{domain}{ENTER}", YES)
    assert f"WEBUI_URL=https://{domain}" in house.variables(client)
    assert f"client-manager client set-domain {client} {domain}" in house.shown
    change.apply_change(house.app, *change.plan_domain(house.app, client, before), ignore)


def test_repair_of_what_is_in_order_does_nothing(house: House, client: str) -> None:
    before = house.all_of(client)
    house.at(client, Pick("Repair"))
    assert "there is nothing to repair" in house.shown
    assert house.all_of(client) == before


def test_repair_brings_a_missing_container_back(house: House, new: str) -> None:
    house.api.remove_container(f"openwebui-{new}", force=True)
    operator = house.at(new, Pick("Repair"), YES)
    assert house.running(new)
    assert "missing" in operator.asked[2]
    assert "running, health: healthy" in operator.asked[-3]


def test_remove_keeps_the_data_when_asked_to(house: House, new: str) -> None:
    operator = house.sit_down(MANAGE, Pick(f"{new} "), Pick("Remove"), Pick("Keep"), new + ENTER, ESC, EXIT)
    assert operator.asked[-2:] == ["Which deployment?", "Main menu"]
    assert house.all_of(new)["containers"] == []
    assert (house.settings.data_root / new / "data" / "webui.db").exists()
    assert f"client-manager client remove {new} --confirm {new}" in house.shown


def test_remove_deletes_the_data_when_asked_to(house: House, new: str) -> None:
    house.sit_down(MANAGE, Pick(f"{new} "), Pick("Remove"), Pick("Delete"), new + ENTER, ESC, EXIT)
    assert house.all_of(new) == NOTHING
    assert f"client-manager client remove {new} --confirm {new} --delete-data" in house.shown


def test_remove_with_another_name_does_nothing(house: House, client: str) -> None:
    before = house.all_of(client)
    house.at(client, Pick("Remove"), Pick("Delete"), f"{client}x{ENTER}")
    assert "That is not the name; nothing was done." in house.shown
    assert house.all_of(client) == before


NEW_DOMAIN: Final = f"{CLEAR}elsewhere.example.test{ENTER}"


@both_ways_out
@pytest.mark.parametrize(
    "answers",
    [
        (Pick("Stop"),),
        (Pick("Restart"),),
        (Pick("View logs"),),
        (Pick("Change settings"),),
        (Pick("Change settings"), Pick("Memory"), f"{CLEAR}300m{ENTER}", APPLY),
        (Pick("Change domain"),),
        (Pick("Change domain"), NEW_DOMAIN),
        (Pick("Remove"),),
        (Pick("Remove"), Pick("Delete")),
        (Pick("Remove"), Pick("Keep")),
    ],
    ids=["stop", "restart", "logs", "settings", "apply", "domain", "new-domain", "remove", "delete", "keep"],
)
def test_every_question_of_a_client_can_be_left(
    house: House, client: str, answers: tuple[Answer, ...], way_out: str
) -> None:
    before = house.all_of(client)
    operator = house.at(client, *answers, way_out)
    assert len(operator.asked) == 3 + len(answers) + 3
    assert house.all_of(client) == before


# The settings of a client.


def test_settings_offer_to_apply_only_what_was_changed(house: House, client: str) -> None:
    untouched = Operator(house.terminal, [Pick("Change settings"), ESC, BACK])
    client_menu(house.session(untouched), client)
    changed = Operator(house.terminal, [Pick("Change settings"), Pick("Memory"), f"{CLEAR}300m{ENTER}", ESC, YES, BACK])
    client_menu(house.session(changed), client)
    assert "Review and apply" not in untouched.choices[1]
    assert "Review and apply" in changed.choices[2]
    assert changed.asked[3] == f"Change settings of {client}: --memory 300m"


def test_settings_go_on_where_the_operator_does_not_drop_the_changes(house: House, client: str) -> None:
    collect = (Pick("Change settings"), Pick("Memory"), f"{CLEAR}300m{ENTER}")
    operator = house.at(client, *collect, ESC, ENTER, ESC, YES)
    assert operator.asked.count(f"Change settings of {client}: --memory 300m") == 2
    assert operator.asked.count("Drop the changes collected so far?") == 2


def test_settings_change_the_memory_limit(house: House, new: str) -> None:
    house.at(new, Pick("Change settings"), Pick("Memory"), f"{CLEAR}300m{ENTER}", APPLY, YES)
    assert house.container(new)["HostConfig"]["Memory"] == 300 * MEBIBYTE
    assert f"client-manager client set {new} --memory 300m" in house.shown


def test_settings_change_the_cpu_limit(house: House, new: str) -> None:
    house.at(new, Pick("Change settings"), Pick("CPU"), f"0.5{ENTER}", APPLY, YES)
    assert house.container(new)["HostConfig"]["NanoCpus"] == 500_000_000
    assert f"client-manager client set {new} --cpus 0.5" in house.shown


def test_settings_change_image_and_port_and_variable_in_one_replacement(house: House, new: str) -> None:
    port = house.settings.last_port
    before = house.container(new)["Id"]
    operator = house.at(
        new,
        Pick("Change settings"),
        *(Pick("Image"), f"{CLEAR}{APP_IMAGE}:v2{ENTER}"),
        *(Pick("Port"), f"{port}{ENTER}"),
        *(Pick("Set a variable"), f"TEST_COLOUR{ENTER}", f"blue{ENTER}"),
        APPLY,
        YES,
    )
    after = house.container(new)
    assert after["Id"] != before
    assert after["Image"] == house.api.inspect_image(f"{APP_IMAGE}:v2")["Id"]
    assert after["HostConfig"]["PortBindings"]["8080/tcp"] == [{"HostIp": "127.0.0.1", "HostPort": str(port)}]
    assert "TEST_COLOUR=blue" in after["Config"]["Env"]
    assert sum(question.startswith("Replace the container") for question in operator.asked) == 1


def test_settings_set_a_secret_without_showing_it(house: House, new: str) -> None:
    house.at(
        new, Pick("Change settings"), Pick("Set a variable"), f"OPENAI_API_KEY{ENTER}", f"sk-hidden{ENTER}", APPLY, YES
    )
    assert "OPENAI_API_KEY=sk-hidden" in house.variables(new)
    assert "sk-hidden" not in house.screen.getvalue() + house.terminal.written.getvalue()
    assert f"client-manager client set {new} --env OPENAI_API_KEY=..." in house.shown


def test_settings_unset_a_variable(house: House, new: str) -> None:
    house.at(new, Pick("Change settings"), Pick("Unset"), Pick("DATABASE_ENABLE_SQLITE_WAL"), APPLY, YES)
    assert not any(each.startswith("DATABASE_ENABLE_SQLITE_WAL=") for each in house.variables(new))


@both_ways_out
@pytest.mark.parametrize(
    "answers",
    [
        (Pick("Set a variable"),),
        (Pick("Set a variable"), f"TEST_COLOUR{ENTER}"),
        (Pick("Set a variable"), f"OPENAI_API_KEY{ENTER}"),
        (Pick("Unset"),),
        (Pick("Memory"),),
        (Pick("CPU"),),
        (Pick("Image"),),
        (Pick("Port"),),
    ],
    ids=["name", "value", "secret", "unset", "memory", "cpus", "image", "port"],
)
def test_every_question_of_the_settings_can_be_left(
    house: House, client: str, answers: tuple[Answer, ...], way_out: str
) -> None:
    before = house.all_of(client)
    to_the_client = (ESC,) if way_out == ESC else ()
    house.at(client, Pick("Change settings"), *answers, way_out, *to_the_client)
    assert house.all_of(client) == before


@pytest.mark.parametrize("variable", ["PORT", "DATA_DIR", "1ST"])
def test_settings_ask_again_for_a_variable_that_nobody_may_set(house: House, client: str, variable: str) -> None:
    operator = house.at(client, Pick("Change settings"), Pick("Set a variable"), f"{variable}{ENTER}{ESC}", ESC)
    assert operator.asked[4:6] == ["Variable:", f"Change settings of {client}"]


@pytest.mark.parametrize(
    "answers",
    [
        (Pick("Set a variable"), f"WEBUI_URL{ENTER}", f"https://x.example.test{ENTER}"),
        (Pick("Unset"), Pick("WEBUI_SECRET_KEY")),
    ],
    ids=["domain", "key"],
)
def test_settings_keep_what_was_collected_when_an_answer_is_refused(
    house: House, client: str, answers: tuple[Answer, ...]
) -> None:
    operator = house.at(client, Pick("Change settings"), Pick("Memory"), f"{CLEAR}300m{ENTER}", *answers, ESC, YES)
    assert operator.asked[-5] == f"Change settings of {client}: --memory 300m"
    assert "Error: This is not a valid change" in house.shown


# The menu of a container that something else made.


def test_found_menu_adopts(house: House, found: str) -> None:
    before = house.container(found)
    operator = house.sit_down(MANAGE, Pick(f"{found} "), Pick("Adopt"), ENTER, ENTER, YES, ESC, EXIT)
    try:
        assert house.spec(found).secrets["WEBUI_SECRET_KEY"].get_secret_value() == "key-of-old"
        assert house.container(found)["State"] == before["State"]
        assert operator.asked[-2:] == ["Which deployment?", "Main menu"]
        assert f"client-manager client adopt openwebui-{found} {found} --domain {found}.example.test" in house.shown
    finally:
        house.app.files.drop(found)


def test_found_menu_starts(house: House, found: str) -> None:
    house.api.stop(f"openwebui-{found}", timeout=5)
    operator = house.at(found, Pick("Start"))
    assert house.running(found)
    assert operator.asked[2] == f"openwebui-{found} (not managed, stopped)"
    assert operator.asked[3] == f"openwebui-{found} (not managed, running)"


def test_found_menu_stops(house: House, found: str) -> None:
    operator = house.at(found, Pick("Stop"), YES)
    assert not house.running(found)
    assert operator.asked[4] == f"openwebui-{found} (not managed, stopped)"


def test_found_menu_restarts(house: House, found: str) -> None:
    before = house.container(found)["State"]["StartedAt"]
    house.at(found, Pick("Restart"), YES)
    assert house.container(found)["State"]["StartedAt"] > before


def test_found_menu_shows_logs_and_details(house: House, found: str) -> None:
    house.at(found, Pick("View logs"), Pick("The last"), Pick("Show details"))
    assert "listening" in house.screen.getvalue().splitlines()
    assert re.search(rf"Client\s+{found} \(found\)", house.screen.getvalue())


@both_ways_out
@pytest.mark.parametrize(
    "answers",
    [
        (Pick("Adopt"),),
        (Pick("Adopt"), ENTER),
        (Pick("Adopt"), ENTER, ENTER),
        (Pick("Stop"),),
        (Pick("Restart"),),
        (Pick("View logs"),),
    ],
    ids=["name", "domain", "adopt", "stop", "restart", "logs"],
)
def test_every_question_of_a_found_container_can_be_left(
    house: House, standing_stranger: str, answers: tuple[Answer, ...], way_out: str
) -> None:
    before = house.all_of(standing_stranger)
    house.at(standing_stranger, *answers, way_out)
    assert house.all_of(standing_stranger) == before


# Interruptions.


@leaves_a_socket
def test_ctrl_c_during_an_operation_takes_it_back_and_the_menu_comes_back(house: House, client: str) -> None:
    before = house.all_of(client)
    never = (Pick("Set a variable"), f"TEST_HEALTHY_AFTER_S{ENTER}", f"never{ENTER}", APPLY, YES)
    with ctrl_c_when(lambda: "Waiting for health" in house.screen.getvalue()):
        house.at(client, Pick("Change settings"), *never)
    assert f"Cancelled: {client} is as it was before." in house.shown
    assert house.running(client)
    assert house.all_of(client)["files"] == before["files"]


@leaves_a_socket
def test_ctrl_c_while_a_start_waits_leaves_the_client_starting_and_the_menu_comes_back(house: House, name: str) -> None:
    make(house.app, name, TEST_HEALTHY_AFTER_S="1")
    house.api.stop(f"openwebui-{name}", timeout=1)
    try:
        with ctrl_c_when(lambda: "Waiting for health" in house.screen.getvalue()):
            house.at(name, Pick("Start"))
        assert "Cancelled: Interrupted." in house.shown
        assert house.running(name)
    finally:
        house.app.files.drop(name)


def cut_off_change(house: House, name: str, **variables: str) -> str:
    """Leave a change of memory to 300m half done, by a process that is killed; return the old container's id."""
    env = tuple({"name": key, "value": value} for key, value in variables.items())
    request = ChangeRequest.model_validate({"memory_bytes": 300 * MEBIBYTE, "env": env})
    before = str(house.container(name)["Id"])

    def killed(progress: Progress) -> None:
        if progress.step == "Starting":
            os.kill(os.getpid(), signal.SIGKILL)

    def run() -> None:
        app = house.app
        change.apply_change(app, *change.plan_settings(app, name, request), killed)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join(PATIENCE_S)
    assert process.exitcode == -signal.SIGKILL
    process.close()
    return before


def test_cut_off_operation_is_shown_and_resumed(house: House, new: str) -> None:
    cut_off_change(house, new)
    house.sit_down(Pick("Resume"), EXIT)
    assert house.container(new)["HostConfig"]["Memory"] == 300 * MEBIBYTE
    assert house.running(new)
    assert f"Cut off: change settings of {new}, begun by" in house.shown
    assert f"{new}: finished. The same as a command: client-manager client resume {new}" in house.shown


def test_cut_off_operation_is_undone(house: House, new: str) -> None:
    before = cut_off_change(house, new)
    house.sit_down(Pick("Undo"), EXIT)
    assert house.container(new)["Id"] == before
    assert house.running(new)
    assert house.app.files.operation(new) is None


@pytest.mark.parametrize("answer", [Pick("Leave"), ESC, CTRL_C], ids=["leave", "esc", "ctrl_c"])
def test_cut_off_operation_is_left_for_later(house: House, new: str, answer: Answer) -> None:
    cut_off_change(house, new)
    before = house.all_of(new)
    operator = house.sit_down(answer, EXIT)
    assert operator.asked == ["What now?", "Main menu"]
    assert house.all_of(new) == before


def test_main_menu_asks_nothing_where_nothing_was_cut_off(house: House, client: str) -> None:
    del client
    assert house.sit_down(EXIT).asked == ["Main menu"]


# The program on a terminal of its own.


@contextmanager
def program(house: House) -> Iterator["pexpect.spawn[str]"]:
    environment = {
        **os.environ,
        "TERM": "xterm",
        "CLIENT_MANAGER_DATA_ROOT": str(house.settings.data_root),
        "CLIENT_MANAGER_STATE_DIR": str(house.settings.state_dir),
        "CLIENT_MANAGER_STOP_TIMEOUT_S": "1",
        "CLIENT_MANAGER_NETWORK_POOL": str(house.settings.network_pool),
    }
    child = pexpect.spawn(
        sys.executable,
        ["-m", "client_manager"],
        env=environment,
        encoding="utf-8",
        dimensions=(40, 100),
        timeout=PATIENCE_S,
    )
    try:
        yield child
    finally:
        child.close(force=True)


def test_keys_typed_during_an_operation_answer_nothing(house: House, new: str) -> None:
    cut_off_change(house, new, TEST_HEALTHY_AFTER_S="1.5")
    with program(house) as child:
        child.expect("What now")
        child.send(f"1{ENTER}")
        child.expect("Waiting for health")
        child.send(f"2{ENTER}{new}x{ENTER}{ENTER}")
        child.expect("The same as a command")
        child.expect("Main menu")
        child.send(f"d{ENTER}")
        child.expect("same as a command.*client-manager doctor")
        assert "Client name" not in str(child.before)
        child.send(f"7{ENTER}")
        child.expect(pexpect.EOF)
        child.wait()
    assert child.exitstatus == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_at_a_question_ends_the_program(house: House, number: signal.Signals) -> None:
    with program(house) as child:
        child.expect("Main menu")
        child.expect("Exit")
        child.kill(number)
        child.expect(pexpect.EOF)
        child.wait()
    assert child.exitstatus == 130
