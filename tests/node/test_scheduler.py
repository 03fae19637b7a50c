"""The leader's work, on a real PostgreSQL, with real databases that are being written."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from client_manager.errors import Unavailable
from client_manager.gateways.job_store import JobStore
from client_manager.gateways.sync_roles import SyncRoles, new_password
from client_manager.replication.engine import Engine
from tests.node.machine import CLUSTER, Machine, Node, locked, paused, running
from tests.node.nodes import add_host
from tests.node.road import road_to
from tests.waiting import until


@pytest.fixture
def machine(database_url: str, tmp_path: Path) -> Iterator[Machine]:
    found = Machine(database_url, tmp_path / "openwebui", add_host(database_url))
    found.data_root.mkdir()
    yield found
    for client in found.clients.values():
        client.app.close()


@pytest.fixture
def node(machine: Machine) -> Iterator[Node]:
    with running(Node(machine)) as found:
        yield found


def open_files(under: Path) -> list[str]:
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(str(descriptor.readlink()))
    return [path for path in found if path.startswith(str(under))]


def idle_looks(node: Node) -> int:
    return node.scheduler.snapshot().outcomes["idle"]


def test_the_leader_replicates_its_clients_and_follows_them(machine: Machine, node: Node) -> None:
    for name in ("acme", "beta"):
        machine.add(name).write("c1")
    assert node.scheduler.snapshot().term is None
    node.lead(1)
    node.synced()
    machine.clients["acme"].write("c2", "c3")
    node.synced("acme")
    assert machine.sql(
        "SELECT last_sync_status, clock_timestamp() - last_sync_at < interval '10 s', next_sync_at IS NOT NULL"
        " FROM sync_metadata.client_deployments WHERE client_name = 'acme'"
    ) == [("success", True, True)]
    assert machine.sql("SELECT DISTINCT node_name, term FROM sync_metadata.sync_jobs") == [("sync-node-a", 1)]
    until(lambda: node.scheduler.snapshot().outcomes.get("success", 0) >= 3)
    work = node.scheduler.snapshot()
    assert work.term == 1
    assert {client.client for client in work.clients} == {"acme", "beta"}
    assert node.scheduler.last_sync() is not None


def test_the_clusters_own_role_suffices(machine: Machine) -> None:
    """It has no right but those of migration 0007, and sees its cluster's rows only."""
    password = new_password()
    with psycopg.connect(machine.url, autocommit=True) as connection:
        roles = SyncRoles(connection)
        roles.ensure_node(CLUSTER, 20)
        roles.set_password(CLUSTER, password)
        for name in ("acme", "beta"):
            machine.add(name)
            roles.ensure_owner(name, CLUSTER)
        machine.add("another")
        parts = urlsplit(machine.url)
        login = f"sync_node_{CLUSTER}:{password.get_secret_value()}@{parts.hostname}:{parts.port}"
        try:
            with running(Node(machine, url=urlunsplit(parts._replace(netloc=login)))) as node:
                node.lead(1)
                node.synced("acme", "beta")
                machine.clients["acme"].write("c1")
                job = machine.enqueue("acme", "full")
                until(lambda: machine.job(job) == ("success", None))
                node.synced("acme")
                until(
                    lambda: machine.sql(
                        "SELECT client_name FROM sync_metadata.client_deployments WHERE last_sync_at IS NOT NULL"
                        " ORDER BY client_name"
                    ) == [("acme",), ("beta",)]
                )  # fmt: skip
                assert {work.client for work in node.scheduler.snapshot().clients} == {"acme", "beta"}
                assert not node.scheduler.snapshot().problem
            owners = "SELECT nspname, pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname IN ('acme', 'beta')"
            assert dict(machine.sql(owners)) == {"acme": "sync_owner_acme", "beta": "sync_owner_beta"}
        finally:
            for schema in ("acme", "beta"):
                machine.sql(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
            for role in ("sync_owner_acme", "sync_owner_beta", f"sync_node_{CLUSTER}"):
                machine.sql(f"DROP OWNED BY {role}")
                machine.sql(f"DROP ROLE {role}")


def test_without_the_lead_nothing_is_done_and_with_a_new_term_it_goes_on(machine: Machine, node: Node) -> None:
    acme = machine.add("acme")
    until(lambda: node.leadership.last_event, what="a follower follows the events")
    assert machine.generation("acme") == 0
    node.lead(1)
    node.synced()
    node.lose()
    until(lambda: node.scheduler.snapshot().term is None)
    assert node.scheduler.snapshot().clients == ()
    until(lambda: open_files(machine.data_root / "acme") == [])
    acme.write("c1")
    job = machine.enqueue("acme")
    machine.add("beta")  # an event that the follower sees after all of this
    until(lambda: [fields for fields in node.told("cache_event") if fields["key"] == "deployment.beta"])
    assert machine.job(job) == ("queued", None)
    assert not machine.is_equal("acme")
    node.lead(2)
    node.synced()
    until(lambda: machine.job(job) == ("success", None))


def test_a_leader_goes_on_from_the_baseline_of_the_former_without_a_query_a_client(machine: Machine) -> None:
    for n in range(5):
        machine.add(f"c{n}").write("row")
    with running(Node(machine)) as first:
        first.lead(1)
        first.synced()
    with running(Node(machine, "sync-node-b")) as second:
        second.lead(2)
        until(lambda: idle_looks(second) >= 10)
        assert second.scheduler.snapshot().outcomes == {"idle": idle_looks(second)}
        machine.clients["c1"].write("new")
        second.synced("c1")
        until(lambda: second.told("job_ended"))
        assert [fields["level"] for fields in second.told("job_ended")] == ["pages"]


def test_clients_that_did_not_change_cost_no_query(machine: Machine, node: Node) -> None:
    for n in range(20):
        machine.add(f"c{n}")
    node.lead(1)
    node.synced()
    counted = "SELECT sessions, xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
    with psycopg.connect(machine.url, autocommit=True) as connection:

        def count() -> tuple[int, int]:
            connection.execute("SELECT pg_stat_force_next_flush()")
            connection.execute("SELECT pg_stat_clear_snapshot()")
            found = connection.execute(counted).fetchone()
            assert found
            return found

        until(lambda: not node.scheduler.snapshot().running)
        looks, (sessions, transactions) = idle_looks(node), count()
        until(lambda: idle_looks(node) >= looks + 200, within_s=40, what="200 looks")
        after_sessions, after_transactions = count()
    assert after_sessions == sessions
    assert after_transactions - transactions < 100  # the polls of about ten seconds, and a statement of outcomes


def test_settings_apply_without_a_restart(machine: Machine, node: Node) -> None:
    acme = machine.add("acme", interval_s=3600, enabled=False)
    node.lead(1)
    until(lambda: node.scheduler.snapshot().term == 1)
    assert node.scheduler.snapshot().clients == ()
    machine.set("acme", "sync_enabled", True)  # noqa: FBT003
    node.synced()
    acme.write("c1")
    assert node.client("acme").due_in_s > 3000
    machine.set("acme", "sync_interval", 1)
    node.synced()
    machine.set("acme", "status", "paused")
    until(lambda: node.scheduler.snapshot().clients == ())
    until(lambda: open_files(machine.data_root / "acme") == [])
    acme.write("c2")
    machine.set("acme", "status", "active")
    node.synced()


def test_another_path_of_a_client_is_followed_without_a_restart(machine: Machine, node: Node) -> None:
    machine.add("acme", interval_s=1).write("c1")
    node.lead(1)
    node.synced()
    moved = machine.data_root / "acme" / "moved.db"
    machine.clients["acme"].app.close()
    moved.write_bytes(machine.clients["acme"].path.read_bytes())
    machine.set("acme", "config", f'{{"sqlite_path": "{moved}"}}')
    until(lambda: str(moved) in open_files(machine.data_root))
    assert str(machine.clients["acme"].path) not in open_files(machine.data_root)


def test_a_client_that_was_switched_off_and_on_in_one_moment_is_due_now(machine: Machine, node: Node) -> None:
    acme = machine.add("acme", interval_s=3600)
    node.lead(1)
    node.synced()
    acme.write("c1")
    switch_off_and_on(machine)
    node.synced("acme")


def test_a_client_that_is_made_due_while_a_run_of_it_is_under_way_runs_again(machine: Machine, node: Node) -> None:
    acme = machine.add("acme", interval_s=3600)
    node.lead(1)
    node.synced()
    acme.write("c1")
    with paused("before commit") as pause:
        machine.enqueue("acme")
        pause.wait()
        acme.write("c2")  # the run has read its source
        switch_off_and_on(machine)
        until(lambda: node.scheduler._fleet.members["acme"].is_outdated, what="the leader has heard of it")
    node.synced("acme")


def switch_off_and_on(machine: Machine) -> None:
    """In one transaction: nobody sees a client off."""
    with psycopg.connect(machine.url) as connection:
        connection.execute("UPDATE sync_metadata.client_deployments SET sync_enabled = false")
        connection.execute(
            "UPDATE sync_metadata.client_deployments SET sync_enabled = true, next_sync_at = clock_timestamp()"
        )


def test_a_waiting_job_is_worked_off_at_once(machine: Machine, node: Node) -> None:
    acme = machine.add("acme", interval_s=3600)
    node.lead(1)
    node.synced()
    acme.write("c1", "c2")
    job = machine.enqueue("acme")
    until(lambda: machine.job(job) == ("success", None))
    machine.assert_equal("acme")
    assert machine.sql(
        "SELECT sync_type, triggered_by, node_name, term, rows_synced, tables_total FROM sync_metadata.sync_jobs"
        " WHERE job_id = %s", job
    ) == [("incremental", "the test", "sync-node-a", 1, 2, 1)]  # fmt: skip
    idle = machine.enqueue("acme")
    until(lambda: machine.job(idle) == ("success", None), what="a job that finds nothing to do ends")
    full = machine.enqueue("acme", "full")
    until(lambda: machine.job(full) == ("success", None))
    until(lambda: [fields["level"] for fields in node.told("job_ended")][1:] == ["pages", "idle", "full"])


def test_jobs_are_worked_off_in_their_order_and_a_cancelled_one_never(machine: Machine, node: Node) -> None:
    machine.add("acme", interval_s=3600)
    jobs = [machine.enqueue("acme") for _ in range(4)]
    machine.sql("UPDATE sync_metadata.sync_jobs SET status = 'cancelled' WHERE job_id = %s", jobs[2])
    node.lead(1)
    done = [jobs[0], jobs[1], jobs[3]]
    until(lambda: [machine.job(job)[0] for job in done] == ["success"] * 3)
    # The record of the last run is there before the scheduler has said so.
    ran = until(lambda: len(ids := [run["job_id"] for run in node.told("job_ended") if run["job_id"]]) >= 3 and ids)
    assert ran == done
    assert machine.job(jobs[2]) == ("cancelled", None)


@pytest.mark.parametrize(("what", "value"), [("sync_enabled", False), ("status", "paused"), ("status", "migrating")])
def test_a_job_of_a_client_that_is_not_to_be_replicated_fails_and_says_why(
    machine: Machine, node: Node, what: str, value: object
) -> None:
    machine.add("acme")
    machine.set("acme", what, value)
    job = machine.enqueue("acme")
    node.lead(1)
    until(lambda: machine.job(job)[0] == "failed")
    assert "paused, disabled" in str(machine.job(job)[1])
    assert machine.generation("acme") == 0


def test_a_job_waits_for_the_run_of_its_client_that_is_under_way(machine: Machine, node: Node) -> None:
    acme = machine.add("acme")
    node.lead(1)
    node.synced()
    with paused("claimed") as pause:
        acme.write("c1")
        pause.wait()
        job = machine.enqueue("acme")
        until(lambda: node.scheduler.snapshot().jobs == 1)
        looks = node.scheduler.snapshot().outcomes["success"]
        machine.add("beta")
        pause.here.clear()
        assert machine.job(job) == ("queued", None)
        assert [run.client for run in node.scheduler.snapshot().running].count("acme") == 1
        assert node.scheduler.snapshot().outcomes["success"] == looks
    until(lambda: machine.job(job) == ("success", None))
    machine.assert_equal("acme")
    overlapping = machine.sql(
        "SELECT count(*) FROM sync_metadata.sync_jobs a JOIN sync_metadata.sync_jobs b ON a.job_id < b.job_id"
        " AND a.client_name = b.client_name AND a.started_at < b.completed_at AND b.started_at < a.completed_at"
    )
    assert overlapping == [(0,)]


def test_a_job_that_could_not_be_taken_is_taken_later_though_nothing_has_changed(
    machine: Machine, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.add("acme")
    node.lead(1)
    node.synced()
    claim = JobStore.claim
    refused: list[Any] = []

    def refuses_once(store: JobStore, *what: Any) -> Any:
        if not refused:
            refused.append(what)
            raise Unavailable("PostgreSQL has no connection left.")
        return claim(store, *what)

    monkeypatch.setattr(JobStore, "claim", refuses_once)
    job = machine.enqueue("acme")
    until(lambda: machine.job(job) == ("success", None))
    assert refused


def test_no_two_runs_of_a_client_overlap_however_many_are_asked_for(
    machine: Machine, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted inside the engine, where each run is for as long as it lasts."""
    inside: list[str] = []
    overlaps: list[str] = []
    real = Engine.run

    def counted(self: Engine, **options: Any) -> Any:
        name = self._replica.name
        overlaps.extend([name] if name in inside else [])
        inside.append(name)
        try:
            return real(self, **options)
        finally:
            inside.remove(name)

    monkeypatch.setattr(Engine, "run", counted)
    clients = [machine.add("acme"), machine.add("beta")]
    jobs = []
    node.lead(1)
    for n in range(12):
        for client in clients:
            client.write(f"c{n}")
            jobs.append(machine.enqueue(client.name, "full" if n % 4 == 0 else "incremental"))
    until(lambda: all(machine.job(job)[0] == "success" for job in jobs), within_s=40)
    node.synced()
    assert overlaps == []


def test_one_clients_trouble_is_no_other_clients(machine: Machine, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    well = [machine.add(f"well{n}") for n in range(3)]
    machine.add("stuck")
    machine.add("bug")
    node.lead(1)
    node.synced()
    machine.register("lost")
    machine.register("outside", config={"sqlite_path": "/etc/passwd"})
    real = Engine.run

    def with_a_bug(self: Engine, **options: Any) -> Any:
        if self._replica.name == "bug":
            raise KeyError("a tenant's words")
        return real(self, **options)

    monkeypatch.setattr(Engine, "run", with_a_bug)
    with locked(machine.url, "LOCK TABLE stuck.chat IN ACCESS EXCLUSIVE MODE"):
        machine.clients["stuck"].write("c1")
        machine.clients["bug"].write("c1")
        until(lambda: node.is_running("stuck"))
        for n in range(3):
            for client in well:
                client.write(f"c{n}")
            node.synced(*[client.name for client in well], within_s=10)
        assert node.is_running("stuck")
        until(lambda: node.client("lost").failures and node.client("outside").failures and node.client("bug").failures)
    node.synced("stuck", within_s=40)
    assert "does not exist" in node.client("lost").problem
    assert "It is not inside" in node.client("outside").problem
    assert node.client("bug").problem == "KeyError"
    assert machine.sql(
        "SELECT client_name, last_sync_status FROM sync_metadata.client_deployments"
        " WHERE client_name IN ('lost', 'outside', 'bug') ORDER BY 1"
    ) == [("bug", "failed"), ("lost", "failed"), ("outside", "failed")]


def test_a_client_whose_row_is_locked_keeps_no_others_outcome_back(machine: Machine, node: Node) -> None:
    machine.add("acme")
    machine.add("beta")
    seen = "SELECT last_sync_at FROM sync_metadata.client_deployments WHERE client_name = %s"
    node.lead(1)
    node.synced()
    until(lambda: machine.sql(seen, "acme") != [(None,)] and machine.sql(seen, "beta") != [(None,)])
    with locked(machine.url, "SELECT FROM sync_metadata.client_deployments WHERE client_name = 'acme' FOR UPDATE"):
        acme, beta = machine.sql(seen, "acme"), machine.sql(seen, "beta")
        looks = idle_looks(node)
        until(lambda: idle_looks(node) >= looks + 4 and machine.sql(seen, "beta") != beta, within_s=20)
        assert machine.sql(seen, "acme") == acme
    until(lambda: machine.sql(seen, "acme") != acme)


def test_a_running_load_can_be_cancelled_and_leaves_the_replica_as_it_was(machine: Machine, node: Node) -> None:
    acme = machine.add("acme", interval_s=3600)
    acme.fill(4000, 4000)
    node.lead(1)
    node.synced()
    before = machine.generation("acme")
    with paused("chunk loaded") as pause:
        job = machine.enqueue("acme", "full")
        pause.wait()
        assert machine.job(job)[0] == "running"
        machine.cancel(job)
        until(lambda: node.scheduler._crew._running["acme"].stop)
    until(lambda: machine.job(job)[0] == "cancelled")
    assert machine.job(job) == ("cancelled", "Cancelled by the operator.")
    assert machine.generation("acme") == before
    machine.assert_equal("acme")
    assert machine.sql("SELECT status FROM sync_metadata.replication_state WHERE client_name = 'acme'") == [("ok",)]
    acme.write("c1")
    again = machine.enqueue("acme")
    until(lambda: machine.job(again) == ("success", None))
    machine.assert_equal("acme")


@pytest.mark.parametrize("step", ["chunk loaded", "load verified", "before commit"])
def test_a_load_whose_leader_is_deposed_takes_no_effect(machine: Machine, step: str) -> None:
    acme = machine.add("acme", interval_s=3600)
    acme.fill(2000, 4000)
    job = machine.enqueue("acme", "full")
    with running(Node(machine)) as deposed:
        with paused(step) as pause:
            deposed.lead(1)
            pause.wait()
            deposed.lose()
            if step == "chunk loaded":  # the load's other stream comes to the step too, or to its end
                busy = "SELECT 1 FROM pg_stat_activity WHERE application_name = %s AND state <> 'idle'"
                until(lambda: not machine.sql(busy, deposed.identity.node_id))
            machine.sql(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = %s",
                deposed.identity.node_id,
            )
            machine.fence(2)
            machine.sql(
                "UPDATE sync_metadata.sync_jobs SET status = 'failed', error_message = 'closed by the successor'"
                " WHERE job_id = %s", job
            )  # fmt: skip
        until(lambda: not deposed.scheduler.snapshot().running)
        assert machine.generation("acme") == 0
        assert machine.job(job) == ("failed", "closed by the successor")
        assert machine.sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'acme'") == [(0,)]
        ended = until(lambda: deposed.told("job_ended", "acme"))[-1]
        assert ended["status"] == ("failed" if step == "before commit" else "fenced")  # there its session had ended
    with running(Node(machine, "sync-node-b")) as successor:
        successor.lead(3)
        successor.synced()


@pytest.mark.parametrize("change", ["INSERT INTO chat (id) VALUES ('c1')", "DROP TABLE config"])
def test_a_run_whose_lease_ran_out_unnoticed_does_not_commit(machine: Machine, node: Node, change: str) -> None:
    """No election has told anybody yet: the clock alone has passed the lease's end. A drop writes no batch."""
    acme = machine.add("acme")
    acme.write("c0")
    node.lead(1)
    node.synced()
    before = machine.generation("acme")
    with paused("claimed") as pause:
        acme.app.run(change)
        pause.wait()
        node.leadership.update(leads_until=node.leadership.clock() - 1)
    until(lambda: not node.scheduler.snapshot().running)
    assert machine.generation("acme") == before
    assert machine.sql("SELECT to_regclass('acme.config') IS NOT NULL, count(*) FROM acme.chat") == [(True, 1)]
    assert machine.jobs("acme") == [("success", "full")]


def test_a_drain_lets_runs_end_and_begins_nothing(machine: Machine, node: Node) -> None:
    acme, beta = machine.add("acme"), machine.add("beta")
    node.lead(1)
    node.synced()
    with paused("claimed") as pause:
        acme.write("c1")
        pause.wait()
        threads = [pause.go.set]
        beta.write("c1")
        node.scheduler._crew.drain(1)
        job = machine.enqueue("beta")
        for go in threads:
            go()
        node.scheduler.drain(20)
    assert node.scheduler.snapshot().running == ()
    machine.assert_equal("acme")
    assert machine.job(job) == ("queued", None)
    assert machine.sql(
        "SELECT clock_timestamp() - last_sync_at < interval '5 s' FROM sync_metadata.client_deployments"
        " WHERE client_name = 'acme'"
    ) == [(True,)]
    node.lead(2)
    node.synced()
    until(lambda: machine.job(job) == ("success", None))


def test_a_drain_breaks_off_what_takes_too_long(machine: Machine, node: Node) -> None:
    acme = machine.add("acme", interval_s=3600)
    acme.fill(4000, 4000)
    node.lead(1)
    node.synced()
    before = machine.generation("acme")
    with paused("chunk loaded") as pause:
        job = machine.enqueue("acme", "full")
        pause.wait()
        node.scheduler._crew.ended = pause.go.set  # nothing else lets it go
        breaking = node.scheduler._crew.stop_all

        def stop_all(why: Any) -> None:
            breaking(why)
            pause.go.set()

        node.scheduler._crew.stop_all = stop_all  # type: ignore[method-assign]
        node.scheduler.drain(0.1)
        assert node.scheduler.snapshot().running == ()
    assert machine.job(job) == ("failed", "The node hands the lead over.")
    assert machine.generation("acme") == before
    machine.assert_equal("acme")


def test_a_clients_removal_ends_its_run(machine: Machine, node: Node) -> None:
    acme = machine.add("acme", interval_s=3600)
    acme.fill(4000, 4000)
    with paused("chunk loaded") as pause:
        node.lead(1)
        pause.wait()
        machine.sql("DELETE FROM sync_metadata.client_deployments WHERE client_name = 'acme'")
        until(lambda: node.scheduler._crew._running["acme"].stop)
    until(lambda: not node.scheduler.snapshot().running)
    assert machine.generation("acme") == 0
    assert machine.jobs("acme") == [("cancelled", "full")]
    until(lambda: open_files(machine.data_root / "acme") == [])


@pytest.mark.parametrize(("what", "value"), [("sync_enabled", False), ("status", "paused")])
def test_what_runs_may_finish_when_its_client_is_paused(machine: Machine, node: Node, what: str, value: object) -> None:
    machine.add("acme", interval_s=3600).fill(4000, 4000)
    with paused("chunk loaded") as pause:
        node.lead(1)
        pause.wait()
        machine.set("acme", what, value)
        until(lambda: node.scheduler.snapshot().clients == (), what="the leader has heard of it")
    until(lambda: not node.scheduler.snapshot().running)
    assert machine.jobs("acme") == [("success", "full")]
    machine.assert_equal("acme")
    last = "SELECT last_sync_status, last_sync_at IS NOT NULL FROM sync_metadata.client_deployments"
    until(lambda: machine.sql(last) == [("success", True)], what="its row says so")
    until(lambda: open_files(machine.data_root / "acme") == [])


def test_source_and_replica_are_compared_regularly_and_healed(machine: Machine) -> None:
    machine.add("acme").write("c1", "c2")
    with running(Node(machine, verify_every_s=2)) as node:
        node.lead(1)
        node.synced()
        machine.sql("UPDATE acme.chat SET title = 'somebody else''s' WHERE id = 'c1'")
        machine.sql("DELETE FROM acme.chat WHERE id = 'c2'")
        node.synced()
        healed = until(lambda: [fields for fields in node.told("job_ended", "acme") if fields.get("healed")])
        assert (healed[0]["kind"], healed[0]["healed"]) == ("verify", 2)
        assert machine.sql(
            "SELECT record_id, conflict_type FROM sync_metadata.conflict_log WHERE client_name = 'acme' ORDER BY 1"
        ) == [('["c1"]', "update_conflict"), ('["c2"]', "delete_conflict")]
        machine.clients["acme"].write("c3")
        node.synced()


def test_what_may_pass_by_itself_is_tried_again_long_before_the_next_time(machine: Machine) -> None:
    acme = machine.add("acme", interval_s=3600)
    with road_to(machine.url) as (road, url), running(Node(machine, url=url)) as node:
        node.lead(1)
        node.synced()
        acme.write("c1")
        with paused("claimed") as pause:
            job = machine.enqueue("acme")
            pause.wait()
            road.cut()
        until(lambda: node.client("acme").failures)
        assert node.told("job_ended", "acme")[-1]["error_type"] == "Unavailable"
        assert machine.job(job)[0] == "running"
        assert node.scheduler.snapshot().problem or until(lambda: node.scheduler.snapshot().problem)
        road.heal()
        node.synced(within_s=40)
        until(lambda: node.client("acme").failures == 0)
        until(lambda: machine.job(job)[0] == "failed", what="the job that could not be ended is")


def test_a_replica_that_went_back_is_brought_forward_again(machine: Machine, node: Node) -> None:
    """As after a restore of PostgreSQL: the source is idle, and its replica is not what it was."""
    acme = machine.add("acme")
    node.lead(1)
    for name in ("c1", "c2"):
        node.synced()
        acme.write(name)
    node.synced()
    looks = idle_looks(node)
    until(lambda: idle_looks(node) > looks)
    machine.sql("UPDATE sync_metadata.replication_state SET generation = generation - 1, mark = mark - 'token'")
    machine.sql("DELETE FROM acme.chat")
    assert not machine.is_equal("acme")
    machine.set("acme", "sync_interval", 2)  # or a minute later
    node.synced()


def test_a_job_that_was_cut_off_gives_way(machine: Machine, node: Node) -> None:
    machine.add("acme", interval_s=3600)
    [(stale,)] = machine.sql(
        "INSERT INTO sync_metadata.sync_jobs (client_name, status, term, metadata)"
        """ VALUES ('acme', 'running', NULL, '{"by": "node"}') RETURNING job_id"""
    )
    job = machine.enqueue("acme", "full")
    node.lead(5)
    until(lambda: machine.job(job) == ("success", None))
    assert machine.job(stale) == ("failed", "cut off")


def test_a_follower_tells_of_changes(machine: Machine, node: Node) -> None:
    machine.add("acme")
    until(lambda: node.leadership.last_event)
    machine.set("acme", "sync_interval", 77)
    until(lambda: {"key": "deployment.acme", "action": "invalidate"} in node.told("cache_event"))
    [(newest,)] = machine.sql("SELECT max(event_number) FROM sync_metadata.cache_events")
    until(lambda: node.leadership.last_event == newest)
