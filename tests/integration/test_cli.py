"""The program as an operator's script meets it: exit codes, JSON, dry runs, and what never shows."""

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from tests.conftest import APP_IMAGE, clear_away
from tests.ports import window
from tests.waiting import PATIENCE_S, until

MEBIBYTE: Final = 1024**2
PROGRAM: Final = (sys.executable, "-m", "client_manager")
API_KEY: Final = "sk-0123456789abcdef"
DATABASE: Final = "postgresql://tenant:hunter2hunter2@db.example.test:5432/tenant"
# The program, but that it waits for a Docker that other tests keep busy.
PATIENT: Final = """
from client_manager import cli
from client_manager.menu import overview
from client_manager.workflows import look_around
look_around.STATUS_S = overview.STATUS_S = 60
cli.main()
"""
NOWHERE: Final = "unix:///nonexistent/docker.sock"

Result = subprocess.CompletedProcess[str]


@dataclass
class House:
    """A data root, the settings that lead to it, and the program run with them."""

    folder: Path
    api: Any
    first_port: int
    names: list[str] = field(default_factory=list)

    @property
    def data_root(self) -> Path:
        return self.folder / "openwebui"

    @property
    def journal(self) -> Path:
        return self.folder / "state" / "journal.jsonl"

    @property
    def environment(self) -> dict[str, str]:
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("CLIENT_MANAGER_", "DOCKER_"))
        }
        return {
            **clean,
            **{
                name: str(self.folder / name)
                for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "TMPDIR")
            },
            "CLIENT_MANAGER_DATA_ROOT": str(self.data_root),
            "CLIENT_MANAGER_STATE_DIR": str(self.folder / "state"),
            "CLIENT_MANAGER_IMAGE": f"{APP_IMAGE}:v1",
            "CLIENT_MANAGER_FIRST_PORT": str(self.first_port),
            "CLIENT_MANAGER_LAST_PORT": str(self.first_port + 99),
            "CLIENT_MANAGER_MEMORY_BYTES": str(256 * MEBIBYTE),
            "CLIENT_MANAGER_NETWORK_POOL": "10.214.0.0/16",
            "CLIENT_MANAGER_HEALTH_TIMEOUT_S": "60",
            "CLIENT_MANAGER_STOP_TIMEOUT_S": "1",
        }

    def run(self, *words: str, program: Sequence[str] = PROGRAM, **settings: str) -> Result:
        """Run the program to its end without a terminal; settings are variables of its environment."""
        encoding = settings.get("PYTHONIOENCODING", "utf-8")
        return subprocess.run(
            [*program, *words],
            env={**self.environment, **settings},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding=encoding,
            timeout=100,
            check=False,
        )

    def client(self, *words: str, **settings: str) -> Result:
        return self.run("client", *words, **settings)

    def new_name(self) -> str:
        self.names.append(f"t{secrets.token_hex(5)}")
        return self.names[-1]

    def create(self, *options: str) -> str:
        name = self.new_name()
        made = self.client("create", name, "--domain", f"{name}.example.test", "--yes", *options)
        assert made.returncode == 0, made.stderr
        return name

    def container(self, name: str) -> Any:
        return self.api.inspect_container(f"openwebui-{name}")

    def running(self, name: str) -> bool:
        return bool(self.container(name)["State"]["Running"])

    def key(self, name: str) -> str:
        spec = json.loads((self.data_root / name / "client.json").read_text())
        return str(spec["secrets"]["WEBUI_SECRET_KEY"])

    def everything(self) -> dict[str, object]:
        """All that the program could have changed: in Docker, in the data root, and the journal."""
        return {**self._in_docker(), **self._files()}

    def of(self, name: str) -> dict[str, object]:
        """What there is of one client."""
        return {what: how for what, how in self.everything().items() if name in what}

    def _in_docker(self) -> dict[str, object]:
        rows = [row for row in self.api.containers(all=True) if any(name in row["Names"][0] for name in self.names)]
        found = [self.api.inspect_container(row["Id"]) for row in rows]
        networks = [row for row in self.api.networks() if any(name in row["Name"] for name in self.names)]
        volumes = [
            row for row in self.api.volumes()["Volumes"] or () if any(name in row["Name"] for name in self.names)
        ]
        return {
            **{each["Name"]: (each["Id"], each["State"]["StartedAt"], each["State"]["Running"]) for each in found},
            **{f"network {row['Name']}": row["Id"] for row in networks},
            **{f"volume {row['Name']}": row["Options"] for row in volumes},
        }

    def _files(self) -> dict[str, object]:
        paths = [
            path
            for path in self.data_root.rglob("*")
            if "data" not in path.parent.parts[-1:] and path.suffix != ".lock"
        ]
        return {
            **{str(path): path.read_bytes() if path.is_file() else None for path in paths},
            "journal": self.journal.read_bytes() if self.journal.exists() else b"",
        }


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, docker_api: Any, app_image: str) -> Iterator[House]:
    """A data root that the tests here share."""
    del app_image
    house = House(tmp_path_factory.mktemp("cli"), docker_api, window(100))
    (house.folder / "TMPDIR").mkdir()
    yield house
    clear_away(docker_api, house.names)


@pytest.fixture(scope="module")
def standing(house: House) -> str:
    """A client with secrets that the tests here share."""
    return house.create(
        *("--env", f"OPENAI_API_KEY={API_KEY}"),
        *("--env", "MONITOR_URL=https://monitor:hunter2hunter2@m.example.test"),
        *("--env", "TEST_SAY=\x1b[31m[x] good morning\x1b[0m [/etc/nginx] \x1b]0;title\x07\x08\nGrüße \N{CHECK MARK}"),
    )


@pytest.fixture
def client(house: House, standing: str) -> str:
    house.api.start(f"openwebui-{standing}")
    return standing


@pytest.fixture
def new(house: House) -> str:
    """A client of this test alone."""
    return house.create()


@pytest.fixture
def found(house: House) -> str:
    """A container that something else made."""
    return make_stranger(house, binds=True)


def make_stranger(house: House, *, binds: bool) -> str:
    name = house.new_name()
    mounts = {"volumes": ["/app/backend/data"], "binds": [f"{name}-data:/app/backend/data"]} if binds else {}
    container = house.api.create_container(
        f"{APP_IMAGE}:v1",
        name=f"openwebui-{name}",
        environment={"WEBUI_URL": f"https://{name}.example.test", "WEBUI_SECRET_KEY": "key-of-old-0123"},
        volumes=mounts.get("volumes"),
        host_config=house.api.create_host_config(binds=mounts.get("binds")),
    )
    house.api.start(container["Id"])
    until(lambda: b"listening" in house.api.logs(container["Id"]))
    return name


@contextmanager
def started(house: House, *words: str) -> Iterator["subprocess.Popen[str]"]:
    """The program, running."""
    with subprocess.Popen(
        [*PROGRAM, *words],
        env=house.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: "subprocess.Popen[str]", words: str) -> None:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if words in line:
            return
    pytest.fail(f"{words!r} never came: {lines}")


def cut_off(house: House, name: str) -> None:
    """Leave a change of the client's memory half done: by a program that is killed while it waits for health."""
    words = ("client", "set", name, "--memory", "300m", "--env", "TEST_HEALTHY_AFTER_S=1", "--yes")
    with started(house, *words) as process:
        read_until(process, "Waiting for health")
        process.kill()


def assert_error(result: Result, code: int, *words: str) -> None:
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    missing = [each for each in words if each not in " ".join(result.stderr.split())]
    assert not missing, result.stderr


# Exit codes.


def test_version_is_0(house: House) -> None:
    result = house.run("--version")
    assert (result.returncode, result.stdout) == (0, "client-manager 0.1.0\n")


def test_list_is_0_and_one_line_a_client(house: House, client: str) -> None:
    result = house.client("list")
    assert result.returncode == 0
    [line] = [line for line in result.stdout.splitlines() if client in line]
    assert re.match(rf"{client}\s+{client}\.example\.test\s+\d+\s+{APP_IMAGE}:v1\s+v1\s+running\s", line)


def test_no_command_without_a_terminal_shows_where_and_what_there_is(house: House, client: str) -> None:
    result = house.run(program=[sys.executable, "-c", PATIENT])
    assert result.returncode == 0
    assert f"data {house.data_root}" in result.stdout
    assert client in result.stdout
    assert "in a terminal 'client-manager' opens the menu" in result.stdout


def test_a_data_root_that_is_a_file_is_1(house: House) -> None:
    file = house.folder / "a-file"
    file.touch()
    result = house.client("show", "acme", CLIENT_MANAGER_DATA_ROOT=str(file))
    assert_error(result, 1, "Error:", "Next:")


def test_doctor_that_finds_a_problem_is_1(house: House) -> None:
    result = house.run("doctor", CLIENT_MANAGER_DOCKER_HOST=NOWHERE)
    assert result.returncode == 1
    assert "problem" in result.stdout
    assert "Fix:" in result.stdout


@pytest.mark.parametrize("name", ["Acme", "a_b", "-a", "nginx", "a" * 53])
def test_a_name_that_cannot_be_is_2(house: House, name: str) -> None:
    assert_error(house.client("create", "--domain", "a.example.test", "--yes", "--", name), 2, "Error:")


@pytest.mark.parametrize(
    "options",
    [
        ("--domain", "http://a.example.test"),
        ("--domain", "192.0.2.1"),
        ("--domain", "a.example.test", "--port", "80"),
        ("--domain", "a.example.test", "--port", "70000"),
        ("--domain", "a.example.test", "--port", "many"),
        ("--domain", "a.example.test", "--memory", "1 elephant"),
        ("--domain", "a.example.test", "--memory", "1m"),
        ("--domain", "a.example.test", "--cpus", "0"),
        ("--domain", "a.example.test", "--image", "untagged"),
        ("--domain", "a.example.test", "--env", "WEBUI_URL=https://b.example.test"),
        ("--domain", "a.example.test", "--env", "PORT=1"),
        ("--domain", "a.example.test", "--no-such-option"),
        (),
    ],
)
def test_an_option_that_cannot_be_is_2(house: House, options: tuple[str, ...]) -> None:
    assert_error(house.client("create", "acme", *options), 2)


@pytest.mark.parametrize("verb", ["create", "set"])
def test_a_variable_without_a_value_is_2_and_not_repeated(house: House, verb: str) -> None:
    domain = ("--domain", "a.example.test") if verb == "create" else ()
    result = house.client(verb, "acme", *domain, "--env", API_KEY)
    assert_error(result, 2, "NAME=VALUE")
    assert API_KEY not in result.stdout + result.stderr


def test_a_refused_variable_is_2_and_its_value_not_repeated(house: House, client: str) -> None:
    result = house.client("set", client, "--env", f"WEBUI_SECRET_KEY={API_KEY}", "--yes")
    assert_error(result, 2, "WEBUI_SECRET_KEY is never changed")
    assert API_KEY not in result.stdout + result.stderr


def test_a_database_that_breaks_the_application_is_2_and_not_repeated(house: House, client: str) -> None:
    url = f"DATABASE_URL={DATABASE.replace('5432', '6543')}"
    created = house.client("create", f"{client}-b", "--domain", "b.example.test", "--env", url, "--yes")
    assert_error(created, 2, "6543")
    result = house.client("set", client, "--env", url, "--yes")
    assert_error(result, 2, "6543")
    assert "hunter2hunter2" not in result.stdout + result.stderr


@pytest.mark.parametrize("verb", ["start", "stop", "restart"])
@pytest.mark.parametrize("whom", [(), ("acme", "--all")], ids=["nobody", "both"])
def test_power_over_nobody_or_both_is_2(house: House, verb: str, whom: tuple[str, ...]) -> None:
    assert_error(house.client(verb, *whom, "--yes"), 2, "--all")


def test_a_change_that_changes_nothing_is_2(house: House, client: str) -> None:
    assert_error(house.client("set", client, "--memory", "256m", "--yes"), 2, "Nothing would change")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CLIENT_MANAGER_DATA_ROOT", "relative/folder"),
        ("CLIENT_MANAGER_FIRST_PORT", "many"),
        ("CLIENT_MANAGER_MEMORY_BYTES", "1"),
        ("CLIENT_MANAGER_CONFIG", "/nonexistent/config.toml"),
    ],
)
def test_a_wrong_setting_is_3(house: House, name: str, value: str) -> None:
    assert_error(house.client("list", **{name: value}), 3, "Error:")


def test_a_wrong_setting_is_3_and_its_secret_not_repeated(house: House) -> None:
    result = house.client("list", CLIENT_MANAGER_DATABASE_URL=DATABASE.replace("postgresql", "mysql"))
    assert_error(result, 3, "database_url", "postgresql://")
    assert "hunter2hunter2" not in result.stdout + result.stderr


@pytest.mark.parametrize("text", ["no_such_setting = 1", "data_root ="])
def test_a_wrong_settings_file_is_3(house: House, tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    assert_error(house.client("list", CLIENT_MANAGER_CONFIG=str(file)), 3, str(file))


def test_a_spec_that_is_none_is_3(house: House, tmp_path: Path) -> None:
    (tmp_path / "acme").mkdir()
    (tmp_path / "acme" / "client.json").write_text("{")
    assert_error(house.client("show", "acme", CLIENT_MANAGER_DATA_ROOT=str(tmp_path)), 3, "client.json")


def test_removal_of_data_that_others_use_is_4_and_does_nothing(house: House, client: str) -> None:
    other = house.new_name()
    host = house.api.create_host_config(binds=[f"{house.data_root / client / 'data'}:/backup"])
    house.api.create_container(f"{APP_IMAGE}:v1", name=other, volumes=["/backup"], host_config=host)
    before = house.everything()
    result = house.client("remove", client, "--delete-data", "--confirm", client)
    assert_error(result, 4, f"{client} may not be removed", other)
    assert house.everything() == before
    house.api.remove_container(other)


def test_adoption_of_what_would_lose_its_data_is_4(house: House) -> None:
    name = make_stranger(house, binds=False)
    assert_error(house.client("adopt", f"openwebui-{name}", "--yes"), 4, "inside the container")


@pytest.mark.parametrize(
    "words",
    [
        ("show",),
        ("set", "--memory", "300m"),
        ("set-domain", "b.example.test"),
        ("repair",),
        ("start",),
        ("stop",),
        ("restart",),
        ("logs",),
        ("remove", "--confirm", "x"),
    ],
    ids=lambda words: words[0],
)
def test_a_name_that_nobody_has_is_5_with_the_nearest(house: House, client: str, words: tuple[str, ...]) -> None:
    verb, *options = words
    yes = () if verb in {"show", "logs"} else ("--yes",)
    result = house.client(verb, client[:-1], *options, *yes)
    assert_error(result, 5, f"There is no client {client[:-1]}.", f"Did you mean {client}?")


@pytest.mark.parametrize("verb", ["resume", "undo"])
def test_an_end_of_what_was_not_cut_off_is_5(house: House, client: str, verb: str) -> None:
    assert_error(house.client(verb, client, "--yes"), 5, "No operation")


def test_adoption_of_nothing_is_5(house: House) -> None:
    assert_error(house.client("adopt", "openwebui-nobody-at-all", "--yes"), 5)


def test_a_name_that_is_taken_is_6(house: House, client: str) -> None:
    assert_error(house.client("create", client, "--domain", "b.example.test", "--yes"), 6, f"client {client} already")


def test_a_domain_that_is_taken_is_6(house: House, client: str) -> None:
    result = house.client("create", house.new_name(), "--domain", f"{client}.example.test", "--yes")
    assert_error(result, 6, f"belongs to {client}")


def test_a_container_that_is_taken_is_6(house: House, found: str) -> None:
    result = house.client("create", found, "--domain", "b.example.test", "--yes")
    assert_error(result, 6, f"client-manager client adopt openwebui-{found}")


def test_a_port_that_is_taken_is_6(house: House) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        result = house.client("create", house.new_name(), "--domain", "b.example.test", "--port", port, "--yes")
    assert_error(result, 6, f"Port {port} is taken")


@pytest.mark.parametrize(
    "words",
    [("client", "list"), ("client", "logs", "acme"), ("client", "create", "acme", "--domain", "a.example.test")],
    ids=["list", "logs", "create"],
)
def test_a_dead_engine_is_7(house: House, words: tuple[str, ...]) -> None:
    assert_error(house.run(*words, CLIENT_MANAGER_DOCKER_HOST=NOWHERE), 7, NOWHERE, "cannot be reached", "Next:")


def test_a_create_that_fails_is_8_and_leaves_nothing(house: House) -> None:
    name = house.new_name()
    options = ("--env", "TEST_EXIT_CODE=3", "--env", f"OPENAI_API_KEY={API_KEY}", "--env", f"TEST_SAY=key {API_KEY}")
    result = house.client("create", name, "--domain", f"{name}.example.test", *options, "--yes")
    assert_error(result, 8, "Undone:", "code 3", "ending as asked", "key ********")
    assert house.of(name) == {}
    # TEST_SAY shows in the plan: what is said in a log is masked, a plain variable is the operator's word.
    assert API_KEY not in result.stderr + house.journal.read_text()


@pytest.mark.parametrize(
    "words",
    [
        ("set", "{}", "--memory", "300m"),
        ("set-domain", "{}", "b.example.test"),
        ("stop", "{}"),
        ("restart", "{}"),
        ("remove", "{}"),
        ("remove", "{}", "--yes"),
        ("remove", "{}", "--yes", "--delete-data"),
    ],
    ids=" ".join,
)
def test_a_question_that_nobody_answers_is_9_and_nothing_is_done(
    house: House, client: str, words: tuple[str, ...]
) -> None:
    before = house.everything()
    way_around = f"--confirm {client}" if words[0] == "remove" else "--yes"
    assert_error(house.client(*(word.format(client) for word in words)), 9, way_around)
    assert house.everything() == before


def test_create_without_yes_is_9_and_nothing_is_made(house: House) -> None:
    name = house.new_name()
    assert_error(house.client("create", name, "--domain", "b.example.test"), 9, "--yes")
    assert house.of(name) == {}


def test_adopt_without_yes_is_9_and_nothing_is_done(house: House, found: str) -> None:
    before = house.everything()
    assert_error(house.client("adopt", f"openwebui-{found}"), 9, "--yes")
    assert house.everything() == before


def test_repair_without_yes_is_9_and_nothing_is_made(house: House, new: str) -> None:
    house.api.remove_container(f"openwebui-{new}", force=True)
    before = house.everything()
    assert_error(house.client("repair", new), 9, "--yes")
    assert house.everything() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_a_create_is_130_and_leaves_nothing(house: House, number: signal.Signals) -> None:
    name = house.new_name()
    options = ("--domain", f"{name}.example.test", "--env", "TEST_HEALTHY_AFTER_S=never", "--yes")
    with started(house, "client", "create", name, *options) as process:
        read_until(process, "Waiting for health")
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == 130
    assert house.of(name) == {}


def test_a_bug_is_70_and_its_traceback_in_a_file_only(house: House, tmp_path: Path) -> None:
    runner = tmp_path / "runner.py"
    runner.write_text(
        "import sys\nfrom client_manager import cli\n\n"
        f"def broken():\n    raise RuntimeError('{API_KEY}')\n\n"
        "sys.exit(cli.run(broken))\n"
    )
    result = subprocess.run(
        [sys.executable, str(runner)], env=house.environment, capture_output=True, text=True, check=False
    )
    assert_error(result, 70, "This is a bug", "RuntimeError")
    assert API_KEY not in result.stdout + result.stderr
    named = re.search(r"(/\S+\.txt)", result.stderr)
    assert named
    file = Path(named[1])
    assert f"RuntimeError: {API_KEY}" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600


# What the commands do.


def test_show_masks_secrets(house: House, client: str) -> None:
    result = house.client("show", client)
    assert re.search(r"OPENAI_API_KEY\s+\*{8}", result.stdout)
    assert re.search(r"MONITOR_URL\s+\*{8}", result.stdout)
    assert_no_secret(house, client, result.stdout)


@pytest.mark.parametrize("json_too", [(), ("--json",)], ids=["words", "json"])
def test_show_reveals_secrets_when_asked_to(house: House, client: str, json_too: tuple[str, ...]) -> None:
    result = house.client("show", client, "--reveal", *json_too)
    assert API_KEY in result.stdout
    assert house.key(client) in result.stdout


def test_logs_are_plain_text(house: House, client: str) -> None:
    result = house.client("logs", client)
    assert result.returncode == 0
    assert "[x] good morning [/etc/nginx] " in result.stdout.splitlines()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_logs_show_what_an_encoding_lacks_as_a_question_mark(house: House, client: str, encoding: str) -> None:
    result = house.client("logs", client, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    expected = {"ascii": "Gr??e ?", "latin-1": "Grüße ?"}[encoding]
    assert result.returncode == 0, result.stderr
    assert expected in result.stdout.splitlines()


def test_logs_tail_limits_the_lines(house: House, client: str) -> None:
    assert len(house.client("logs", client, "--tail", "1").stdout.splitlines()) == 1


def test_logs_are_followed_until_interrupted(house: House, client: str) -> None:
    with started(house, "client", "logs", client, "--follow") as process:
        read_until(process, "listening")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0


def test_logs_mask_secrets(house: House) -> None:
    name = house.create("--env", f"OPENAI_API_KEY={API_KEY}", "--env", f"TEST_SAY=using {API_KEY}")
    result = house.client("logs", name)
    assert "using ********" in result.stdout
    assert API_KEY not in result.stdout


def test_set_changes_all_that_is_given_in_one_replacement(house: House, new: str) -> None:
    result = house.client(
        "set", new, "--memory", "300m", "--cpus", "0.5", "--env", "TEST_COLOUR=a=b c", "--unset",
        "DATABASE_ENABLE_SQLITE_WAL", "--image", f"{APP_IMAGE}:v2", "--yes",
    )  # fmt: skip
    after = house.container(new)
    assert result.returncode == 0, result.stderr
    assert (after["HostConfig"]["Memory"], after["HostConfig"]["NanoCpus"]) == (300 * MEBIBYTE, 500_000_000)
    assert after["Image"] == house.api.inspect_image(f"{APP_IMAGE}:v2")["Id"]
    assert "TEST_COLOUR=a=b c" in after["Config"]["Env"]
    assert not any(each.startswith("DATABASE_ENABLE_SQLITE_WAL=") for each in after["Config"]["Env"])


def test_remove_keeps_data_that_create_takes_up_again(house: House, new: str) -> None:
    key = house.key(new)
    assert house.client("remove", new, "--confirm", new).returncode == 0
    assert house.client("create", new, "--domain", f"{new}.example.test", "--yes").returncode == 0
    assert house.key(new) == key


def test_remove_with_another_name_is_2_and_does_nothing(house: House, client: str) -> None:
    before = house.everything()
    assert_error(house.client("remove", client, "--confirm", f"{client}x", "--yes"), 2, "--confirm")
    assert house.everything() == before


def test_all_means_every_managed_client_and_no_other(house: House, client: str, found: str, new: str) -> None:
    result = house.client("stop", "--all", "--yes", "--json")
    assert {client, new} <= {*json.loads(result.stdout)["done"]}
    assert [house.running(name) for name in (client, new, found)] == [False, False, True]


def test_a_client_that_fails_keeps_no_other_from_its_turn(house: House, client: str, new: str) -> None:
    house.api.stop(f"openwebui-{client}", timeout=1)
    house.api.remove_container(f"openwebui-{new}", force=True)
    result = house.client("start", new, client)
    assert_error(result, 5, f"openwebui-{new}", "repair")
    assert house.running(client)


# JSON.


def parsed(result: Result) -> dict[str, Any]:
    """Return what a program reads: one object on the standard output, and JSON lines of progress on the other."""
    assert result.returncode == 0, result.stderr
    for line in result.stderr.splitlines():
        assert "step" in json.loads(line)
    answer = json.loads(result.stdout)
    assert isinstance(answer, dict)
    return answer


def assert_no_secret(house: House, name: str, text: str) -> None:
    for secret in (API_KEY, "hunter2hunter2", house.key(name)):
        assert secret not in text


def test_json_of_every_read_is_parsed_and_has_no_secret(house: House, client: str) -> None:
    clients = house.client("list", "--json")
    shown = house.client("show", client, "--json")
    assert client in [each["name"] for each in parsed(clients)["clients"]]
    assert parsed(shown)["client"]["spec"]["secrets"]["OPENAI_API_KEY"] == "********"
    assert_no_secret(house, client, clients.stdout + shown.stdout)


def test_json_of_the_doctor_is_parsed_and_has_no_secret(house: House, client: str) -> None:
    result = house.run("doctor", "--json")
    assert "Docker" in [finding["check"] for finding in json.loads(result.stdout)["findings"]]
    assert_no_secret(house, client, result.stdout + result.stderr)


def test_json_of_a_client_s_life_is_parsed_and_has_no_secret(house: House) -> None:
    name = house.new_name()
    output = []

    def done(*words: str) -> dict[str, Any]:
        result = house.client(*words, "--json", "--yes")
        output.append(result.stdout + result.stderr)
        return parsed(result)

    secret = ("--env", f"OPENAI_API_KEY={API_KEY}")
    assert done("create", name, "--domain", f"{name}.example.test", *secret)["client"]["name"] == name
    key = house.key(name)
    assert done("set", name, "--env", f"DATABASE_URL={DATABASE}")["changes"][0]["after"] == "********"
    assert done("set-domain", name, f"n{name}.example.test")["client"]["domain"] == f"n{name}.example.test"
    assert done("repair", name)["repaired"] is False
    assert done("stop", name)["done"] == [name]
    assert done("start", name)["done"] == [name]
    assert done("restart", name)["done"] == [name]
    cut_off(house, name)
    assert done("resume", name)["way"] == "resume"
    assert done("remove", name, "--confirm", name, "--delete-data")["removed"] == name
    assert not any(secret in text for text in output for secret in (API_KEY, "hunter2hunter2", key))


def test_json_of_adoption_is_parsed_and_has_no_secret(house: House, found: str) -> None:
    result = house.client("adopt", f"openwebui-{found}", "--yes", "--json")
    assert parsed(result)["client"]["carried"]["host_config"]["Binds"]
    assert "key-of-old" not in result.stdout


def test_json_of_undo_is_parsed(house: House, new: str) -> None:
    cut_off(house, new)
    assert parsed(house.client("undo", new, "--json", "--yes"))["way"] == "undo"


def test_json_leaves_errors_to_the_other_stream(house: House, client: str) -> None:
    result = house.client("show", client[:-1], "--json")
    assert (result.returncode, result.stdout) == (5, "")


# Dry runs.


@pytest.mark.parametrize("json_too", [(), ("--json",)], ids=["words", "json"])
@pytest.mark.parametrize(
    "words",
    [
        ("create", "{}x", "--domain", "{}x.example.test"),
        ("set", "{}", "--memory", "300m"),
        ("set-domain", "{}", "b.example.test"),
        ("repair", "{}"),
        ("start", "{}"),
        ("stop", "{}"),
        ("stop", "--all"),
        ("restart", "{}"),
        ("remove", "{}"),
        ("remove", "{}", "--delete-data"),
    ],
    ids=" ".join,
)
def test_a_dry_run_changes_nothing(
    house: House, client: str, words: tuple[str, ...], json_too: tuple[str, ...]
) -> None:
    before = house.everything()
    result = house.client(*(word.format(client) for word in words), "--dry-run", *json_too)
    assert result.returncode == 0, result.stderr
    assert house.everything() == before
    assert_no_secret(house, client, result.stdout + result.stderr)


def test_a_dry_run_of_a_repair_changes_nothing(house: House, new: str) -> None:
    house.api.remove_container(f"openwebui-{new}", force=True)
    before = house.everything()
    result = house.client("repair", new, "--dry-run")
    assert "is missing" in result.stdout
    assert house.everything() == before


def test_a_dry_run_of_an_adoption_changes_nothing(house: House, found: str) -> None:
    before = house.everything()
    result = house.client("adopt", f"openwebui-{found}", "--dry-run")
    assert (result.returncode, house.everything()) == (0, before)
    assert "key-of-old" not in result.stdout


def test_a_dry_run_of_an_end_changes_nothing(house: House, new: str) -> None:
    cut_off(house, new)
    before = house.everything()
    results = [house.client(verb, new, "--dry-run") for verb in ("resume", "undo")]
    assert [result.returncode for result in results] == [0, 0]
    assert house.everything() == before


def test_all_of_no_clients_is_0_and_asks_nothing(house: House, tmp_path: Path) -> None:
    assert house.client("stop", "--all", CLIENT_MANAGER_DATA_ROOT=str(tmp_path)).returncode == 0


@pytest.mark.parametrize("verb", ["resume", "undo", "start", "stop", "repair"])
def test_a_dry_run_fails_where_the_command_would(house: House, client: str, verb: str) -> None:
    assert house.client(verb, client[:-1], "--dry-run").returncode == 5


# What never shows.


def test_no_secret_is_written_to_the_journal_or_into_labels(house: House, client: str) -> None:
    house.client("set", client, "--env", f"EXTRA_API_KEY={API_KEY}x", "--yes")
    house.client("set", client, "--unset", "EXTRA_API_KEY", "--yes")
    entries = [json.loads(line) for line in house.journal.read_text().splitlines()]
    assert "client change settings" in [entry["action"] for entry in entries]
    assert_no_secret(house, client, house.journal.read_text())
    container = house.container(client)
    assert_no_secret(house, client, json.dumps([container["Config"]["Labels"], container["Path"], container["Args"]]))


def test_no_secret_stands_in_the_arguments_of_a_process(house: House) -> None:
    name = house.new_name()
    options = ("--domain", f"{name}.example.test", "--env", "TEST_HEALTHY_AFTER_S=never", "--yes")
    with started(house, "client", "create", name, *options) as process:
        read_until(process, "Waiting for health")
        key = house.key(name).encode()
        assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if key in read(path)]
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def test_files_with_secrets_are_their_owner_s_alone(house: House, client: str) -> None:
    assert (house.data_root / client / "client.json").stat().st_mode & 0o777 == 0o600
    assert house.journal.stat().st_mode & 0o777 == 0o600


# Terminals and pipes of every kind.


@pytest.mark.parametrize(
    "settings",
    [
        {"NO_COLOR": "1"},
        {"TERM": "dumb"},
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"LC_ALL": "POSIX"},
        {"COLUMNS": "20"},
        {"FORCE_COLOR": "1", "COLUMNS": "80"},
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("words", [("client", "list"), ("client", "show"), ("doctor",)], ids=" ".join)
def test_every_kind_of_terminal_is_served(
    house: House, client: str, words: tuple[str, ...], settings: Mapping[str, str]
) -> None:
    result = house.run(*words, *([client] if words[-1] == "show" else []), **settings)
    assert result.returncode in ({0, 1} if words == ("doctor",) else {0}), result.stderr
    assert result.stderr == ""
    assert (client in result.stdout) or words == ("doctor",) or "FORCE_COLOR" in settings
    assert ("\x1b" in result.stdout) <= ("FORCE_COLOR" in settings)


@pytest.mark.parametrize(
    "words",
    [
        ("--version",),
        ("--help",),
        ("client", "list"),
        ("client", "list", "--json"),
        ("client", "show"),
        ("client", "logs"),
    ],
    ids=" ".join,
)
def test_a_pipe_that_is_closed_leaves_no_traceback(house: House, client: str, words: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        result = subprocess.run(
            [*PROGRAM, *words, *([client] if words[-1] in {"show", "logs"} else [])],
            env=house.environment,
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            timeout=50,
            check=False,
        )
    finally:
        os.close(writer)
    assert result.stderr == ""
    assert result.returncode in {0, 1}
