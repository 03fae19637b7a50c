"""What is shown: hostile text harmless, long text whole, secrets masked."""

from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from pydantic import SecretStr
from rich.console import RenderableType

from client_manager.errors import Cancelled, ClientManagerError, Undone
from client_manager.guard import RemovalDecision
from client_manager.models.client import Change, ClientDetail, ClientSpec, ClientSummary
from client_manager.models.finding import Finding
from client_manager.models.operation import Operation
from client_manager.views.clients import change_table, client_page, client_table, plan_page, removal_page
from client_manager.views.columns import client_lines
from client_manager.views.console import make_console
from client_manager.views.errors import error_text
from client_manager.views.findings import finding_table, operation_text
from client_manager.views.text import age, plain, size
from tests.screen import console_on

HOSTILE = "\x1b[31m[x] running\x1b[0m [/etc/nginx] \x1b]0;owned\x07\x9b2J\x08:smile:\x00"
HARMLESS = "[x] running [/etc/nginx] 2J:smile:"
LONG_NAME = "a" * 26 + "b" * 26
LONG_DOMAIN = "a-very-long-subdomain.of-a-customer-with-a-long-name.example.com"
KEY = "key-0123456789abcdef"


def summary(**changes: object) -> ClientSummary:
    fields: dict[str, object] = {
        "name": "acme",
        "kind": "managed",
        "container": "openwebui-acme",
        "domain": "chat.acme.example",
        "port": 8081,
        "image": "ghcr.io/open-webui/open-webui:v0.12.4",
        "version": "v0.12.4",
        "state": "running",
        "health": "healthy",
        "database": "sqlite",
        "drift": "no",
        "created_at": datetime.now(UTC) - timedelta(days=3),
    }
    return ClientSummary.model_validate({**fields, **changes})


def spec(**variables: str) -> ClientSpec:
    empty = ClientSpec(
        name="acme",
        container="openwebui-acme",
        domain="chat.acme.example",
        image="ghcr.io/open-webui/open-webui:v0.12.4",
        port=8081,
        env={},
        secrets={"WEBUI_SECRET_KEY": SecretStr(KEY)},
        memory_bytes=2 * 1024**3,
    )
    return empty.with_variables({**empty.variables(), **variables})


def shown(renderable: RenderableType, width: int = 80) -> str:
    file = StringIO()
    console = console_on(file, width=width)
    console.print(renderable)
    assert max(map(len, file.getvalue().splitlines())) <= width
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def column(table: str, heading: str) -> str:
    """All of a column below its heading, put together again where it was folded."""
    head, _, *lines = table.splitlines()
    start = head.index(heading)
    following = head[start + len(heading) :].lstrip()
    end = head.index(following, start) if following else None
    return "".join(line[start:end].strip() for line in lines)


# Text.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HOSTILE, HARMLESS),
        ("\x1b[2J\x1b[Hgone", "gone"),
        ("\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("over\rwritten", "overwritten"),
        ("tab\tand\nline", "tab\tand\nline"),
        ("Grüße 你好", "Grüße 你好"),
        ("\x1b", ""),
        ("\u009b31m", "31m"),
    ],
)
def test_plain_leaves_only_what_cannot_steer_a_terminal(text: str, expected: str) -> None:
    assert plain(text) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-5, "0s"),
        (0, "0s"),
        (59, "59s"),
        (60, "1m"),
        (3599, "59m"),
        (3600, "1h"),
        (86399, "23h"),
        (86400, "1d"),
        (9e7, "1041d"),
    ],
)
def test_age_is_in_its_largest_unit(seconds: float, expected: str) -> None:
    assert age(datetime.now(UTC) - timedelta(seconds=seconds, milliseconds=1)) == expected


def test_age_of_what_is_not_there_is_a_dash() -> None:
    assert age(None) == "-"


@pytest.mark.parametrize(
    ("count", "expected"),
    [(None, "no limit"), (2 * 1024**3, "2g"), (1536 * 1024**2, "1536m"), (5 * 1024, "5k"), (1025, "1025 bytes")],
)
def test_size_is_in_the_unit_that_operators_type(count: int | None, expected: str) -> None:
    assert size(count) == expected


# The list.


def test_client_table_at_80_is_golden() -> None:
    rows = [
        summary(),
        summary(name="beta", domain=None, port=None, state="missing", health="none", drift="missing", created_at=None),
        summary(name="old", state="restarting", health="unhealthy", database="postgresql", drift="not managed"),
    ]
    assert shown(client_table(rows, 80)).splitlines() == [
        "NAME DOMAIN            PORT VERSION STATE      HEALTH    DB     DRIFT   AGE",
        "───────────────────────────────────────────────────────────────────────────",
        "acme chat.acme.example 8081 v0.12.4 running    healthy   sqlite no      3d",
        "beta -                 -    v0.12.4 missing    none      sqlite missing -",
        "old  chat.acme.example 8081 v0.12.4 restarting unhealthy pg     not     3d",
        "                                                                managed",
    ]


def test_client_table_folds_long_names_and_domains_and_cuts_nothing() -> None:
    row = summary(name=LONG_NAME, domain=LONG_DOMAIN, state="restarting", health="unhealthy", drift="not managed")
    table = shown(client_table([row], 80))
    expected = {
        "NAME": LONG_NAME,
        "DOMAIN": LONG_DOMAIN,
        "PORT": "8081",
        "VERSION": "v0.12.4",
        "STATE": "restarting",
        "HEALTH": "unhealthy",
        "DB": "sqlite",
        "DRIFT": "notmanaged",
        "AGE": "3d",
    }
    assert {heading: column(table, heading) for heading in expected} == expected


def test_client_table_folds_a_version_that_is_a_digest() -> None:
    version = f"ghcr.io/open-webui/open-webui@sha256:{'0123456789abcdef' * 4}"
    table = shown(client_table([summary(version=version)], 80))
    assert column(table, "VERSION") == version
    assert column(table, "STATE") == "running"


def test_client_table_has_the_image_where_there_is_room() -> None:
    table = shown(client_table([summary()], 160), width=160)
    assert column(table, "IMAGE") == "ghcr.io/open-webui/open-webui:v0.12.4"
    assert "DATABASE" in table


def test_client_table_shows_markup_and_escapes_as_plain_text() -> None:
    row = summary(name=HOSTILE, domain=HOSTILE, image=HOSTILE, version=HOSTILE)
    table = shown(client_table([row], 160), width=160)
    assert table.count(HARMLESS.split(maxsplit=1)[0]) == 4
    assert "\x1b" not in table
    assert "😄" not in table


@pytest.mark.parametrize("width", [80, 160])
def test_client_table_of_nothing_says_how_to_begin(width: int) -> None:
    assert "client-manager client create NAME --domain D" in shown(client_table([], width)).replace("\n", " ")


def test_client_lines_are_one_whole_line_a_client() -> None:
    head, *lines = client_lines([summary(), summary(name=LONG_NAME, domain=LONG_DOMAIN)]).splitlines()
    assert head.split() == [
        "NAME", "DOMAIN", "PORT", "IMAGE", "VERSION", "STATE", "HEALTH", "DATABASE", "DRIFT", "AGE",
    ]  # fmt: skip
    assert [line.split() for line in lines] == [
        [
            name,
            domain,
            "8081",
            "ghcr.io/open-webui/open-webui:v0.12.4",
            "v0.12.4",
            "running",
            "healthy",
            "sqlite",
            "no",
            "3d",
        ]
        for name, domain in (("acme", "chat.acme.example"), (LONG_NAME, LONG_DOMAIN))
    ]


@pytest.mark.parametrize("field", ["name", "domain", "image", "version", "state", "health"])
@pytest.mark.parametrize("text", ["one\ntwo", "one\ttwo", "one\x1b[31m\rtwo"])
def test_client_lines_stay_one_line_whatever_a_name_holds(field: str, text: str) -> None:
    lines = client_lines([summary(**{field: text})]).splitlines()
    assert len(lines) == 2
    assert "\x1b" not in lines[1]


def test_client_lines_of_nothing_are_the_headings() -> None:
    assert client_lines([]).split()[0] == "NAME"


# One client.


def test_client_page_has_every_field() -> None:
    detail = ClientDetail(
        summary=summary(),
        spec=spec(WEBUI_NAME="Acme"),
        data="/opt/openwebui/acme/data",
        network=("net 10.0.0.2",),
        restarts=2,
    )
    assert [line.split(maxsplit=1) for line in shown(client_page(detail, reveal=False)).splitlines() if line] == [
        ["Client", "acme (managed)"],
        ["Address", "https://chat.acme.example"],
        ["Container", "openwebui-acme"],
        ["Image", "ghcr.io/open-webui/open-webui:v0.12.4"],
        ["Digest", "-"],
        ["State", "running, health: healthy, restarts: 2"],
        ["Drift", "no"],
        ["Port", "127.0.0.1:8081"],
        ["Data", "/opt/openwebui/acme/data"],
        ["Network", "net 10.0.0.2"],
        ["Database", "sqlite"],
        ["Age", "3d"],
        ["Memory", "2g"],
        ["CPUs", "no limit"],
        ["Variables"],
        ["WEBUI_NAME", "Acme"],
        ["WEBUI_SECRET_KEY", "********"],
    ]


SECRETS = {
    "OPENAI_API_KEY": "sk-0123",
    "ADMIN_PASSWORD": "hunter2",
    "DATABASE_URL": "sqlite:////somewhere",
    "REDIS_URL": "redis://user:hunter2@redis.example.test",
}


@pytest.mark.parametrize(("name", "value"), SECRETS.items(), ids=SECRETS)
def test_client_page_masks_a_secret(name: str, value: str) -> None:
    page = shown(client_page(ClientDetail(summary=summary(), spec=spec(**{name: value})), reveal=False))
    assert value not in page
    assert KEY not in page


@pytest.mark.parametrize(("name", "value"), SECRETS.items(), ids=SECRETS)
def test_client_page_reveals_a_secret_when_asked_to(name: str, value: str) -> None:
    page = shown(client_page(ClientDetail(summary=summary(), spec=spec(**{name: value})), reveal=True))
    assert value in page
    assert KEY in page


@pytest.mark.parametrize(("name", "value"), SECRETS.items(), ids=SECRETS)
def test_plan_page_masks_a_secret(name: str, value: str) -> None:
    assert value not in shown(plan_page(spec(**{name: value})))


def test_client_page_shows_a_hostile_value_as_plain_text() -> None:
    page = shown(client_page(ClientDetail(summary=summary(), spec=spec(WEBUI_NAME=HOSTILE)), reveal=False))
    assert f"WEBUI_NAME        {HARMLESS}" in page.splitlines()


def test_client_page_folds_a_long_value_and_cuts_nothing() -> None:
    value = "".join(str(number % 10) for number in range(200))
    page = shown(client_page(ClientDetail(summary=summary(), spec=spec(WEBUI_NAME=value)), reveal=False))
    assert value in "".join(page.split())


def test_client_page_of_a_found_container_has_no_variables() -> None:
    page = shown(client_page(ClientDetail(summary=summary(kind="found", drift="not managed"), spec=None), reveal=True))
    assert "acme (found)" in page
    assert "Variables" not in page


def test_client_page_says_how_it_drifted_and_what_to_do() -> None:
    change = Change(field="memory_bytes", before=str(2 * 1024**3), after=str(1024**3))
    detail = ClientDetail(summary=summary(drift="changed"), spec=spec(), differences=(change,))
    page = shown(client_page(detail, reveal=False))
    assert "memory  2g  ->  1g" in page
    assert "Next: client-manager client repair acme" in page


def test_change_table_shows_hostile_values_as_plain_text() -> None:
    table = shown(change_table([Change(field="WEBUI_NAME", before="[bold]old[/bold]", after=HOSTILE)]))
    assert table == f"WEBUI_NAME  [bold]old[/bold]  ->  {HARMLESS}"


def test_removal_page_says_what_goes_and_what_stays() -> None:
    decision = RemovalDecision(blockers=(), goes=("the container",), stays=("all data in /opt/[x]",))
    assert shown(removal_page("acme", decision)).splitlines() == [
        "Removing acme",
        "  goes   the container",
        "  stays  all data in /opt/[x]",
    ]


def test_removal_page_says_only_why_it_may_not_go() -> None:
    decision = RemovalDecision(blockers=("Its data is also used by [x].",), goes=("the container",), stays=())
    assert shown(removal_page("acme", decision)) == "acme may not be removed:\nIts data is also used by [x]."


# Errors, findings, operations.


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            ClientManagerError("It broke.", why="A [/reason].", hint="Mend it."),
            "Error: It broke.\nA [/reason].\nNext: Mend it.",
        ),
        (ClientManagerError("It broke."), "Error: It broke."),
        (Undone("It failed."), "Undone: It failed."),
        (Cancelled(), "Cancelled: Interrupted."),
        (ClientManagerError(HOSTILE), f"Error: {HARMLESS}"),
    ],
)
def test_error_text_says_what_why_and_what_next(error: ClientManagerError, expected: str) -> None:
    assert shown(error_text(error)) == expected


def test_finding_table_has_the_fix_below_what_needs_one() -> None:
    findings = [
        Finding(check="Docker", verdict="ok", what="Engine 20.10"),
        Finding(check="disk", verdict="problem", what="[x] full", fix="rm [/tmp]"),
    ]
    assert shown(finding_table(findings)).splitlines() == [
        "ok       Docker  Engine 20.10",
        "problem  disk    [x] full",
        "                 Fix: rm [/tmp]",
    ]


def test_operation_text_says_who_did_what_and_how_far_it_came() -> None:
    operation = Operation(
        action="change settings",
        client="acme",
        container="openwebui-acme",
        operator="\x1b[31m[root]",
        started_at=datetime.now(UTC) - timedelta(hours=2),
        old_container_id=None,
        old_was_running=True,
        had_spec=True,
        had_data=True,
        had_volume=True,
        had_network=True,
        step="renamed",
    )
    assert " ".join(shown(operation_text(operation)).split()) == (
        "Cut off: change settings of acme, begun by [root] 2h ago, last step: renamed."
    )


def test_a_pipe_gets_whole_lines(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w+", encoding="utf-8") as file:
        make_console(file).print("word " * 100)
        file.seek(0)
        assert len(file.readlines()) == 1
