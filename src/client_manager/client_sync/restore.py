"""A working ``webui.db`` out of a client's replica, in a place where no running client would meet it."""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from client_manager.app import App
from client_manager.errors import Blocked, Conflict, InvalidInput
from client_manager.gateways import client_files, lock
from client_manager.models.base import parse
from client_manager.models.names import SchemaName
from client_manager.models.operation import Progress
from client_manager.models.replication import RestoreResult
from client_manager.replication.restoring import Restoration

Report = Callable[[Progress], None]

FILE_NAME: Final = "webui.db"
_SIDE_FILES: Final = ("-wal", "-shm", "-journal")
_AT_REST: Final = frozenset({"created", "exited", "dead"})


def restore(app: App, client: str, to: Path, report: Report, *, replace: bool = False) -> RestoreResult:
    """Make a database out of a client's replica, and put it in its place only when it equals the replica.

    Args:
        app: the console.
        client: whose replica, registered here or not.
        to: the file, or a folder that gets a ``webui.db``.
        report: is told of each table.
        replace: overwrite what is there.

    Raises:
        InvalidInput: there is no such folder, or the name is no client's.
        Blocked: a running container uses that folder.
        Conflict: something is there already, or somebody is at work on the client whose folder it is.
        NotFound: there is no replica, or it does not say what its source declared.
        ClientManagerError: what was made is not the replica; nothing is left of it.
    """
    name: str = parse(SchemaName, client, what="client name")
    target = _target(to)
    arguments = {"to": str(target), "replace": str(replace).lower()}
    with app.journal.action("sync restore", name, arguments), _owner_held(app, target):
        _refuse_running(app, target)
        _refuse_existing(target, replace=replace)
        beside = target.with_name(f".{target.name}.restoring-{secrets.token_hex(4)}")
        made = Restoration(app.database, name, lambda table, rows: report(_progress(table, rows))).write(beside)
        with client_files.disk_errors(target):
            try:
                _refuse_running(app, target)  # it may have been started meanwhile by somebody without our lock
                _give_to_owner(beside)
                _put(beside, target, replace=replace)
            finally:
                beside.unlink(missing_ok=True)
    return made


def _progress(table: str, rows: int) -> Progress:
    return Progress(step="Restoring", detail=f"{table}: {rows} rows")


def _target(to: Path) -> Path:
    """Return the file, the folders above it resolved; links must not lead around what is checked."""
    path = to.expanduser().absolute()
    if path.is_dir():
        path = path / FILE_NAME
    if not path.parent.is_dir():
        raise InvalidInput(f"{path.parent} is no folder.", hint="Make it first, or name another place.")
    if path.is_symlink():
        raise InvalidInput(f"{path} is a symbolic link.", hint="Name the file itself.")
    return path.parent.resolve() / path.name


@contextmanager
def _owner_held(app: App, target: Path) -> Iterator[None]:
    """Keep the client whose folder it is from being started, where it is one of ours."""
    root = app.settings.data_root.resolve()
    with ExitStack() as stack:
        if target.is_relative_to(root):
            stack.enter_context(lock.held(app.files.locks, target.relative_to(root).parts[0], "restore"))
        yield


def _refuse_running(app: App, target: Path) -> None:
    """Refuse a place that a container at work can write to; the sync nodes only read."""
    for row in app.engine.containers():
        if row.state in _AT_REST or not any(_covers(app, source, target) for source in row.mounts.values()):
            continue
        detail = app.engine.find(row.id)
        if detail and any(writes and _covers(app, source, target) for _, source, writes in detail.mounts.values()):
            raise Blocked(
                f"{target} is in use by {row.name}, which is {row.state}.",
                why="A database that is exchanged under a running application is damaged.",
                hint=f"Stop it first, or restore to another place and look at it there; then stop {row.name}, copy.",
            )


def _covers(app: App, source: str, target: Path) -> bool:
    folder = source if source.startswith("/") else app.engine.volume_device(source)
    return bool(folder) and target.is_relative_to(Path(str(folder)).resolve())


def _refuse_existing(target: Path, *, replace: bool) -> None:
    there = [path for path in (target, *_beside(target)) if path.exists()]
    if target.exists() and not target.is_file():
        raise InvalidInput(f"{target} is no file.", hint="Name another place.")
    if there and not replace:
        raise Conflict(
            f"{there[0]} is there already.",
            why="Nothing is overwritten without being told; a log beside it would be taken for the new file's.",
            hint="Name another place, or say that it is to be replaced.",
        )


def _beside(target: Path) -> list[Path]:
    return [target.with_name(target.name + suffix) for suffix in _SIDE_FILES]


def _give_to_owner(made: Path) -> None:
    """Let the file be whose folder it is, so that an application that is not root can open it."""
    folder = made.parent.stat()
    if os.geteuid() == 0:
        os.chown(made, folder.st_uid, folder.st_gid)


def _put(made: Path, target: Path, *, replace: bool) -> None:
    if replace:
        for path in _beside(target):
            path.unlink(missing_ok=True)
        made.replace(target)
    else:
        try:
            os.link(made, target)  # unlike a rename it never takes the place of a file that came meanwhile
        except FileExistsError:
            raise Conflict(f"{target} is there already.", why="Somebody has just made it.") from None
    descriptor = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
