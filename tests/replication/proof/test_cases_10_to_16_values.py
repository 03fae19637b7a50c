"""Nasty cases 10 to 16: keys, values and names that PostgreSQL knows otherwise, or not at all."""

import pytest

from tests.replication.application import Application
from tests.replication.proof.pair import Pair, written

Kept = tuple[str, bytes, str] | None


def test_case_10_keys_of_every_shape(pair: Pair) -> None:
    app = pair.application(
        """
        CREATE TABLE composite (a TEXT, b INTEGER, v TEXT, PRIMARY KEY (b, a));
        CREATE TABLE none (v TEXT, n INTEGER);
        CREATE TABLE clustered (a TEXT, b TEXT, v TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;
        CREATE TABLE alike (k TEXT PRIMARY KEY, v TEXT);
        CREATE TABLE binary (k BLOB PRIMARY KEY, v TEXT);
        CREATE TABLE number (k REAL PRIMARY KEY, v TEXT);
        CREATE TABLE truth (k BOOLEAN PRIMARY KEY, v TEXT);
        CREATE TABLE moment (k DATETIME PRIMARY KEY, v TEXT);
        CREATE TABLE hidden_rowid (rowid TEXT PRIMARY KEY, oid TEXT, _rowid_ TEXT);
        CREATE TABLE only_key (k TEXT PRIMARY KEY);
        """,
        "journal_mode = wal",
    )

    def write(v: str) -> None:
        for n in range(6):
            app.run("INSERT OR REPLACE INTO composite VALUES (?, ?, ?)", (f"a{n % 2}", n, v))
            app.run("INSERT INTO none VALUES (?, ?)", (v, n % 2))
            app.run("INSERT OR REPLACE INTO clustered VALUES (?, ?, ?)", (f"a{n % 2}", f"b{n}", v))
            app.run("INSERT OR REPLACE INTO number VALUES (?, ?)", (n + 0.1, v))
            app.run("INSERT OR REPLACE INTO binary VALUES (?, ?)", (bytes([0, n, 255]), v))
            app.run("INSERT OR REPLACE INTO moment VALUES (?, ?)", (f"2026-01-0{n + 1} 00:00:00.000001", v))
            app.run("INSERT OR IGNORE INTO only_key VALUES (?)", (f"{v}{n}",))
        for key in ("k", "K", "k ", " k", "é", "e\u0301", "", "\u2028", "k\t"):
            app.run("INSERT OR REPLACE INTO alike VALUES (?, ?)", (key, v))
            app.run("INSERT OR REPLACE INTO hidden_rowid VALUES (?, ?, ?)", (key, v, v))
        for truth in (0, 1):
            app.run("INSERT OR REPLACE INTO truth VALUES (?, ?)", (truth, v))

    write("first")
    pair.synced()
    write("second")
    pair.synced()
    app.script(
        "DELETE FROM none WHERE rowid = 1; DELETE FROM clustered WHERE b = 'b3'; DELETE FROM alike WHERE k = 'k '"
    )
    app.script("UPDATE none SET v = 'one of two' WHERE rowid = 3; DELETE FROM truth WHERE k; DELETE FROM number")
    app.script("DELETE FROM binary WHERE k > x'0002'; UPDATE moment SET k = '2027-01-01 00:00:00.5' WHERE v = 'x'")
    assert pair.synced().quarantined == 0
    assert pair.verify(heal=False).equal


def test_case_10_keys_that_are_null_or_no_key_of_their_type_are_kept_whole(pair: Pair) -> None:
    app = pair.application(
        """
        CREATE TABLE t (k TEXT PRIMARY KEY, v TEXT); CREATE TABLE c (a TEXT, b BIGINT, v TEXT, PRIMARY KEY (a, b));
        INSERT INTO t VALUES (NULL, 'one'), (NULL, 'two'), (NULL, 'two'), ('k', 'three'), (x'00ff', 'blob'),
            (CAST(x'ff41' AS TEXT), 'not UTF-8'), ('a' || char(0) || 'b', 'NUL');
        INSERT INTO c VALUES (NULL, 1, 'x'), ('a', NULL, 'y'), ('a', 1, 'z'), ('a', 3.5, 'w'), ('a', 'text', 'v');
        """,
        "journal_mode = wal",
    )
    assert pair.synced().quarantined == 10
    app.run("UPDATE t SET v = 'changed' WHERE v = 'one'")
    app.run("UPDATE t SET v = 'changed' WHERE v IN ('blob', 'NUL', 'three')")
    pair.synced()
    app.run("DELETE FROM t WHERE k IS NULL AND rowid = (SELECT min(rowid) FROM t WHERE k IS NULL)")
    app.run("UPDATE c SET a = 'now a key' WHERE a IS NULL")
    app.run("UPDATE c SET b = NULL WHERE v = 'z'")
    app.run("UPDATE t SET k = 'now a key' WHERE v = 'not UTF-8'")
    pair.synced()
    app.run("DELETE FROM t WHERE k IS NULL OR typeof(k) = 'blob'")
    app.run("DELETE FROM c WHERE b = 'text'")
    pair.synced()
    assert pair.verify(heal=False).equal


def test_case_10_originals_of_a_table_without_a_key_follow_its_rows(pair: Pair) -> None:
    app = pair.application("CREATE TABLE t (at DATETIME, n BIGINT, v JSON)", "journal_mode = wal")
    rows = [(1700000000, 3.5, "no json"), ("2026-01-01 00:00:00", 1, "1"), (1700000000, "x", "no json"), (5, 3.5, "[]")]
    app.many("INSERT INTO t VALUES (?, ?, ?)", rows * 2)
    pair.synced()
    app.run("DELETE FROM t WHERE rowid = 1")
    pair.synced()
    app.run("UPDATE t SET n = 4 WHERE rowid = 3")
    pair.synced()
    app.run("UPDATE t SET v = '[1]' WHERE typeof(n) = 'real'")
    pair.synced()
    assert pair.verify(heal=False).equal


JSON: list[tuple[object, Kept]] = [
    (60, None),
    (0.5, None),
    (-(2**63), None),
    (1e300, None),
    ("null", None),
    (" [1,  2]\n", None),
    ('{"a":1,"a":2}', None),
    ('"\\u0000"', None),
    ('"\\ud83d"', None),
    ("123456789012345678901234567890", None),
    ('{"n": 123456789012345678901234567890}', None),
    ("[" * 6000 + "]" * 6000, None),
    ('{"a": NaN}', ("text", b'{"a": NaN}', "quarantined")),
    ("NaN", ("text", b"NaN", "quarantined")),
    ("[Infinity]", ("text", b"[Infinity]", "quarantined")),
    ("", ("text", b"", "quarantined")),
    ("hello", ("text", b"hello", "quarantined")),
    ("None", ("text", b"None", "quarantined")),
    (1e999, ("real", b"inf", "quarantined")),
    (b"{}", ("blob", b"{}", "quarantined")),
    ('"a\0b"', ("text", b'"a\0b"', "quarantined")),
    ('{"a":"\t"}', ("text", b'{"a":"\t"}', "quarantined")),
]
BIGINT: list[tuple[object, Kept]] = [
    (2**63 - 1, None),
    (-(2**63), None),
    (3.0, None),
    ("7", None),
    (3.5, ("real", b"3.5", "quarantined")),
    ("12abc", ("text", b"12abc", "quarantined")),
    ("", ("text", b"", "quarantined")),
    (1e999, ("real", b"inf", "quarantined")),
    (1e300, ("real", b"1e+300", "quarantined")),
    ("99999999999999999999", ("real", b"1e+20", "quarantined")),
    (b"1", ("blob", b"1", "quarantined")),
]
BOOLEAN: list[tuple[object, Kept]] = [
    (0, None),
    (1, None),
    (None, None),
    (2, ("integer", b"2", "quarantined")),
    (-1, ("integer", b"-1", "quarantined")),
    ("true", ("text", b"true", "converted")),
    ("False", ("text", b"False", "converted")),
    ("", ("text", b"", "quarantined")),
    ("yes", ("text", b"yes", "quarantined")),
    (0.5, ("real", b"0.5", "quarantined")),
]
DATETIME: list[tuple[object, Kept]] = [
    ("2026-03-29 02:30:00", None),
    ("2026-03-29 02:30:00.000001", None),
    ("2026-03-29 02:30:00.100000", None),
    ("0001-01-01 00:00:00", None),
    ("9999-12-31 23:59:59.999999", None),
    (1700000000, ("integer", b"1700000000", "converted")),
    (1700000000123, ("integer", b"1700000000123", "converted")),
    (0.5, ("real", b"0.5", "converted")),
    ("2024-01-02T03:04:05Z", ("text", b"2024-01-02T03:04:05Z", "converted")),
    ("2024-01-02T03:04:05+05:30", ("text", b"2024-01-02T03:04:05+05:30", "converted")),
    ("2024-01-02 03:04:05.000000", ("text", b"2024-01-02 03:04:05.000000", "converted")),
    ("2024-01-02", ("text", b"2024-01-02", "converted")),
    ("2024-13-45", ("text", b"2024-13-45", "quarantined")),
    ("0000-00-00 00:00:00", ("text", b"0000-00-00 00:00:00", "quarantined")),
    ("now", ("text", b"now", "quarantined")),
    ("infinity", ("text", b"infinity", "quarantined")),
    ("", ("text", b"", "quarantined")),
    (10**18, ("integer", b"1000000000000000000", "quarantined")),
]
DATE: list[tuple[object, Kept]] = [
    ("2024-02-29", None),
    ("2023-02-29", ("text", b"2023-02-29", "quarantined")),
    ("0000-00-00", ("text", b"0000-00-00", "quarantined")),
    ("epoch", ("text", b"epoch", "quarantined")),
]
TEXT: list[tuple[object, Kept]] = [
    ("", None),
    ("\\N", None),
    ("\\.", None),
    ("a\tb\r\nc\\d", None),
    ("\ufffd\ufeff\u2028\U0001f600", None),
    ("x" * 9000, None),
    ("a\0b", ("text", b"a\0b", "quarantined")),
    (b"\x00\xff", ("blob", b"\x00\xff", "quarantined")),
    (b"plain", ("blob", b"plain", "quarantined")),
]
BLOB: list[tuple[object, Kept]] = [
    (b"", None),
    (b"\\x00", None),
    (bytes(range(256)), None),
    ("text", ("text", b"text", "converted")),
    ("", ("text", b"", "converted")),
    (5, ("integer", b"5", "quarantined")),
    (0.1, ("real", b"0.1", "quarantined")),
]
REAL: list[tuple[object, Kept]] = [
    (0.1, None),
    (1e999, None),
    (-1e999, None),
    (5, None),
    (2**53 + 1, None),
    (5e-324, None),
    (1.7976931348623157e308, None),
    ("1_000", ("text", b"1_000", "quarantined")),
    (b"1", ("blob", b"1", "quarantined")),
]
NUMERIC: list[tuple[object, Kept]] = [
    (5, None),
    (0.5, None),
    ("7.25", None),
    (1e300, None),
    (2**63 - 1, None),
    (1e999, ("real", b"inf", "quarantined")),
    ("12,5", ("text", b"12,5", "quarantined")),
    ("NaN", ("text", b"NaN", "quarantined")),
]
UNKNOWN: list[tuple[object, Kept]] = [
    ("text", None),
    (5, None),
    (0.5, None),
    ("5", None),
    ("2026-01-01", None),
    (b"5", ("blob", b"5", "quarantined")),
    (1e999, ("real", b"inf", "quarantined")),
]
KINDS = {
    "test_case_11 JSON": JSON,
    "test_case_12 TEXT": TEXT,
    "test_case_12 VARCHAR(5)": TEXT,
    "test_case_12 BLOB": BLOB,
    "test_case_13 BIGINT": BIGINT,
    "test_case_13 INTEGER": BIGINT,
    "test_case_13 DOUBLE PRECISION": REAL,
    "test_case_13 NUMERIC(10, 2)": NUMERIC,
    "test_case_13 STRING": UNKNOWN,
    "test_case_14 BOOLEAN": BOOLEAN,
    "test_case_15 DATETIME": DATETIME,
    "test_case_15 TIMESTAMP": DATETIME,
    "test_case_15 DATE": DATE,
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.removeprefix("test_").replace(" ", "_"))
@pytest.mark.parametrize("how", ["loaded", "inserted", "updated"])
def test_cases_11_to_15_a_value_arrives_as_it_is_or_is_kept_as_it_was(pair: Pair, kind: str, how: str) -> None:
    declared, values = kind.partition(" ")[2], KINDS[kind]
    app = pair.application(f"CREATE TABLE t (id INTEGER PRIMARY KEY, v {declared}, w TEXT)", "journal_mode = wal")
    if how != "loaded":
        app.many("INSERT INTO t VALUES (?, NULL, 'w')", [(n,) for n in range(len(values))] if how == "updated" else [])
        pair.synced()
    app.many("INSERT OR REPLACE INTO t VALUES (?, ?, 'w')", [(n, value) for n, (value, _) in enumerate(values)])
    result = pair.synced()
    kept = {int(key[1:-1]): (storage, raw, how) for _, key, column, storage, raw, how in pair.quarantine() if column}
    assert kept == {n: expected for n, (_, expected) in enumerate(values) if expected}
    wanted = [expected[2] for _, expected in values if expected]
    assert (result.quarantined, result.converted) == (wanted.count("quarantined"), wanted.count("converted"))
    app.run("UPDATE t SET w = 'other'")
    pair.synced()
    assert pair.verify(heal=False).equal
    app.run("UPDATE t SET v = NULL")
    pair.synced()
    assert not pair.quarantine()


def test_case_11_json_is_in_the_replica_verbatim(pair: Pair) -> None:
    app = pair.application("CREATE TABLE t (id INTEGER PRIMARY KEY, v JSON)", "journal_mode = wal")
    texts = ['{ "b" : 1,\n "a":1, "b":2 }', '"\\u0000\\ud83d\\/"', "[1.0, 1e2, 10000000000000000000000]", " 1.50 x"[:1]]
    app.many("INSERT INTO t VALUES (?, ?)", list(enumerate(texts[:3])))
    pair.synced()
    assert [text for (text,) in pair.sql("SELECT v::text FROM {}.t ORDER BY id")] == texts[:3]
    assert pair.sql("SELECT format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = '{}.t'::regclass"
                    " AND attname = 'v'") == [("json",)]  # fmt: skip


def test_case_12_text_that_is_not_utf_8_is_kept_and_stands_readable(pair: Pair) -> None:
    app = pair.application("CREATE TABLE t (id TEXT PRIMARY KEY, v TEXT, j JSON)", "journal_mode = wal")
    app.run("INSERT INTO t VALUES ('a', CAST(x'41ff42' AS TEXT), CAST(x'22ff22' AS TEXT)), ('b', 'fine', '1')")
    assert pair.synced().quarantined == 2
    assert pair.sql("SELECT v, j::text FROM {}.t ORDER BY id") == [("A\ufffdB", None), ("fine", "1")]
    app.run("UPDATE t SET v = CAST(x'ed a0 bd' AS TEXT) WHERE id = 'b'".replace("ed a0 bd", "eda0bd"))
    pair.synced()
    app.run("UPDATE t SET v = 'mended', j = 'null'")
    assert pair.synced().quarantined == 0


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
def test_case_12_a_database_in_utf_16(pair: Pair, encoding: str) -> None:
    app = pair.application("", f"encoding = '{encoding}'", "journal_mode = wal")
    app.script("CREATE TABLE t (id TEXT PRIMARY KEY, v TEXT); INSERT INTO t VALUES ('é', '\U0001f600'), ('b', 'x')")
    pair.synced()
    app.run("UPDATE t SET v = 'ü' WHERE id = 'é'")
    assert written(pair.synced()) == (0, 1, 0)


def test_one_bad_row_among_many_costs_nothing_but_itself(pair: Pair, app: Application) -> None:
    app.run("UPDATE chat SET chat = 'no json' WHERE id IN ('c17', 'c200')")
    assert (pair.synced().quarantined, pair.sql("SELECT count(*) FROM {}.chat")) == (2, [(300,)])
    app.run("UPDATE chat SET chat = 'no json either', title = 'x' WHERE updated_at % 50 = 3")
    assert pair.synced().quarantined == 8


LONG = "n" * 63
NAMES = ["user", "group", "select", 'quo"te', "per%cent", "per%scent", "{braces}", "a.b", "a b", "semi;colon", "é", "-- x",
         "'", "\\", "1st", "$1", LONG, "User ", "tab\tle"]  # fmt: skip


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def test_case_16_reserved_and_hostile_names(pair: Pair) -> None:
    app = pair.application("", "journal_mode = wal")
    columns = ", ".join(f"{quoted(name)} TEXT" for name in NAMES)
    for name in NAMES:
        app.run(f"CREATE TABLE {quoted(name)} ({columns}, PRIMARY KEY ({quoted(name)}))")
        app.run(f"INSERT INTO {quoted(name)} ({quoted(name)}) VALUES ('k'), ('l'), ('m' || char(0))")
    assert pair.synced().tables == len(NAMES)
    for name in NAMES:
        app.run(f"UPDATE {quoted(name)} SET {quoted(NAMES[3])} = 'new' WHERE {quoted(name)} = 'k'")
        app.run(f"DELETE FROM {quoted(name)} WHERE {quoted(name)} = 'l'")
    pair.synced()
    assert pair.verify(heal=False).equal


def test_case_16_columns_and_tables_that_differ_only_by_case_or_beyond_63_bytes(pair: Pair) -> None:
    """PostgreSQL cuts names at 63 bytes; either both arrive under names of their own, or the client stops and says so."""
    from client_manager.errors import ClientManagerError

    pair.application(
        f"CREATE TABLE {LONG}x (id TEXT PRIMARY KEY); CREATE TABLE {LONG}y (id TEXT PRIMARY KEY);"
        f"INSERT INTO {LONG}x VALUES ('x'); INSERT INTO {LONG}y VALUES ('y')",
        "journal_mode = wal",
    )
    try:
        pair.sync()
    except ClientManagerError as error:
        assert LONG in f"{error.what} {error.why}"  # noqa: PT017
        assert pair.sql("SELECT count(*) FROM pg_tables WHERE schemaname = %s", pair.schema) == [(0,)]
    else:
        pair.assert_equal()


@pytest.mark.parametrize("schema", ["client-a", "select", "a" * 57, "Ümlaut", 'quo"te'])
def test_case_16_hostile_names_of_clients(pair: Pair, app: Application, schema: str) -> None:
    pair.schema = schema
    from tests.replication.oracle import differences

    pair.sync()
    app.run("DELETE FROM chat WHERE id = 'c1'")
    pair.sync()
    assert not differences(pair.source, pair.url, schema)


def test_an_original_is_kept_once_when_another_column_of_its_row_is_refused(pair: Pair, app: Application) -> None:
    app.run("UPDATE chat SET archived = 2 WHERE id IN ('c1', 'c2')")
    pair.synced()
    app.run("UPDATE chat SET chat = 'no json' WHERE id IN ('c1', 'c3')")
    pair.synced()
    app.run("UPDATE chat SET chat = 'still none', archived = 3 WHERE id IN ('c1', 'c2')")
    assert pair.synced().quarantined == 5


def test_a_row_that_is_kept_whole_is_kept_once_when_it_changes(pair: Pair) -> None:
    app = pair.application("CREATE TABLE t (k TEXT PRIMARY KEY, v TEXT); INSERT INTO t VALUES (x'00ff', 'one')",
                           "journal_mode = wal")  # fmt: skip
    pair.synced()
    app.run("UPDATE t SET v = 'two'")
    assert pair.synced().quarantined == 1
    app.run("DELETE FROM t")
    app.run("INSERT INTO t VALUES ('k', 'three')")
    assert pair.synced().quarantined == 0
