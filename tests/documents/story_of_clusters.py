"""What the guide says from the shell predecessor's take-over on: a cluster's life, and its losses."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from psycopg import sql

from tests.conftest import APP_IMAGE, clear_away
from tests.documents.desk import Desk, Step, says
from tests.documents.story_of_clients import NAME, YES, environment_has
from tests.e2e.terminal import CTRL_C, ENTER
from tests.integration.registered import Registered, connected
from tests.waiting import until

PREDECESSOR: Final = Path(__file__).resolve().parents[1] / "data" / "predecessor.sql"
OLD: Final = "openwebui-chat-acme-com"
NODES: Final = ("sync-node-a", "sync-node-b")
URL: Final = (("URL of the database", f"THE-URL{ENTER}"),)
CLUSTER_NAME: Final = (("Type the cluster's name", f"prod-1{ENTER}"),)
BOTH_NAMES: Final = (*CLUSTER_NAME, ("Type its name too", f"THE-LEADER{ENTER}"))
NO_LEADER_YET: Final = 60


# --- what there is to see, past the program ---


def leader(desk: Desk) -> str:
    """The name of the node that leads, or nothing."""
    return str(
        desk.one(
            "SELECT leader_name FROM sync_metadata.leader_election WHERE cluster_name = %s AND"
            " expires_at > clock_timestamp()",
            desk.means["prod-1"],
        )
        or ""
    )


def node(desk: Desk, name: str) -> str:
    """The container of a node."""
    return f"{desk.environment['CLIENT_MANAGER_NODE_CONTAINER_PREFIX']}{name}"


def leads(desk: Desk) -> bool:
    """Both nodes run, and one of them leads."""
    return leader(desk) in NODES and all(desk.runs(node(desk, each)) for each in NODES)


def row(desk: Desk) -> tuple[Any, ...]:
    """How the client is registered: on or off, state, interval, cluster; nothing where it is not."""
    found = desk.rows(
        "SELECT sync_enabled, d.status, sync_interval, cluster_name FROM sync_metadata.client_deployments d"
        " JOIN sync_metadata.hosts USING (host_id) WHERE client_name = %s",
        desk.means["acme"],
    )
    return tuple(found[0]) if found else ()


def registered(**wanted: object) -> Callable[[Desk], bool]:
    """Whether the client's row says this."""
    names = ("enabled", "status", "interval", "cluster")

    def look(desk: Desk) -> bool:
        found = dict(zip(names, row(desk), strict=False))
        return bool(found) and all(
            found[name] == desk.here(str(value)) if isinstance(value, str) else found[name] == value
            for name, value in wanted.items()
        )

    return look


def source(desk: Desk) -> Path:
    """The client's own database."""
    return Path(desk.means["SOURCE"])


def chats(path: Path) -> set[str]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return {key for (key,) in connection.execute("SELECT id FROM chat")}


def write_chat(key: str) -> Callable[[Desk], None]:
    """What the application would do."""

    def write(desk: Desk) -> None:
        with closing(sqlite3.connect(source(desk))) as connection, connection:
            connection.execute("CREATE TABLE IF NOT EXISTS tag (id TEXT PRIMARY KEY)")
            connection.execute("INSERT INTO chat VALUES (?)", [key])

    return write


def replica(desk: Desk) -> set[str]:
    name = desk.means["acme"]
    if not desk.one("SELECT to_regclass(%s)::text", f'"{name}".chat'):
        return set()
    return {key for (key,) in desk.rows(f'SELECT id FROM "{name}".chat')}


def is_replicated(desk: Desk) -> bool:
    """The replica has the source's rows."""
    return chats(source(desk)) == replica(desk) != set()


def jobs(desk: Desk, kind: str) -> int:
    """How many jobs of a kind the client has had, and that are over."""
    return int(
        desk.one(
            "SELECT count(*) FROM sync_metadata.sync_jobs"
            " WHERE client_name = %s AND sync_type = %s AND status = 'success'",
            desk.means["acme"],
            kind,
        )
    )


def knows_cluster(desk: Desk) -> bool:
    return bool(desk.one("SELECT count(*) FROM sync_metadata.hosts WHERE cluster_name = %s", desk.means["prod-1"]))


def is_down(desk: Desk) -> bool:
    """Nothing is left of the cluster in the records, and no node; the bundle is."""
    return (
        not knows_cluster(desk) and not any(desk.container(node(desk, each)) for each in NODES) and bool(bundles(desk))
    )


def bundles(desk: Desk) -> list[Path]:
    return sorted((desk.data_root / "bundles").glob("*.json"))


def written_down(desk: Desk) -> bool:
    """The settings file has the URL, and is the operator's alone."""
    file = desk.folder / "XDG_CONFIG_HOME" / "client-manager" / "config.toml"
    return desk.means["THE-URL"] in file.read_text(encoding="utf-8") and file.stat().st_mode & 0o777 == 0o600


def migrated(desk: Desk) -> bool:
    return bool(desk.one("SELECT to_regclass('sync_metadata.schema_migrations') IS NOT NULL"))


# --- the situations that the guide speaks of ---


def predecessor(desk: Desk) -> None:
    """A client and two nodes as the shell scripts made them, and their schema."""
    folder = desk.data_root / "chat-acme-com"
    (folder / "data").mkdir(parents=True)
    desk.means["SOURCE"] = str(folder / "data" / "webui.db")
    desk.api.start(
        desk.api.create_container(
            f"{APP_IMAGE}:v1",
            name=desk.here(OLD),
            environment={"FQDN": desk.here("chat.acme.com"), "WEBUI_SECRET_KEY": "kept"},
            host_config=desk.api.create_host_config(binds=[f"{folder}/data:/app/backend/data"]),
        )["Id"]
    )
    for each in NODES:
        environment = {
            "ROLE": each.removeprefix("sync-"),
            "CLUSTER_NAME": desk.means["prod-1"],
            "DATABASE_URL": desk.url,
        }
        desk.api.create_container(f"{APP_IMAGE}:v1", name=node(desk, each), environment=environment)
    with connected(desk.url) as connection:
        connection.execute(PREDECESSOR.read_text(encoding="utf-8"))
        connection.execute(
            "UPDATE sync_metadata.hosts SET cluster_name = %(name)s::text,"
            " hostname = %(name)s::text || '-' || hostname, metadata = '{}'",
            {"name": desk.means["prod-1"]},
        )
        connection.execute(
            "UPDATE sync_metadata.client_deployments SET client_name = %s, container_name = %s, config = '{}'"
            " WHERE client_name = 'acme-co'",
            [desk.means["acme"], desk.here(OLD)],
        )
        connection.execute("DELETE FROM sync_metadata.client_deployments WHERE client_name = 'beta'")
        connection.execute("UPDATE sync_metadata.leader_election SET cluster_name = %s", [desk.means["prod-1"]])
    until(lambda: b"listening" in desk.api.logs(desk.here(OLD)))
    write_chat("first")(desk)


def conflict(desk: Desk) -> None:
    """A row of the replica was changed by somebody, and the operator wants to be asked about such."""
    desk.run("client-manager sync strategies acme --set config=manual")
    name = sql.Identifier(desk.means["acme"])
    with connected(desk.url) as connection:
        connection.execute(sql.SQL("UPDATE {}.config SET value = '\"changed\"'").format(name))
    desk.run("client-manager sync verify acme", code=1)
    desk.means["3f2a"] = str(open_conflicts(desk)[0])[:8]


def open_conflicts(desk: Desk) -> list[Any]:
    return [
        found
        for (found,) in desk.rows(
            "SELECT log_id FROM sync_metadata.conflict_log WHERE client_name = %s AND resolved_at IS NULL",
            desk.means["acme"],
        )
    ]


def folder_made(desk: Desk) -> None:
    """It is there, and what an earlier restore has left in it is not."""
    shutil.rmtree(desk.folder / "srv" / "restored", ignore_errors=True)
    (desk.folder / "srv" / "restored").mkdir(parents=True)


def is_restored(desk: Desk) -> bool:
    return chats(desk.folder / "srv" / "restored" / "webui.db") == replica(desk) != set()


def note_leader(desk: Desk) -> None:
    desk.means["THE-LEADER"] = until(lambda: leader(desk), NO_LEADER_YET)


def register_again(desk: Desk) -> None:
    desk.run("client-manager sync register acme --yes")
    until(lambda: is_replicated(desk), 60)
    note_leader(desk)


def another_cluster(desk: Desk) -> None:
    """One that somebody leads, on another machine: its records, as its nodes would keep them."""
    desk.run("client-manager sync start acme --yes")
    with connected(desk.url) as connection:
        connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(f"sync_node_{desk.means['prod-2']}")))
        world = Registered(connection)
        world.cluster(desk.means["prod-2"], "elsewhere")
        world.lease(desk.means["prod-2"], "sync-node-b", left_s=600, term=9_000_000_000)


def moved_back(desk: Desk) -> None:
    desk.run("client-manager sync deregister acme --confirm acme")
    desk.run("client-manager sync register acme --yes")


def is_decommissioned(desk: Desk) -> bool:
    """The backup is whole, and neither the record nor the container is there any more."""
    (backup,) = Path(desk.here("/srv/backup/acme")).iterdir()
    return (
        {"client.json", "record.json", "manifest.json"} <= {path.name for path in backup.iterdir()}
        and chats(backup / "data" / "webui.db") >= {"first"}
        and row(desk) == ()
        and desk.container(OLD) is None
    )


def bundle_named(desk: Desk) -> None:
    desk.means["BUNDLE.json"] = bundles(desk)[-1].name


def config(desk: Desk) -> str:
    name = sql.Identifier(desk.means["acme"])
    with connected(desk.url) as connection:
        (value,) = connection.execute(sql.SQL("SELECT value::text FROM {}.config").format(name)).fetchone()
    return str(value)


def strategies(desk: Desk) -> dict[str, str]:
    found: dict[str, str] = desk.one(
        "SELECT conflict_strategies FROM sync_metadata.replication_state WHERE client_name = %s", desk.means["acme"]
    )
    return found


def leader_lost(desk: Desk) -> None:
    """Node A leads, and is killed."""
    if until(lambda: leader(desk), NO_LEADER_YET) != "sync-node-a":
        desk.run("client-manager cluster switch-over --yes")
    desk.api.kill(node(desk, "sync-node-a"), "SIGKILL")
    until(lambda: leader(desk) == "sync-node-b")


def database_lost(desk: Desk) -> None:
    """Its server is another one now, with nothing in it."""
    desk.url = desk.means["THE-URL"] = desk.means["ANOTHER-URL"]


def new_client(desk: Desk) -> None:
    shutil.rmtree(desk.data_root / desk.means["acme"], ignore_errors=True)
    desk.run("client-manager client create acme --domain chat.acme.example --yes")
    desk.means["SOURCE"] = str(desk.data_root / desk.means["acme"] / "data" / "webui.db")
    write_chat("third")(desk)


def nothing_of_it(desk: Desk) -> None:
    """The client is there; a replica of it is not."""
    name = desk.means["acme"]
    with connected(desk.url) as connection:
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))
        connection.execute("DELETE FROM sync_metadata.replication_state WHERE client_name = %s", [name])
    new_client(desk)


def machine_lost(desk: Desk) -> None:
    """What ran is gone, and so is what the console kept beside the clients; their data are on a new machine."""
    for each in (*(node(desk, name) for name in NODES), desk.here("openwebui-acme")):
        desk.api.remove_container(each, force=True)
    shutil.rmtree(desk.data_root / ".client-manager")
    _silent(desk, "lost")


def machine_gone(desk: Desk) -> None:
    """So is this one, with all that was on it."""
    clear_away(desk.api, [desk.mark])
    shutil.rmtree(desk.data_root)
    _silent(desk, "gone")


def _silent(desk: Desk, hostname: str) -> None:
    """The machine has another name than this one, and has not been heard of for six minutes."""
    with connected(desk.url) as connection:
        for table in ("hosts", "sync_nodes"):
            connection.execute(
                sql.SQL("UPDATE {} SET last_heartbeat = clock_timestamp() - interval '6 minutes'").format(
                    sql.Identifier("sync_metadata", table)
                )
            )
        connection.execute("UPDATE sync_metadata.hosts SET hostname = %s", [hostname])
        connection.execute(
            "UPDATE sync_metadata.leader_election"
            " SET acquired_at = clock_timestamp() - interval '1 hour', expires_at = clock_timestamp()"
        )


PREDECESSORS: Final = (
    Step("client-manager client list", says("chat-acme-com", "chat.acme.com", "not managed"), before=predecessor),
    Step(f"client-manager client adopt {OLD} acme --dry-run", lambda desk: desk.spec() == {}),
    Step(
        f"client-manager client adopt {OLD} acme",
        lambda desk: (
            desk.spec()["container"] == desk.here(OLD)
            and desk.spec()["secrets"]["WEBUI_SECRET_KEY"] == "kept"
            and desk.since()[desk.here(OLD)] == desk.earlier[desk.here(OLD)]
        ),
        YES,
    ),
    Step("client-manager database use -", written_down, URL),
    Step("client-manager database migrate --dry-run", lambda desk: not migrated(desk)),
    Step(
        "client-manager database migrate",
        lambda desk: migrated(desk) and desk.one("SELECT count(*) FROM sync_metadata.sync_jobs") == 2,
        YES,
    ),
    Step(
        "client-manager cluster deploy prod-1 --dry-run",
        lambda desk: not any(desk.runs(node(desk, each)) for each in NODES) and not leader(desk),
    ),
    Step(
        "client-manager cluster deploy prod-1",
        lambda desk: leads(desk) and registered(enabled=True, cluster="prod-1")(desk),
        YES,
        within_s=120,
    ),
    Step(
        "client-manager sync register acme",
        lambda desk: registered(enabled=True, interval=300, cluster="prod-1")(desk) and is_replicated(desk),
        YES,
    ),
)

DATABASES: Final = (
    Step("client-manager database status", says("127.0.0.1", "applied")),
    Step("client-manager database use -", written_down, URL),
    Step("client-manager database migrate", says("nothing to do")),
    Step("client-manager cluster deploy prod-1 --dry-run", says("unchanged")),
)

REPLICATION: Final = (
    Step("client-manager cluster deploy prod-1", lambda desk: leads(desk) and desk.since() == desk.earlier),
    Step("client-manager cluster health", says("sync-node-a", "sync-node-b")),
    Step("client-manager cluster watch", leads, (("sync-node-b", "q"),)),
    Step("client-manager cluster check", says("CLUSTER OK - prod-1", "nodes=2")),
    Step(
        "client-manager sync register acme --interval 60",
        lambda desk: registered(enabled=True, interval=60, cluster="prod-1")(desk) and is_replicated(desk),
        YES,
    ),
    Step("client-manager cluster show", says("sync-node-a", "sync-node-b", "acme")),
    Step("client-manager cluster list", says("prod-1")),
    Step("client-manager node health sync-node-a", says("healthy")),
    Step("client-manager sync status acme", says("acme", "60 s")),
    Step("client-manager sync pause acme", registered(enabled=False, status="paused"), YES),
    Step("client-manager sync start acme --interval 300", registered(enabled=True, status="active", interval=300), YES),
    Step("client-manager sync run acme --wait", is_replicated, before=write_chat("second")),
    Step("client-manager sync jobs acme", says("full", "incremental", "success")),
    Step("client-manager sync cancel acme", says("No job is under way")),
    Step("client-manager sync verify acme --dry-run", lambda desk: jobs(desk, "verify") == 0),
    Step("client-manager sync verify acme", lambda desk: jobs(desk, "verify") == 1 and not open_conflicts(desk)),
    Step("client-manager sync conflicts acme", says("config", "3f2a"), before=conflict),
    Step("client-manager sync resolve 3f2a", lambda desk: says("changed")(desk) and len(open_conflicts(desk)) == 1),
    Step(
        "client-manager sync resolve 3f2a --keep source",
        lambda desk: not open_conflicts(desk) and "changed" not in config(desk),
        YES,
    ),
    Step("client-manager sync strategies acme --set tag=manual", lambda desk: strategies(desk)["tag"] == "manual"),
    Step("client-manager sync restore acme --to /srv/restored/webui.db", is_restored, before=folder_made),
    Step(
        "client-manager sync deregister acme",
        lambda desk: row(desk) == () and replica(desk) == chats(source(desk)) and desk.runs(OLD),
        NAME,
    ),
)

CLUSTER: Final = (
    Step(
        "client-manager cluster switch-over",
        lambda desk: leader(desk) in NODES and leader(desk) != desk.means["THE-LEADER"],
        YES,
        before=note_leader,
    ),
    Step("client-manager cluster update", lambda desk: leads(desk) and desk.since() == desk.earlier),
    Step(
        "client-manager node restart sync-node-a",
        lambda desk: desk.restarted(node(desk, "sync-node-a")) and leads(desk),
        YES,
        within_s=90,
    ),
    Step(
        "client-manager node logs sync-node-a --follow",
        lambda desk: desk.since() == desk.earlier,
        (("info", CTRL_C),),
    ),
    Step("client-manager cluster deregister prod-1 --check", leads, code=4, before=register_again),
    Step(
        "client-manager cluster deregister prod-1 --disable acme",
        lambda desk: registered(enabled=False, cluster="prod-1")(desk) and leads(desk),
        (("Type the cluster's name", CTRL_C),),
        code=130,
    ),
    Step(
        "client-manager cluster deregister prod-1 --migrate acme=prod-2",
        lambda desk: registered(enabled=True, cluster="prod-2")(desk) and leads(desk),
        (("Type the cluster's name", CTRL_C),),
        code=130,
        before=another_cluster,
    ),
    Step(
        "client-manager cluster deregister prod-1 --decommission acme=/srv/backup/acme",
        is_decommissioned,
        (("Type the cluster's name", CTRL_C),),
        code=130,
        before=moved_back,
    ),
    Step("client-manager cluster deregister prod-1", is_down, BOTH_NAMES, before=note_leader, within_s=120),
    Step(
        "client-manager cluster restore /opt/openwebui/bundles/BUNDLE.json --dry-run",
        lambda desk: not knows_cluster(desk),
        before=bundle_named,
    ),
    Step("client-manager cluster restore /opt/openwebui/bundles/BUNDLE.json", knows_cluster, YES),
    Step("client-manager cluster deploy prod-1", leads, YES, within_s=120),
)

LOSSES: Final = (
    Step("client-manager cluster health", says("sync-node-a"), before=leader_lost),
    Step("client-manager node logs sync-node-a", says("info")),
    Step("client-manager node restart sync-node-a", leads, YES, within_s=90),
    Step("client-manager database use -", written_down, URL, before=database_lost),
    Step("client-manager cluster deploy prod-1", leads, YES, within_s=120),
    Step(
        "client-manager sync register acme",
        lambda desk: registered(enabled=True, cluster="prod-1")(desk) and is_replicated(desk),
        YES,
        before=new_client,
    ),
    Step("client-manager client repair acme", environment_has(), YES, before=machine_lost),
    Step(
        "client-manager cluster deploy prod-1 --take-over",
        lambda desk: leads(desk) and registered(enabled=True)(desk) and is_replicated(desk),
        CLUSTER_NAME,
        within_s=120,
    ),
    Step("client-manager sync restore acme --to /srv/restored/webui.db", is_restored, before=folder_made),
    Step(
        "client-manager cluster deregister prod-1 --lost-host --check",
        says("still being replicated"),
        code=4,
        before=machine_gone,
    ),
    Step(
        "client-manager cluster deregister prod-1 --lost-host --disable acme",
        lambda desk: not knows_cluster(desk) and replica(desk) != set(),
        CLUSTER_NAME,
    ),
)

BY_HAND: Final = (
    Step(
        "client-manager replicate run /opt/openwebui/acme/data/webui.db --schema acme",
        is_replicated,
        before=nothing_of_it,
    ),
)

ALL: Final = (*PREDECESSORS, *DATABASES, *REPLICATION, *CLUSTER, *LOSSES, *BY_HAND)
