"""A database out of a replica: everything is in it as it was, or there is no file."""

import lzma
import os
import sqlite3
import stat
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from client_manager.app import App
from client_manager.client_sync.restore import restore
from client_manager.errors import Blocked, ClientManagerError, Conflict, InvalidInput, NotFound
from client_manager.models.operation import Progress
from client_manager.replication.inverse import Unclear
from client_manager.settings import Settings
from tests.replication.conftest import REAL, Tenant

PRAGMAS = ("encoding", "page_size", "auto_vacuum", "user_version", "application_id")


def content(path: Path) -> dict[str, Any]:
    """All that a database is: what it declares, and every value as its storage class and its bytes."""
    with closing(sqlite3.connect(path)) as connection:
        connection.text_factory = bytes
        listed = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY 1, 2").fetchall()
        tables = [name for kind, name, _, sql in listed if kind == b"table" and not sql.startswith(b"CREATE VIRTUAL")]
        found: dict[str, Any] = {table.decode(): rows(connection, table.decode()) for table in tables}
        found["declared"] = listed
        for pragma in PRAGMAS:
            found[pragma] = connection.execute(f"PRAGMA {pragma}").fetchone()
        return found


def rows(connection: sqlite3.Connection, table: str) -> Counter[Any]:
    quoted = [
        '"' + name.decode().replace('"', '""') + '"'
        for (name,) in connection.execute("SELECT name FROM pragma_table_xinfo(?) WHERE hidden <> 1", (table,))
    ]
    columns = ", ".join(f"typeof({name}), {name}" for name in quoted)
    return Counter(map(repr, connection.execute(f'SELECT {columns} FROM "{table.replace(chr(34), chr(34) * 2)}"')))


@pytest.fixture
def tenant(tmp_path: Path, database_url: str) -> Any:
    folder = tmp_path / "tenant"
    folder.mkdir()
    found = Tenant(folder / "webui.db", tmp_path / "state-of-acme", database_url)
    yield found
    found.close_app()


@pytest.fixture
def app(settings: Settings, database_url: str) -> App:
    return App(settings.model_copy(update={"database_url": SecretStr(database_url)}))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def quiet(_: Progress) -> None:
    pass


NASTY = r"""
    PRAGMA page_size = 8192;
    PRAGMA auto_vacuum = 2;
    PRAGMA user_version = 77;
    PRAGMA application_id = 4242;
    CREATE TABLE every (id INTEGER PRIMARY KEY, t TEXT, v VARCHAR(3), j JSON, b BIGINT, i INTEGER, o BOOLEAN, r REAL,
                        d DOUBLE, n NUMERIC(10, 2), u UUID, at DATETIME, day DATE, x BLOB, plain);
    CREATE TABLE tag (id VARCHAR NOT NULL, user_id VARCHAR NOT NULL, meta JSON, PRIMARY KEY (id, user_id));
    CREATE TABLE nokey (a TEXT, b JSON, c BLOB);
    CREATE TABLE "we ird""%s" (id TEXT PRIMARY KEY, "co ""l%" TEXT, "order" INTEGER);
    CREATE TABLE without (k BLOB PRIMARY KEY, v) WITHOUT ROWID;
    CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT);
    CREATE TABLE computed (id INTEGER PRIMARY KEY, a INT, b AS (a * 2), c INT GENERATED ALWAYS AS (a + 1) STORED);
    CREATE TABLE exact (id INTEGER PRIMARY KEY, t TEXT, n REAL, i INT) STRICT;
    CREATE TABLE orphan (id TEXT PRIMARY KEY, parent TEXT REFERENCES tag (id), n INT CHECK (n > 0));
    CREATE TABLE keyed_by_json (k JSON PRIMARY KEY, v TEXT);
    CREATE TABLE keyed_by_index (a TEXT NOT NULL, b TEXT);
    CREATE UNIQUE INDEX of_keyed ON keyed_by_index (a);
    CREATE TABLE keyed_by_time (at DATETIME PRIMARY KEY, v TEXT);
    CREATE TABLE empty (id TEXT PRIMARY KEY);
    CREATE INDEX partly ON every (b) WHERE b > 5;
    CREATE INDEX by_expression ON every (lower(t), "id" DESC);
    CREATE VIEW seen AS SELECT t, "j" FROM every;
    CREATE TRIGGER noticed AFTER INSERT ON counted BEGIN INSERT INTO counted (v) SELECT 'by trigger'; END;
    DROP TRIGGER noticed;
    CREATE VIRTUAL TABLE search USING fts5(body);
    INSERT INTO search VALUES ('the quick brown fox'), ('jumps');
    INSERT INTO counted (v) VALUES ('a'), ('b'), ('c');
    DELETE FROM counted WHERE id = 3;
    CREATE TRIGGER noticed AFTER INSERT ON counted BEGIN INSERT INTO tag VALUES (new.v, 'trigger', NULL); END;
    INSERT INTO computed (id, a) VALUES (1, 5), (2, NULL);
    INSERT INTO exact VALUES (1, '60', 1.5, 7), (2, '1e5', 2, NULL);
    PRAGMA ignore_check_constraints = ON;
    INSERT INTO orphan VALUES ('o', 'nobody', -1);
    INSERT INTO keyed_by_json VALUES (60, 'a number'), ('{"a": 1}', 'a text'), (0.5, 'a real');
    INSERT INTO keyed_by_index VALUES ('one', 'x'), ('two', NULL);
    INSERT INTO keyed_by_time VALUES ('2024-01-02 03:04:05.120000', 'exact'), ('2024-01-02T03:04:05Z', 'other');
    INSERT INTO tag VALUES ('t', 'u', '{"a": [1,  2], "a": 3}'), ('T', 'u', 60), ('t ', 'u', 0.5);
    INSERT INTO nokey VALUES ('same', 'no json', x'00ff'), ('same', 'nor this', x'00ff'), ('same', NULL, x'00ff'),
                             (NULL, NULL, 'text'), (NULL, '{}', NULL), (NULL, '{}', NULL);
    INSERT INTO "we ird""%s" VALUES ('%s', 'x%', 1);
    INSERT INTO without VALUES (x'01', 4), (x'', 'text'), (x'00', NULL), ('text key', 2.5);
"""
VALUES: tuple[tuple[str, Any], ...] = (
    *(("t", value) for value in ("", "ä\u2028€🦊", "tab\tnl\ncr\rback\\slash\\N", "nul\0in", b"blob", 5, 1.5, "\\.")),
    ("t", float("inf")),
    *(("v", value) for value in ("longer than three", 60, "60")),
    *(
        ("j", value)
        for value in (
            60,
            0.5,
            -0.25,
            1e300,
            10**18,
            "NaN",
            "",
            "hello",
            '"\\u0000"',
            '{"a":1,"a":2}',
            "[" * 900 + "]" * 900,
        )
    ),
    *(("j", value) for value in (b"\x00\x01", "null", "true", "1e999", " {} ", 2**63 - 1, 1e19, '"\\ud800"')),
    *(("b", value) for value in (2**63 - 1, -(2**63), 3.0, 3.5, "12abc", 1e999, "12", b"9", -9.223372036854775808e18)),
    *(("i", value) for value in (0, -1, "x", 1e19)),
    *(("o", value) for value in (0, 1, 2, "true", "FALSE", "", b"1", 1.0, 0.5)),
    *(
        ("r", value)
        for value in (1, 1.5, 0.1, 5e-324, 1.7976931348623157e308, float("inf"), float("-inf"), "text", b"", -0.0)
    ),
    *(("d", value) for value in (2**53 + 1, 0.30000000000000004, 10**18)),
    *(
        ("n", value)
        for value in (1, 1.10, 1e22, 1e-7, -9.223372036854775808e18, "x", float("inf"), 10**15 + 0.5, 1e300)
    ),
    *(("u", value) for value in ("7f3c", 60, "6.5", 1.5, 1e100, "nan", "0x10", "1_000", b"\xff", float("inf"))),
    *(
        ("at", value)
        for value in (
            "2024-01-02 03:04:05",
            "2024-01-02 03:04:05.120000",
            "2024-01-02 03:04:05.000001",
            "2024-01-02 03:04:05.000000",
            "2024-01-02T03:04:05Z",
            "2024-13-45",
            "0000-00-00 00:00:00",
            "0001-01-01 00:00:00",
            "9999-12-31 23:59:59.999999",
            1704164645,
            1704164645000,
            1.5,
            "",
            b"x",
        )
    ),
    *(("day", value) for value in ("2024-02-29", "2023-02-29", 0, "2024-01-02 00:00:00", "24-1-2", "")),
    *(("x", value) for value in (b"", b"\x00" * 5, bytes(range(256)), "text", 5, 1.5, "ä")),
    *(("plain", value) for value in (b"\\x41", "\\x41", 7, 2.5, "")),
)


def write_nasty(tenant: Tenant) -> None:
    tenant.path.touch()
    with closing(sqlite3.connect(tenant.path, isolation_level=None)) as connection:
        connection.executescript(NASTY)
        connection.execute("PRAGMA journal_mode = wal")
        for column, value in VALUES:
            connection.execute(f"INSERT INTO every ({column}) VALUES (?)", (value,))
        connection.execute("INSERT INTO every (t, v) VALUES (CAST(x'ff41' AS TEXT), CAST(x'c328' AS TEXT))")
        connection.execute("INSERT INTO tag VALUES (CAST(x'ff' AS TEXT), 'u', 'no json')")
        connection.execute("INSERT INTO nokey VALUES (CAST(x'fe' AS TEXT), NULL, NULL)")
        connection.execute('INSERT INTO "we ird""%s" VALUES (NULL, ?, 2), (NULL, ?, 3)', ("a", "b"))
        connection.execute("INSERT INTO every (t) VALUES (?)", ("long " * 400_000,))


def test_a_real_database_comes_back_as_it_was(app: App, tenant: Tenant, out: Path) -> None:
    tenant.path.write_bytes(lzma.decompress(REAL.read_bytes()))
    tenant.app.execute("SELECT 1")
    tenant.run()
    told: list[Progress] = []

    made = restore(app, "acme", out, told.append)

    assert content(out / "webui.db") == content(tenant.path)
    with closing(sqlite3.connect(out / "webui.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert (made.tables, made.generation) == (48, 1)
    assert made.rows == sum(
        counted.total() for counted in content(tenant.path).values() if isinstance(counted, Counter)
    )
    assert {progress.detail.partition(":")[0] for progress in told} >= {"chat", "config", "user", "alembic_version"}
    assert [path.name for path in out.iterdir()] == ["webui.db"]
    assert stat.S_IMODE((out / "webui.db").stat().st_mode) == 0o600


def test_the_nastiest_database_comes_back_as_it_was(app: App, tenant: Tenant, out: Path) -> None:
    write_nasty(tenant)
    tenant.synced()

    made = restore(app, "acme", out / "again.db", quiet)

    before, after = content(tenant.path), content(out / "again.db")
    for part, value in before.items():
        assert after[part] == value, part
    assert after.keys() == before.keys()
    assert made.originals > 40
    with closing(sqlite3.connect(out / "again.db")) as connection:
        assert connection.execute("SELECT body FROM search WHERE search MATCH 'fox'").fetchall() == [
            ("the quick brown fox",)
        ]
        connection.execute("INSERT INTO counted (v) VALUES ('next')")
        assert connection.execute("SELECT max(id) FROM counted").fetchone() == (4,)
        assert connection.execute("SELECT count(*) FROM tag WHERE user_id = 'trigger'").fetchone() == (1,)


def test_it_follows_what_the_source_declares_later(app: App, tenant: Tenant, out: Path) -> None:
    write_nasty(tenant)
    tenant.run()
    [(first,)] = tenant.sql("SELECT source_schema FROM sync_metadata.replication_state")
    tenant.execute("INSERT INTO counted (v) VALUES ('x'), ('y')", "DELETE FROM counted WHERE v <> 'a'")
    tenant.run()
    assert tenant.sql("SELECT source_schema FROM sync_metadata.replication_state") == [(first,)]
    restore(app, "acme", out / "one.db", quiet)
    assert content(out / "one.db") == content(tenant.path)

    tenant.execute(
        "CREATE INDEX later ON tag (meta)", "PRAGMA user_version = 78", "ALTER TABLE tag ADD COLUMN n INT DEFAULT 5"
    )
    tenant.run()
    restore(app, "acme", out / "two.db", quiet)
    assert content(out / "two.db") == content(tenant.path)


@pytest.mark.parametrize("level", ["reconcile", "heal"])
def test_every_kind_of_run_keeps_the_declaration(app: App, tenant: Tenant, out: Path, level: str) -> None:
    tenant.execute("CREATE TABLE note (id TEXT PRIMARY KEY, v TEXT)", "INSERT INTO note VALUES ('a', 'x'), ('b', 'y')")
    tenant.run()
    tenant.sql("UPDATE sync_metadata.replication_state SET source_schema = NULL")
    if level == "heal":
        tenant.sql("UPDATE acme.note SET v = 'other' WHERE id = 'a'")
        assert tenant.verify().healed == 1
    else:
        (tenant.state / "shadow.json").unlink()
        assert tenant.run().level == "reconcile"

    restore(app, "acme", out, quiet)

    assert content(out / "webui.db") == content(tenant.path)


def test_a_replica_of_an_earlier_version_is_told_apart_and_mended_by_a_run(app: App, tenant: Tenant, out: Path) -> None:
    tenant.execute("CREATE TABLE note (id TEXT PRIMARY KEY)", "INSERT INTO note VALUES ('a')")
    tenant.run()
    tenant.sql("UPDATE sync_metadata.replication_state SET source_schema = NULL")
    with pytest.raises(NotFound, match="does not say yet"):
        restore(app, "acme", out, quiet)
    assert list(out.iterdir()) == []

    assert tenant.run().level != "idle"
    restore(app, "acme", out, quiet)
    assert content(out / "webui.db") == content(tenant.path)


def test_what_has_no_replica_is_not_found(app: App, tenant: Tenant, out: Path) -> None:
    for name in ("acme", "nobody"):
        with pytest.raises(NotFound, match="has no replica"):
            restore(app, name, out, quiet)
    assert tenant.sql("SELECT * FROM sync_metadata.replication_state") == []
    assert list(out.iterdir()) == []


def small(tenant: Tenant) -> None:
    tenant.execute(
        "CREATE TABLE note (id TEXT PRIMARY KEY, v TEXT, j JSON)",
        "CREATE UNIQUE INDEX one_v ON note (v)",
        "INSERT INTO note VALUES ('a', 'x', 'no json'), ('b', 'y', '{}')",
    )
    tenant.run()


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        ("UPDATE acme.note SET v = 'y'", "one_v cannot be made"),
        ("DELETE FROM acme.note WHERE id = 'a'", "not what it was written as"),
        ("UPDATE acme.note SET j = '[]' WHERE id = 'a'", "does not hold what the replica holds"),
        ("DROP TABLE acme.note", "is not whole"),
        ("ALTER TABLE acme.note ALTER v TYPE varchar", "is not whole"),
    ],
)
def test_a_replica_that_cannot_be_a_source_leaves_nothing(
    app: App, tenant: Tenant, out: Path, edit: str, says: str
) -> None:
    small(tenant)
    tenant.sql(edit)

    with pytest.raises(ClientManagerError, match=says):
        restore(app, "acme", out, quiet)

    assert list(out.iterdir()) == []
    assert [entry.outcome for entry in journal(app)] == ["started", "failed"]


def test_what_others_put_beside_the_replica_is_left_out_and_said(app: App, tenant: Tenant, out: Path) -> None:
    small(tenant)
    tenant.sql("CREATE TABLE acme.report (n int)")
    tenant.sql("INSERT INTO acme.note (id, v) VALUES ('c', 'theirs')")

    made = restore(app, "acme", out, quiet)

    assert (made.left_out, made.rows) == (("report",), 3)


def test_a_value_that_is_changed_while_it_is_read_back_is_noticed(
    app: App, tenant: Tenant, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from client_manager.replication import inverse

    tenant.execute("CREATE TABLE note (id TEXT PRIMARY KEY)", "INSERT INTO note VALUES ('a')")
    tenant.run()
    monkeypatch.setattr(inverse, "_as_text", lambda text: text.upper())

    with pytest.raises(ClientManagerError, match="does not hold"):
        restore(app, "acme", out, quiet)
    assert list(out.iterdir()) == []


def test_what_is_declared_and_not_made_is_noticed(
    app: App, tenant: Tenant, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from client_manager.replication import target

    small(tenant)
    tenant.execute("CREATE VIEW seen AS SELECT 1")
    tenant.run()
    original = target.create
    monkeypatch.setattr(
        target, "create", lambda made, objects: original(made, [o for o in objects if o.type != "view"])
    )

    with pytest.raises(ClientManagerError, match="is not sound"):
        restore(app, "acme", out, quiet)
    assert list(out.iterdir()) == []


def test_a_run_meanwhile_changes_nothing(app: App, tenant: Tenant, out: Path) -> None:
    write_nasty(tenant)
    tenant.run()
    before = content(tenant.path)
    done: list[int] = []

    def write_on(_: Progress) -> None:
        if not done:
            done.append(1)
            tenant.execute("DELETE FROM tag", "UPDATE every SET t = 'later'", "INSERT INTO empty VALUES ('x')")
            done.append(tenant.run().generation)

    made = restore(app, "acme", out, write_on)

    assert (done, made.generation) == ([1, 2], 1)
    assert content(out / "webui.db") == before


def test_a_value_of_any_type_in_a_strict_table_is_not_guessed(app: App, tenant: Tenant, out: Path) -> None:
    tenant.execute("CREATE TABLE s (id INTEGER PRIMARY KEY, a ANY) STRICT", "INSERT INTO s VALUES (1, 'text')")
    tenant.run()
    restore(app, "acme", out / "one.db", quiet)
    assert content(out / "one.db") == content(tenant.path)

    tenant.execute("INSERT INTO s VALUES (2, '60')")
    tenant.run()
    with pytest.raises(Unclear):
        restore(app, "acme", out / "two.db", quiet)


def journal(app: App) -> list[Any]:
    from client_manager.models.operation import JournalEntry

    return [JournalEntry.model_validate_json(line) for line in app.journal.path.read_bytes().splitlines()]


class TestPlace:
    @pytest.fixture(autouse=True)
    def _replica(self, tenant: Tenant) -> None:
        small(tenant)

    @pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal"])
    def test_nothing_is_overwritten_without_being_told(self, app: App, out: Path, suffix: str) -> None:
        there = out / f"webui.db{suffix}"
        there.write_bytes(b"mine")
        with pytest.raises(Conflict, match="there already"):
            restore(app, "acme", out, quiet)
        assert [path.read_bytes() for path in out.iterdir()] == [b"mine"]

        restore(app, "acme", out, quiet, replace=True)
        assert [path.name for path in out.iterdir()] == ["webui.db"]
        assert len(content(out / "webui.db")["note"]) == 2

    def test_a_file_that_comes_meanwhile_stays(self, app: App, out: Path) -> None:
        def come(_: Progress) -> None:
            (out / "webui.db").write_bytes(b"theirs")

        with pytest.raises(Conflict):
            restore(app, "acme", out, come)
        assert [path.read_bytes() for path in out.iterdir()] == [b"theirs"]

    def test_places_that_are_none(self, app: App, out: Path) -> None:
        (out / "link").symlink_to(out / "elsewhere")
        (out / "folder").mkdir()
        (out / "folder" / "webui.db").mkdir()
        for place in (out / "missing" / "x.db", out / "link", out / "folder"):
            with pytest.raises(InvalidInput):
                restore(app, "acme", place, quiet)
        with pytest.raises(InvalidInput):
            restore(app, "no such'name", out, quiet)

    def test_it_is_journalled(self, app: App, out: Path) -> None:
        restore(app, "acme", out, quiet)
        assert [(e.action, e.subject, e.outcome) for e in journal(app)] == [
            ("sync restore", "acme", "started"),
            ("sync restore", "acme", "completed"),
        ]
        assert journal(app)[0].arguments == {"to": str(out / "webui.db"), "replace": "false"}

    @pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
    def test_the_file_is_whose_the_folder_is(self, app: App, out: Path) -> None:
        os.chown(out, 12345, 54321)
        restore(app, "acme", out, quiet)
        found = (out / "webui.db").stat()
        assert (found.st_uid, found.st_gid) == (12345, 54321)


class TestRunning:
    """Containers that have the folder mounted."""

    @pytest.fixture(autouse=True)
    def _replica(self, tenant: Tenant) -> None:
        small(tenant)

    @pytest.fixture
    def mounted(self, docker_api: Any, app_image: str, name: str) -> Any:
        def start(bind: str, *, running: bool = True) -> str:
            config = docker_api.create_host_config(binds=[bind])
            container = docker_api.create_container(
                app_image, ["sleep", "300"], name=f"openwebui-{name}", host_config=config
            )["Id"]
            if running:
                docker_api.start(container)
            return str(container)

        return start

    def test_a_running_clients_folder_is_refused_also_through_a_link(self, app: App, out: Path, mounted: Any) -> None:
        (out / "data").mkdir()
        (out / "way").symlink_to(out / "data")
        mounted(f"{out / 'data'}:/app/backend/data")
        for place in (out / "data", out / "data" / "webui.db", out / "way"):
            with pytest.raises(Blocked, match="in use by openwebui-"):
                restore(app, "acme", place, quiet, replace=True)
        assert list((out / "data").iterdir()) == []
        restore(app, "acme", out, quiet)

    def test_a_volume_is_a_folder_too(self, app: App, out: Path, mounted: Any, name: str) -> None:
        app.engine.create_bound_volume(f"openwebui-{name}-data", str(out), {})
        mounted(f"openwebui-{name}-data:/app/backend/data")
        with pytest.raises(Blocked):
            restore(app, "acme", out, quiet)

    def test_a_stopped_client_and_one_that_only_reads_are_no_reason(self, app: App, out: Path, mounted: Any) -> None:
        mounted(f"{out}:/app/backend/data", running=False)
        restore(app, "acme", out, quiet)

    def test_a_node_that_reads_the_data_root_is_no_reason(self, app: App, out: Path, mounted: Any) -> None:
        mounted(f"{out}:{out}:ro")
        restore(app, "acme", out, quiet)

    def test_a_client_that_is_started_meanwhile_keeps_its_folder(
        self, app: App, out: Path, mounted: Any, docker_api: Any
    ) -> None:
        container = mounted(f"{out}:/app/backend/data", running=False)
        with pytest.raises(Blocked):
            restore(app, "acme", out, lambda _: docker_api.start(container))
        assert list(out.iterdir()) == []

    def test_an_operator_at_work_on_the_client_is_waited_for(self, app: App) -> None:
        from client_manager.gateways import lock

        folder = app.settings.data_root / "acme" / "data"
        folder.mkdir(parents=True)
        with lock.held(app.files.locks, "acme", "start"), pytest.raises(Conflict, match="at work on acme"):
            restore(app, "acme", folder, quiet)
        restore(app, "acme", folder, quiet)
