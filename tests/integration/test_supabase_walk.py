"""The README's way to a Supabase project, gone by a user who may no more than its table of permissions says."""

import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from client_manager.app import App
from client_manager.database.migrations import migrate
from client_manager.errors import Blocked, ConfigurationError, Unavailable
from client_manager.gateways import database_url as urls
from client_manager.gateways.database import Database
from client_manager.settings import Settings
from client_manager.workflows.deploy_cluster import deploy
from tests.integration.cluster import Cluster, cluster_of
from tests.postgres import in_database
from tests.replication.oracle import differences

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
PROGRAM = str(Path(sys.executable).with_name("client-manager"))
PASSWORD = "p@ss/word"
# What the owner of the database says to take one permission away, and how the program says that it is missing.
TAKEN = {
    "CREATEROLE": ("ALTER ROLE {user} NOCREATEROLE", "may not make roles"),
    "CREATE": ("REVOKE CREATE ON DATABASE {database} FROM {user} CASCADE", "may not make schemas here"),
    "the grant option": (
        "REVOKE GRANT OPTION FOR CREATE ON DATABASE {database} FROM {user} CASCADE",
        "may not let each client's owner make schemas here",
    ),
}


@dataclass
class Place:
    """A database that is another's, and the user of the console there.

    Attributes:
        superuser, url: of the database: as its owner reaches it, and as the console does.
    """

    user: str
    superuser: str
    url: str

    def run(self, statement: str) -> list[Any]:
        """Run a statement as the owner, on this user and this database where it names them."""
        with psycopg.connect(self.superuser, autocommit=True) as owner:
            names = {"user": sql.Identifier(self.user), "database": sql.Identifier(self.superuser.rpartition("/")[2])}
            cursor = owner.execute(sql.SQL(statement).format(**names) if "{" in statement else statement)
            return cursor.fetchall() if cursor.description else []

    def grant(self) -> None:
        """Give what the README's table gives, by its own words."""
        for statement in granted():
            self.run(statement)


def granted() -> list[str]:
    """The statements of the README's table, with this user's and this database's names in place of its own."""
    table = README.partition("| permission | what for | made by |")[2].partition("\n\n")[0]
    found = re.findall(r"`((?:CREATE ROLE|GRANT) [^`]+)`", table)
    assert len(found) == 2
    own = {"console": "{user}", "DATABASE postgres": "DATABASE {database}", "'...'": f"'{PASSWORD}'"}
    for name, ours in own.items():
        found = [statement.replace(name, ours) for statement in found]
    return found


@contextmanager
def database(postgres: str) -> Iterator[Place]:
    mark = secrets.token_hex(4)
    place = Place(f"console_{mark}", in_database(postgres, f"t_{mark}"), "")
    place.url = urls.for_user(SecretStr(place.superuser), place.user, SecretStr(PASSWORD)).get_secret_value()
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(f"t_{mark}")))
        try:
            yield place
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(f"t_{mark}")))
            admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(place.user)))


@pytest.fixture
def place(postgres: str) -> Iterator[Place]:
    with database(postgres) as place:
        place.grant()
        yield place


@pytest.fixture
def cluster(docker_api: Any, tmp_path: Path, place: Place, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """One that is not deployed yet; its console is the user's, what the test asks of the database is the owner's."""
    image = request.getfixturevalue("node_image") if "node_image" in request.fixturenames else "none:1"
    with cluster_of(docker_api, tmp_path, place.superuser, image, memory_bytes=256 * 1024**2) as cluster:
        cluster.app = App(cluster.app.settings.model_copy(update={"database_url": SecretStr(place.url)}))
        yield cluster


def left(cluster: Cluster) -> list[Any]:
    """What a deployment or a registration makes in the database, less what a node's heartbeat changes of it."""
    made = cluster.rows(
        "SELECT rolname FROM pg_roles WHERE rolname LIKE 'sync\\_%%' AND rolname LIKE %s", f"%{cluster.name}%"
    )
    for table in ("hosts", "client_deployments"):
        if cluster.rows("SELECT to_regclass(%s)::text", f"sync_metadata.{table}")[0][0]:
            made += cluster.rows(
                f"SELECT to_jsonb(t) - 'last_heartbeat' - 'updated_at' FROM sync_metadata.{table} AS t"
            )
    return made


@pytest.mark.parametrize("permission", TAKEN)
def test_without_a_permission_nothing_is_deployed_and_its_name_is_said(
    cluster: Cluster, place: Place, permission: str
) -> None:
    statement, words = TAKEN[permission]
    migrate(cluster.app.database)
    place.run(statement)

    plan = cluster.plan()

    assert [check.what for check in plan.blockers] == [f"{place.user} {words}."]
    with pytest.raises(Blocked) as refused:
        deploy(cluster.app, plan, cluster.report)
    assert words in refused.value.why
    assert left(cluster) == []
    assert not cluster.app.cluster_files.names()


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("SELECT 1", "permission denied for schema sync_metadata"),
        (
            "GRANT USAGE ON SCHEMA sync_metadata TO {user}; GRANT ALL ON ALL TABLES IN SCHEMA sync_metadata TO {user}",
            "may not change sync_metadata, which is another's",
        ),
    ],
    ids=["closed", "open"],
)
def test_a_sync_metadata_of_another_owner_is_left_alone(
    cluster: Cluster, place: Place, statement: str, words: str
) -> None:
    migrate(Database(SecretStr(place.superuser)))
    place.run(statement)

    (blocker,) = cluster.plan().blockers

    assert words in blocker.what
    assert "the owner" in blocker.hint or "ownership of sync_metadata" in blocker.hint
    assert left(cluster) == []


def test_without_create_no_schema_is_made_and_the_server_s_words_are_shown(place: Place) -> None:
    place.run(TAKEN["CREATE"][0])

    with pytest.raises(Unavailable, match="does not allow that to this user") as refused:
        migrate(Database(SecretStr(place.url)))

    assert "permission denied for database" in refused.value.why
    assert "have the owner grant what is missing" in refused.value.hint
    assert place.run("SELECT to_regnamespace('sync_metadata')::text") == [(None,)]


@pytest.fixture
def program(cluster: Cluster, tmp_path: Path, app_image: str) -> Callable[..., Any]:
    """Run a command, with the settings file that ``database use`` writes; returns its JSON, or what it complains of."""
    environment = variables(cluster.app.settings, tmp_path, app_image)

    def run(*words: str, typed: str = "", code: int = 0) -> Any:
        command = [PROGRAM, *words, "--json"]
        done = subprocess.run(
            command, env=environment, input=typed, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == code, f"{words}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout) if code == 0 else done.stderr

    return run


def variables(settings: Settings, folder: Path, image: str) -> Mapping[str, str]:
    return os.environ | {
        "XDG_CONFIG_HOME": str(folder / "config"),
        "CLIENT_MANAGER_DATA_ROOT": str(settings.data_root),
        "CLIENT_MANAGER_STATE_DIR": str(settings.state_dir),
        "CLIENT_MANAGER_NODE_IMAGE": settings.node_image,
        "CLIENT_MANAGER_NODE_CONTAINER_PREFIX": settings.node_container_prefix,
        "CLIENT_MANAGER_FIRST_PORT": str(settings.first_port),
        "CLIENT_MANAGER_LAST_PORT": str(settings.last_port),
        "CLIENT_MANAGER_NODE_PORTS": json.dumps(settings.node_ports),
        "CLIENT_MANAGER_NETWORK_POOL": str(settings.network_pool),
        "CLIENT_MANAGER_IMAGE": image,
        "CLIENT_MANAGER_MEMORY_BYTES": str(settings.memory_bytes),
    }


@pytest.mark.usefixtures("node_image")
def test_the_way_of_the_readme_with_no_more_than_its_permissions(
    cluster: Cluster, place: Place, program: Callable[..., Any], name: str
) -> None:
    program("database", "use", "-", typed=f"{place.url}\n")
    assert program("database", "migrate", "--yes")["applied"]
    program("client", "create", name, "--domain", "chat.acme.example", "--yes")
    checks = program("cluster", "deploy", cluster.name, "--dry-run")["plan"]["checks"]
    assert {check["severity"] for check in checks if check["name"] in {"rights", "database", "server"}} == {"ok"}
    program("cluster", "deploy", cluster.name, "--yes")
    before = left(cluster)

    for statement, words in TAKEN.values():
        place.run(statement)
        assert words in program("sync", "register", name, "--yes", code=ConfigurationError.exit_code)
        assert left(cluster) == before
        for given in ("ALTER ROLE {user} CREATEROLE", granted()[1]):
            place.run(given)

    program("sync", "register", name, "--yes")
    assert program("sync", "run", name, "--wait")["job"]["status"] == "success"
    assert differences(cluster.app.files.data(name) / "webui.db", place.superuser, name) == []
    program("sync", "deregister", name, "--confirm", name, "--drop-data")
    (leader,) = cluster.rows("SELECT leader_name FROM sync_metadata.leader_election")[0]
    program("cluster", "deregister", cluster.name, "--confirm", cluster.name, "--confirm-leader", leader)
    assert left(cluster) == []
