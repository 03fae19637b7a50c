"""The data root: specs are whole or not there, for their owner only, and never repeat a secret when they are broken."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from client_manager.errors import ClientManagerError, ConfigurationError
from client_manager.gateways.client_files import PREVIOUS, REMOVED, SPEC, ClientFiles
from client_manager.models.client import ClientSpec
from client_manager.models.operation import Operation

KEY = "k-very-secret-0123456789"
# Ends with 0 when it has read so many whole specs of either length, and with 1 when it meets anything else.
_READ = """
import json, sys
seen = {}
while len(seen) < 2 or min(seen.values()) < 50:
    try:
        length = len(json.loads(open(sys.argv[1]).read())["env"]["FILL"])
    except (ValueError, KeyError, FileNotFoundError) as error:
        sys.exit(repr(error))
    seen[length] = seen.get(length, 0) + 1
"""


@pytest.fixture
def files(tmp_path: Path) -> ClientFiles:
    return ClientFiles(tmp_path / "openwebui")


def _spec(name: str = "acme", **env: str) -> ClientSpec:
    return ClientSpec.model_validate(
        {
            "name": name,
            "container": f"openwebui-{name}",
            "domain": "chat.acme.test",
            "image": "app:v1",
            "port": 8081,
            "env": env,
            "secrets": {"WEBUI_SECRET_KEY": KEY},
            "memory_bytes": None,
        }
    )


def _operation() -> Operation:
    return Operation(
        action="change settings", client="acme", container="openwebui-acme", operator="ada", old_container_id=None,
        old_was_running=False, had_spec=True, had_data=True, had_volume=True, had_network=True,
    )  # fmt: skip


def test_spec_is_read_as_it_was_written(files: ClientFiles) -> None:
    files.write(_spec())

    assert files.read("acme") == _spec()
    assert files.names() == ("acme",)


def test_client_without_a_spec_is_none(files: ClientFiles) -> None:
    assert files.read("acme") is None
    assert files.names() == ()


def test_reader_in_another_process_never_sees_half_a_file(files: ClientFiles) -> None:
    files.write(_spec(FILL="x"))
    with subprocess.Popen(
        [sys.executable, "-c", _READ, str(files.folder("acme") / SPEC)], stderr=subprocess.PIPE, text=True
    ) as reader:
        specs = _spec(FILL="x"), _spec(FILL="x" * 300_000)
        while reader.poll() is None:
            for spec in specs:
                files.write(spec)
        assert reader.stderr is not None
        assert reader.stderr.read() == ""
    assert reader.returncode == 0


def test_nothing_is_left_beside_a_written_spec(files: ClientFiles) -> None:
    files.write(_spec())

    assert [path.name for path in files.folder("acme").iterdir()] == [SPEC]


def test_failed_write_leaves_the_old_spec_and_nothing_beside_it(files: ClientFiles) -> None:
    files.write(_spec())
    broken = _spec(FILL="\ud800")  # a lone surrogate cannot be written as UTF-8

    with pytest.raises(ValueError, match="surrogate"):
        files.write(broken)

    assert files.read("acme") == _spec()
    assert [path.name for path in files.folder("acme").iterdir()] == [SPEC]


def test_every_file_is_for_its_owner_only(files: ClientFiles) -> None:
    files.write(_spec())
    files.keep_previous("acme")
    files.write_operation(_operation())
    paths = [path for path in files.data_root.rglob("*") if path.is_file()]

    assert len(paths) == 3
    assert {path.stat().st_mode & 0o777 for path in paths} == {0o600}


def test_folders_of_a_client_are_closed_to_others(files: ClientFiles) -> None:
    files.write(_spec())
    files.make_data("acme")

    assert files.folder("acme").stat().st_mode & 0o007 == 0
    assert files.data("acme").stat().st_mode & 0o007 == 0


def _corrupt(files: ClientFiles, **changes: Any) -> None:
    files.write(_spec())
    path = files.folder("acme") / SPEC
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}), encoding="utf-8")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("port", 0),
        ("port", KEY),
        ("domain", f"{KEY} x"),
        ("secrets", {}),
        ("secrets", {"WEBUI_SECRET_KEY": [KEY]}),
        ("secrets", KEY),
        ("env", {"A": {"B": KEY}}),
        ("memory_bytes", KEY),
        ("colour", KEY),
        ("format", 2),
    ],
)
def test_corrupt_spec_is_refused_by_its_field_and_without_a_secret(
    files: ClientFiles, field: str, value: object
) -> None:
    _corrupt(files, **{field: value})

    with pytest.raises(ConfigurationError) as caught:
        files.read("acme")

    error = caught.value
    assert str(files.folder("acme") / SPEC) in error.what
    assert field in error.why or "WEBUI_SECRET_KEY" in error.why
    assert KEY not in f"{error.what} {error.why} {error.hint}"
    assert error.__cause__ is None


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"null", b'{"secrets": {"WEBUI_SECRET_KEY": "hunter2"', b"\xff\xfe"]
)
def test_file_that_is_no_spec_is_refused_without_a_secret(files: ClientFiles, text: bytes) -> None:
    files.folder("acme").mkdir(parents=True)
    (files.folder("acme") / SPEC).write_bytes(text)

    with pytest.raises(ConfigurationError) as caught:
        files.read("acme")

    assert "hunter2" not in f"{caught.value.what} {caught.value.why} {caught.value.hint}"


def test_copy_of_a_clients_folder_is_no_client_of_its_own(files: ClientFiles) -> None:
    files.write(_spec())
    files.folder("acme").rename(files.folder("acme-backup"))

    with pytest.raises(ConfigurationError, match="acme-backup"):
        files.read("acme-backup")


def test_previous_spec_comes_back(files: ClientFiles) -> None:
    files.write(_spec(A="1"))
    files.keep_previous("acme")
    files.write(_spec(A="2"))

    files.restore_previous("acme")

    assert files.read("acme") == _spec(A="1")
    assert not (files.folder("acme") / PREVIOUS).exists()


def test_restoring_twice_changes_nothing_more(files: ClientFiles) -> None:
    files.write(_spec(A="1"))
    files.keep_previous("acme")
    files.write(_spec(A="2"))
    files.restore_previous("acme")

    files.restore_previous("acme")

    assert files.read("acme") == _spec(A="1")


def test_retired_spec_is_kept_with_its_key_and_is_no_client(files: ClientFiles) -> None:
    files.write(_spec())

    files.retire("acme")

    assert files.read_removed("acme") == _spec()
    assert files.names() == ()
    assert (files.folder("acme") / REMOVED).stat().st_mode & 0o777 == 0o600


def test_dropped_client_leaves_no_folder(files: ClientFiles) -> None:
    files.write(_spec())
    files.keep_previous("acme")

    files.drop("acme")

    assert not files.folder("acme").exists()


def test_dropped_client_leaves_what_is_not_the_consoles(files: ClientFiles) -> None:
    files.write(_spec())
    files.make_data("acme")

    files.drop("acme")

    assert [path.name for path in files.folder("acme").iterdir()] == ["data"]


def test_spec_of_a_client_that_never_came_to_be_leaves_the_earlier_ones_key(files: ClientFiles) -> None:
    files.write(_spec(A="1"))
    files.retire("acme")
    files.write(_spec(A="2"))

    files.discard_spec("acme")

    assert files.read_removed("acme") == _spec(A="1")


def test_operation_is_read_until_it_is_ended(files: ClientFiles) -> None:
    operation = _operation()
    files.write_operation(operation)

    assert files.operation("acme") == operation
    assert files.operations() == (operation,)
    files.end_operation("acme")
    assert files.operations() == ()


def test_data_root_that_is_a_file_is_told_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")

    with pytest.raises(ClientManagerError, match=str(tmp_path / "file")):
        ClientFiles(tmp_path / "file").write(_spec())
