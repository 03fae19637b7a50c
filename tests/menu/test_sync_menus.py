"""A client's sync menu, driven by real keys, on a cluster that really replicates."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest

from client_manager.app import App
from client_manager.client_sync import control
from client_manager.client_sync import register as registration
from client_manager.errors import Blocked, ClientManagerError, Conflict, InvalidInput, NoAnswer, NotFound
from client_manager.menu import sync_actions
from client_manager.menu.prompts import Nobody
from client_manager.menu.sync import sync_menu
from client_manager.models.client import ClientSpec
from tests.integration.cluster import Cluster, cluster_of
from tests.menu.conftest import CLEAR, CTRL_C, ENTER, ESC, Operator, Pick, Terminal
from tests.menu.desk import BACK, EXIT, YES, Desk, as_json, ctrl_c_when, meanwhile
from tests.postgres import fresh_database
from tests.waiting import until

ROWS: Final = 50
both_ways_out = pytest.mark.parametrize("way_out", [ESC, CTRL_C], ids=["esc", "ctrl_c"])


@dataclass(frozen=True)
class Place:
    """A machine with a cluster and a client, which is registered or not."""

    cluster: Cluster
    client: str

    @property
    def database(self) -> Path:
        return self.cluster.app.files.data(self.client) / "webui.db"

    def at(self, desk: Desk, *script: Any) -> Operator:
        """Open the client's sync menu, and leave it again at the end."""
        operator = Operator(desk.terminal, [*script, BACK])
        sync_menu(desk.session(ask=operator, in_menu=True), self.client)
        assert not operator.script, f"these were not asked for: {operator.script}"
        return operator

    def row(self) -> tuple[bool, int, str] | None:
        rows = self.cluster.rows(
            "SELECT sync_enabled, sync_interval, status FROM sync_metadata.client_deployments WHERE client_name = %s",
            self.client,
        )
        return rows[0] if rows else None

    def is_synced(self) -> bool:
        """Whether the record says so; what was registered before has left its jobs behind."""
        return bool(
            self.cluster.rows(
                "SELECT 1 FROM sync_metadata.client_deployments"
                " WHERE client_name = %s AND last_sync_status = 'success' AND last_sync_at > created_at",
                self.client,
            )
        )

    def is_led(self) -> bool:
        return bool(
            self.cluster.rows("SELECT 1 FROM sync_metadata.leader_election WHERE expires_at > clock_timestamp()")
        )

    def jobs(self, *statuses: str) -> list[UUID]:
        rows = self.cluster.rows(
            "SELECT job_id FROM sync_metadata.sync_jobs WHERE client_name = %s AND status = ANY (%s)",
            self.client,
            list(statuses),
        )
        return [job_id for (job_id,) in rows]


def _make_client(app: App, name: str) -> None:
    """A client that the console manages, with a database that its application has closed; no container."""
    app.files.write(
        ClientSpec(
            name=name,
            container=f"openwebui-{name}",
            domain=f"{name}.example.com",
            image="ghcr.io/open-webui/open-webui:v0.12.4",
            port=8081,
            env={},
            secrets={"WEBUI_SECRET_KEY": "s"},
            memory_bytes=None,
        )
    )
    app.files.make_data(name)
    with sqlite3.connect(app.files.data(name) / "webui.db") as database:
        database.execute("PRAGMA journal_mode = wal")
        database.execute("CREATE TABLE chat (id INTEGER PRIMARY KEY, title TEXT)")
        database.executemany("INSERT INTO chat (title) VALUES (?)", [(f"chat {n}",) for n in range(ROWS)])
    database.close()


@pytest.fixture(scope="module")
def place(docker_api: Any, node_image: str, postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with (
        fresh_database(postgres) as url,
        cluster_of(docker_api, tmp_path_factory.mktemp("sync"), url, node_image) as cluster,
    ):
        client = f"c-{cluster.name}"
        _make_client(cluster.app, client)  # before the nodes: they run as an account that may read it
        cluster.deploy()
        yield Place(cluster, client)


@pytest.fixture
def stranger(place: Place) -> Place:
    """The client is not registered."""
    place.cluster.rows("DELETE FROM sync_metadata.client_deployments WHERE client_name = %s", place.client)
    return place


@pytest.fixture
def here(place: Place) -> Place:
    """The client is registered and replicated, and nothing of it is under way."""
    if place.row() is None:
        sync_actions.register(Desk(place.cluster.app).session(yes=True), place.client, interval_s=3600, cluster=None)
    control.start(place.cluster.app, place.client, 3600)
    until(lambda: place.is_synced() and not place.jobs("queued", "running"), 60)
    return place


@pytest.fixture
def paused(here: Place) -> Place:
    control.pause(here.cluster.app, here.client, lambda _progress: None)
    return here


@pytest.fixture
def leaderless(here: Place) -> Iterator[Place]:
    """Nobody takes jobs: the nodes are frozen, and their jobs wait."""
    containers = [here.cluster.container(node) for node in ("sync-node-a", "sync-node-b")]
    api = here.cluster.app.engine
    for container in containers:
        api.stop(api.get(container).id, 45)
    yield here
    for container in containers:
        api.start(api.get(container).id)
    until(here.is_led, 60)
    until(lambda: not here.jobs("queued", "running"), 60)


@pytest.fixture
def desk(place: Place, terminal: Terminal) -> Desk:
    return Desk(App(place.cluster.app.settings), terminal)


def test_the_clients_menu_leads_to_it(desk: Desk, here: Place) -> None:
    operator = desk.sit_down(
        Pick("Manage Existing"), Pick(f"{here.client} "), Pick("Sync Management"), BACK, BACK, ESC, EXIT
    )
    assert operator.asked[3].startswith(f"Sync of {here.client}  ok")


def test_a_client_that_is_not_registered_is_offered_to_be_and_nothing_else(desk: Desk, stranger: Place) -> None:
    operator = stranger.at(desk)
    assert operator.choices == [["Register", "Help", "Back"]]
    assert operator.asked == [f"Sync of {stranger.client}  not registered"]


def test_register_replicates_the_client(desk: Desk, stranger: Place) -> None:
    operator = stranger.at(desk, Pick("Register"), Pick("Every minute"), YES)
    assert stranger.row() == (True, 60, "active")
    assert f"{stranger.client} is registered with {stranger.cluster.name}" in desk.shown
    assert f"client-manager sync register {stranger.client} --interval 60" in desk.shown
    assert "Start/Resume" in operator.choices[-1]
    until(stranger.is_synced)
    assert stranger.cluster.rows(f'SELECT count(*) FROM "{stranger.client}".chat') == [(ROWS,)]


@both_ways_out
@pytest.mark.parametrize("answered", range(2))
def test_register_can_be_left_at_every_question(desk: Desk, stranger: Place, answered: int, way_out: str) -> None:
    stranger.at(desk, Pick("Register"), *[Pick("Every hour")][:answered], way_out)
    assert stranger.row() is None


def test_another_interval_is_asked_for_until_it_can_be(desk: Desk, paused: Place) -> None:
    paused.at(desk, Pick("Start"), Pick("Another number"), f"{CLEAR}9{ENTER}{CLEAR}77{ENTER}", YES)
    assert paused.row() == (True, 77, "active")


@both_ways_out
@pytest.mark.parametrize("answered", range(3))
def test_start_can_be_left_at_every_question(desk: Desk, paused: Place, answered: int, way_out: str) -> None:
    paused.at(desk, Pick("Start"), *[Pick("Another number"), f"{CLEAR}77{ENTER}"][:answered], way_out)
    assert paused.row() == (False, 3600, "paused")


def test_start_resumes_what_is_paused(desk: Desk, paused: Place) -> None:
    paused.at(desk, Pick("Start"), Pick("As it is"), YES)
    assert paused.row() == (True, 3600, "active")
    assert f"client-manager sync start {paused.client} --interval 3600" in desk.shown


def test_pause_says_what_was_under_way(desk: Desk, here: Place) -> None:
    operator = here.at(desk, Pick("Pause"), YES)
    assert here.row() == (False, 3600, "paused")
    assert f"{here.client} is paused: no job was under way." in desk.shown
    assert operator.asked[-1].startswith(f"Sync of {here.client}  paused")


@both_ways_out
def test_pause_can_be_left(desk: Desk, here: Place, way_out: str) -> None:
    here.at(desk, Pick("Pause"), way_out)
    assert here.row() == (True, 3600, "active")


def test_pause_of_a_client_whose_job_waits_cancels_it_and_says_so(desk: Desk, leaderless: Place) -> None:
    control.run(leaderless.cluster.app, leaderless.client)
    leaderless.at(desk, Pick("Pause"), YES)
    assert "is paused: cancelled a incremental run" in desk.shown or "cancelled an incremental run" in desk.shown
    assert not leaderless.jobs("queued", "running")


@pytest.mark.parametrize("kind", ["Full", "Incremental"])
def test_a_manual_run_is_followed_to_its_end(desk: Desk, here: Place, kind: str) -> None:
    with sqlite3.connect(here.database) as database:
        database.execute("UPDATE chat SET title = ? WHERE id = 1", (f"changed, then {kind}",))
    database.close()
    here.at(desk, Pick(f"Manual Sync: {kind}"), *([YES] if kind == "Full" else []))
    assert f"{here.client} is replicated: " in desk.shown
    title = here.cluster.rows(f'SELECT title FROM "{here.client}".chat WHERE id = 1')
    assert title == [(f"changed, then {kind}",)]
    assert f"client-manager sync run {here.client}{' --full' if kind == 'Full' else ''} --wait" in desk.shown


@both_ways_out
def test_a_full_run_can_be_left_before_it_begins(desk: Desk, here: Place, way_out: str) -> None:
    before = here.jobs("success")
    here.at(desk, Pick("Manual Sync: Full"), way_out)
    assert (here.jobs("success"), here.jobs("queued", "running")) == (before, [])


def test_ctrl_c_while_following_leaves_the_job_and_says_how_to_look_again(desk: Desk, leaderless: Place) -> None:
    with ctrl_c_when(lambda: "- queued" in desk.screen.getvalue()):
        leaderless.at(desk, Pick("Manual Sync: Incremental"))
    assert "The job goes on without you." in desk.shown
    assert f"client-manager sync jobs {leaderless.client}" in desk.shown
    assert len(leaderless.jobs("queued")) == 1


def test_a_run_of_a_paused_client_is_refused_before_it_is_queued(desk: Desk, paused: Place) -> None:
    paused.at(desk, Pick("Manual Sync: Incremental"))
    assert f"Error: The replication of {paused.client} is paused." in desk.shown
    assert f"Next: client-manager sync start {paused.client}" in desk.shown
    assert paused.jobs("queued", "running") == []


def test_a_run_that_fails_says_why(desk: Desk, here: Place) -> None:
    aside = here.database.with_name("aside.db")
    here.database.rename(aside)
    try:
        with pytest.raises(ClientManagerError, match="failed") as caught:
            sync_actions.run_now(desk.session(), here.client, full=False, wait=True)
        assert caught.value.why
    finally:
        aside.rename(here.database)
    sync_actions.run_now(desk.session(), here.client, full=False, wait=True)


def test_status_and_jobs_are_shown(desk: Desk, here: Place) -> None:
    here.at(desk, Pick("View Sync Status"), Pick("View Jobs"))
    assert f"Client {here.client}, container openwebui-{here.client}" in desk.shown
    assert f"client-manager sync status {here.client}" in desk.shown
    assert f"client-manager sync jobs {here.client}" in desk.shown
    assert "success" in desk.shown


def test_cancel_ends_what_waits(desk: Desk, leaderless: Place) -> None:
    job = control.run(leaderless.cluster.app, leaderless.client)
    leaderless.at(desk, Pick("Cancel"), YES)
    assert f"Job {str(job)[:8]} is cancelled." in desk.shown
    assert job in leaderless.jobs("cancelled")


@pytest.fixture
def stopped(leaderless: Place) -> Iterator[Place]:
    """A run would have deleted much, and nothing was written."""
    state = "UPDATE sync_metadata.replication_state SET status = %s, reason = %s WHERE client_name = %s"
    leaderless.cluster.rows(state, "needs_confirmation", "9 of 9 rows of chat are gone", leaderless.client)
    yield leaderless
    leaderless.cluster.rows(state, "ok", None, leaderless.client)


def test_a_full_run_of_what_a_safety_rule_has_stopped_wants_the_name(desk: Desk, stopped: Place) -> None:
    session, name = desk.session(yes=True, ask=Nobody()), stopped.client
    with pytest.raises(NoAnswer) as unasked:
        sync_actions.run_now(session, name, full=True, wait=False)
    assert f"--confirm {name}" in unasked.value.hint
    assert "9 of 9 rows of chat are gone" in desk.shown
    with pytest.raises(InvalidInput, match="--confirm says x"):
        sync_actions.run_now(session, name, full=True, wait=False, confirm="x")
    with pytest.raises(Blocked, match="may not be loaded anew"):
        control.run(stopped.cluster.app, name, full=True)
    assert stopped.jobs("queued") == []
    sync_actions.run_now(session, name, full=True, wait=False, confirm=name)
    (job,) = stopped.jobs("queued")
    sync_actions.cancel(session, client=None, job=str(job)[:8])
    with pytest.raises(Blocked, match="may not be loaded anew"):
        sync_actions.rerun(session, str(job))


@both_ways_out
def test_cancel_can_be_left(desk: Desk, leaderless: Place, way_out: str) -> None:
    job = control.run(leaderless.cluster.app, leaderless.client)
    leaderless.at(desk, Pick("Cancel"), way_out)
    assert leaderless.jobs("queued") == [job]


def test_cancel_takes_the_beginning_of_an_id(desk: Desk, leaderless: Place) -> None:
    job = control.run(leaderless.cluster.app, leaderless.client)
    session = desk.session(yes=True)
    with pytest.raises(InvalidInput, match="not enough"):
        sync_actions.cancel(session, client=None, job=str(job)[:3])
    with pytest.raises(NotFound):
        sync_actions.cancel(session, client=None, job="0000000000000000")
    sync_actions.cancel(session, client=None, job=str(job)[:8])
    assert job in leaderless.jobs("cancelled")


def test_cancel_names_one_thing(desk: Desk) -> None:
    for client, job in ((None, None), ("acme", "abcdef12")):
        with pytest.raises(InvalidInput, match="Name a client, or a job"):
            sync_actions.cancel(desk.session(), client=client, job=job)


def test_a_job_that_somebody_cancels_is_no_success(desk: Desk, leaderless: Place) -> None:
    with meanwhile(lambda: _cancel_when_queued(leaderless)), pytest.raises(Conflict):
        sync_actions.run_now(desk.session(), leaderless.client, full=False, wait=True)


def _cancel_when_queued(place: Place) -> None:
    until(lambda: place.jobs("queued"))
    control.cancel(place.cluster.app, client=place.client)


def test_cancel_of_nothing_says_so(desk: Desk, here: Place) -> None:
    here.at(desk, Pick("Cancel"))
    assert "No job is under way." in desk.shown


def test_names_that_are_not_registered_are_errors_with_the_nearest(desk: Desk, here: Place) -> None:
    with pytest.raises(NotFound) as caught:
        sync_actions.show_status(desk.session(), f"{here.client}x")
    assert caught.value.why == f"Did you mean {here.client}?"
    with pytest.raises(NotFound):
        sync_actions.show_jobs(desk.session(), "nobody-at-all", limit=5)


def test_a_database_that_is_gone_leaves_the_menu(desk: Desk, here: Place) -> None:
    desk.without_database()
    operator = here.at(desk, Pick("View Sync Status"))
    assert operator.asked[0].startswith(f"Sync of {here.client}  (PostgreSQL at ")
    assert "Error: " in desk.shown
    assert "hunter2" not in desk.shown


def test_reads_as_json_hold_the_models(desk: Desk, here: Place, capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(desk, capsys, lambda session: sync_actions.show_status(session, None))
    assert [each["client_name"] for each in found["clients"]] == [here.client]
    found = as_json(desk, capsys, lambda session: sync_actions.show_status(session, here.client))
    assert found["client"]["sync_interval"] == 3600
    found = as_json(desk, capsys, lambda session: sync_actions.show_jobs(session, here.client, limit=1))
    assert len(found["jobs"]) == 1
    found = as_json(desk, capsys, lambda session: sync_actions.run_now(session, here.client, full=False, wait=True))
    assert found["job"]["status"] == "success"


def test_dry_runs_do_nothing(desk: Desk, here: Place) -> None:
    before = (here.row(), here.jobs("success"))
    session = desk.session(dry_run=True)
    sync_actions.pause(session, here.client)
    sync_actions.start(session, here.client, interval_s=60)
    sync_actions.run_now(session, here.client, full=True, wait=True)
    sync_actions.register(session, here.client, interval_s=60, cluster=None)
    assert desk.shown.count("Dry run: nothing was done.") == 4
    assert (here.row(), here.jobs("success")) == before
    assert here.jobs("queued", "running") == []


# What a registration needs.


def test_preflight_shows_everything_that_a_registration_needs(desk: Desk, stranger: Place) -> None:
    checks = registration.preflight(stranger.cluster.app, stranger.client)
    assert [(check.name, check.severity) for check in checks] == [
        (name, "ok") for name in ("client", "cluster", "database", "rights", "leader", "record")
    ]
    sync_actions.register(desk.session(dry_run=True), stranger.client, interval_s=60, cluster=None)
    assert all(f"ok {check.name}" in desk.shown for check in checks)
    assert stranger.row() is None


def test_preflight_names_every_fault_with_its_remedy_and_nothing_is_registered(desk: Desk, leaderless: Place) -> None:
    leaderless.cluster.rows("DELETE FROM sync_metadata.client_deployments WHERE client_name = %s", leaderless.client)
    until(lambda: not leaderless.is_led())
    away = leaderless.database.rename(leaderless.database.with_suffix(".away"))
    try:
        with pytest.raises(ClientManagerError):
            sync_actions.register(desk.session(yes=True), leaderless.client, interval_s=60, cluster=None)
        found = {check.name: check for check in registration.preflight(leaderless.cluster.app, leaderless.client)}
    finally:
        away.rename(leaderless.database)
    assert {name for name, check in found.items() if check.severity == "critical"} == {"database", "leader"}
    assert all(f"Next: {found[name].hint}" in desk.shown for name in ("database", "leader"))
    assert leaderless.row() is None


def test_preflight_of_a_client_that_is_not_there_says_what_was_not_looked_at(desk: Desk, place: Place) -> None:
    del desk
    checks = registration.preflight(place.cluster.app, "nobody")
    assert [check.severity for check in checks] == ["critical", "ok", *["warning"] * 4]


# Again.


def test_a_job_that_is_over_is_queued_again(desk: Desk, here: Place) -> None:
    (first, *_) = here.jobs("success", "failed")
    before = len(here.jobs("success"))
    sync_actions.rerun(desk.session(yes=True), str(first)[:8])
    until(lambda: len(here.jobs("success")) > before)


def test_an_id_that_no_job_has_is_refused(desk: Desk, here: Place) -> None:
    del here
    with pytest.raises(NotFound):
        sync_actions.rerun(desk.session(yes=True), "ffffffff")
