"""What the sync system has lost sight of is found, each with its fix, and never by starting a database."""

from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from client_manager.app import App
from client_manager.models.finding import Finding
from client_manager.settings import Settings
from client_manager.workflows import find_orphans
from tests.integration.registered import Registered


def app_on(tmp_path: Path, url: str | None) -> App:
    folders = {"data_root": tmp_path / "root", "state_dir": tmp_path / "state", "postgres_dir": tmp_path / "pg"}
    return App(Settings(database_url=SecretStr(url) if url else None, **folders))  # type: ignore[arg-type]


def found(app: App) -> list[Finding]:
    """Without the containers of other tests, which run on the same Engine."""
    return [finding for finding in find_orphans.examine(app) if not finding.what.startswith("The container ")]


@pytest.fixture
def registered(database_url: str) -> Any:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield Registered(connection)


def test_without_a_database_there_is_nothing_to_say_and_none_is_started(tmp_path: Path) -> None:
    (finding,) = found(app_on(tmp_path, None))
    assert (finding.verdict, finding.what) == ("ok", "no database is in use yet")
    assert not (tmp_path / "pg").exists()


def test_an_embedded_database_that_does_not_run_is_a_problem_and_stays_stopped(tmp_path: Path) -> None:
    (tmp_path / "pg" / "data").mkdir(parents=True)
    (finding,) = found(app_on(tmp_path, None))
    assert finding.verdict == "problem"
    assert "database status" in finding.fix


def test_a_database_that_cannot_be_asked_is_a_problem(tmp_path: Path) -> None:
    (finding,) = found(app_on(tmp_path, "postgresql://u:hunter2@127.0.0.1:9/x"))
    assert finding.verdict == "problem"
    assert "hunter2" not in f"{finding.what}{finding.fix}"


def test_a_living_cluster_has_no_orphans(
    tmp_path: Path, database_url: str, registered: Registered, docker_api: Any
) -> None:
    del docker_api
    registered.cluster("prod", age_s=1)
    assert not [finding for finding in found(app_on(tmp_path, database_url)) if finding.verdict != "ok"]


def test_a_silent_machine_is_found(tmp_path: Path, database_url: str, registered: Registered, docker_api: Any) -> None:
    del docker_api
    registered.cluster("prod", age_s=301)
    (finding,) = found(app_on(tmp_path, database_url))
    assert finding.verdict == "warning"
    assert "--lost-host" in finding.fix


def test_a_record_without_a_host_and_a_replica_without_a_record_are_found(
    tmp_path: Path, database_url: str, registered: Registered, docker_api: Any
) -> None:
    del docker_api
    registered.connection.execute(
        "INSERT INTO sync_metadata.client_deployments (client_name, container_name) VALUES ('lonely', 'c-lonely')"
    )
    registered.connection.execute("CREATE SCHEMA kept")
    registered.connection.execute(
        "INSERT INTO sync_metadata.replication_state (client_name) VALUES ('kept'), ('lonely')"
    )
    homeless, kept = found(app_on(tmp_path, database_url))
    assert "lonely is registered without a host" in homeless.what
    assert "sync deregister kept --drop-data" in kept.fix


def test_a_node_of_a_cluster_that_nobody_knows_is_found(tmp_path: Path, database_url: str, docker_api: Any) -> None:
    labels = {"client-manager.role": "sync-node", "client-manager.cluster": "forgotten"}
    container = docker_api.create_container("postgres:15-alpine", labels=labels)["Id"]
    try:
        findings = find_orphans.examine(app_on(tmp_path, database_url))
        assert any("node of forgotten" in finding.what and "docker rm" in finding.fix for finding in findings)
    finally:
        docker_api.remove_container(container, force=True, v=True)
