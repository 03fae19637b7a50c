"""What the documents say of clients, step by step: the guide's first part, README's, and recovery's."""

import os
import signal
import subprocess
from typing import Any, Final

from tests.documents.desk import Desk, Step, says
from tests.e2e.terminal import CTRL_C, ENTER
from tests.waiting import until

YES: Final = (("(y/N)", f"y{ENTER}"),)
NAME: Final = (("Type the client's name", f"acme{ENTER}"),)


def environment_has(**wanted: str) -> Any:
    """Whether the container has these variables, and runs."""
    return lambda desk: desk.runs() and wanted.items() <= desk.variables().items()


def served_at(domain: str) -> Any:
    """Whether the container was told this domain, and its spec says so."""
    return lambda desk: (
        desk.variables()["WEBUI_URL"] == desk.here(f"https://{domain}") and desk.spec()["domain"] == desk.here(domain)
    )


def is_new(desk: Desk) -> bool:
    """The container runs, with its label, published on this machine only, on the data of the data root."""
    found = desk.container()
    return (
        desk.runs()
        and found["Config"]["Labels"]["client-manager.client"] == desk.means["acme"]
        and found["NetworkSettings"]["Ports"]["8080/tcp"][0]["HostIp"] == "127.0.0.1"
        and (desk.data_root / desk.means["acme"] / "data" / "webui.db").is_file()
    )


def is_gone(desk: Desk) -> bool:
    """No container is left; data and key are."""
    folder = desk.data_root / desk.means["acme"]
    return (
        desk.container() is None
        and (folder / "data" / "webui.db").is_file()
        and (folder / "client.json.removed").stat().st_mode & 0o777 == 0o600
    )


def is_well(desk: Desk) -> bool:
    """The client was looked at, and nothing is said of it."""
    return says("clients: 1")(desk) and desk.means["acme"] not in desk.output


def key_noted(desk: Desk) -> None:
    desk.means["THE-KEY"] = desk.spec()["secrets"]["WEBUI_SECRET_KEY"]


def comes_back(desk: Desk) -> bool:
    """It runs on the data and with the key that it had."""
    return is_new(desk) and desk.variables()["WEBUI_SECRET_KEY"] == desk.means["THE-KEY"]


def needs_a_terminal(desk: Desk) -> bool:
    """Where nobody can be asked, as in the example, it is refused."""
    desk.run("client-manager client remove acme --yes", code=9)
    return desk.runs()


def container_lost(desk: Desk) -> None:
    desk.api.remove_container(desk.here("openwebui-acme"), force=True)


def cut_off(desk: Desk, healthy_after_s: str, name: str) -> None:
    """Kill the program, without a chance to tidy up, while it waits for a changed container."""
    words = ["client-manager", "client", "set", desk.means["acme"], "--yes", "--env", f"WEBUI_NAME={name}"]
    words += ["--env", f"TEST_HEALTHY_AFTER_S={healthy_after_s}"]
    record = desk.data_root / ".client-manager" / "operations" / f"{desk.means['acme']}.json"
    program = subprocess.Popen(
        words, env=os.environ | desk.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: record.is_file() and '"started"' in record.read_text(encoding="utf-8"))
    finally:
        program.send_signal(signal.SIGKILL)
        program.wait(10)


def ended(desk: Desk) -> bool:
    """Nothing is left of an operation that was cut off."""
    names = [name for each in desk.api.containers(all=True) for name in each["Names"] if desk.mark in name]
    return names == [f"/openwebui-{desk.means['acme']}"] and desk.runs()


GUIDE: Final = (
    Step("client-manager client create acme --domain chat.acme.example", is_new, YES),
    Step("client-manager client list", says("acme", "chat.acme.example", "running")),
    Step("client-manager client show acme", says("acme", "chat.acme.example", "running", "********")),
    Step("client-manager client set-domain acme ai.acme.example --dry-run", served_at("chat.acme.example")),
    Step("client-manager client set-domain acme ai.acme.example", served_at("ai.acme.example"), YES),
    Step(
        "client-manager client set acme --memory 1g --env WEBUI_NAME=Acme",
        lambda desk: environment_has(WEBUI_NAME="Acme")(desk) and desk.container()["HostConfig"]["Memory"] == 1024**3,
        YES,
    ),
    Step("client-manager client set acme --unset WEBUI_NAME", lambda desk: "WEBUI_NAME" not in desk.variables(), YES),
    Step(
        "client-manager client set acme --image ghcr.io/open-webui/open-webui:v0.12.4",
        lambda desk: environment_has(TEST_VERSION="2")(desk) and desk.container()["Config"]["Image"].endswith(":v2"),
        YES,
    ),
    Step("client-manager client restart acme", lambda desk: desk.restarted(), YES),
    Step("client-manager client logs acme --follow", lambda desk: desk.runs(), (("listening", CTRL_C),)),
    Step("client-manager client stop --all", lambda desk: not desk.runs(), YES),
    Step("client-manager client start --all", lambda desk: desk.runs()),
    Step("client-manager doctor", is_well, or_code=1),  # it looks at other tests' containers, too
    Step("client-manager client repair acme", lambda desk: desk.runs(), YES, before=container_lost),
    Step(
        "client-manager client resume acme",
        lambda desk: environment_has(WEBUI_NAME="Resumed")(desk) and ended(desk),
        before=lambda desk: cut_off(desk, "2", "Resumed"),
    ),
    Step(
        "client-manager client undo acme",
        lambda desk: environment_has(WEBUI_NAME="Resumed")(desk) and ended(desk),
        before=lambda desk: cut_off(desk, "never", "Undone"),
    ),
    Step("client-manager client remove acme", is_gone, NAME, before=key_noted),
)

EXAMPLE: Final = (
    Step("client-manager client create acme --domain chat.acme.example --yes", comes_back),
    Step(
        "client-manager client set acme --memory 1g --env WEBUI_NAME=Acme --yes",
        lambda desk: environment_has(WEBUI_NAME="Acme")(desk) and desk.container()["HostConfig"]["Memory"] == 1024**3,
    ),
    Step("docker rm -f openwebui-acme", lambda desk: desk.container() is None),
    Step("client-manager client repair acme --yes", environment_has(WEBUI_NAME="Acme")),
    Step(
        "client-manager client remove acme --yes",
        needs_a_terminal,
        (("Type the client's name", CTRL_C),),
        code=130,
    ),
    Step("client-manager client remove acme --confirm acme", is_gone),
)

ALL: Final = (*GUIDE, *EXAMPLE)
