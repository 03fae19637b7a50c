"""Pure decisions: given what was read, may this go, and what goes with it. Nothing here reads or deletes."""

from pathlib import Path

from client_manager.models.base import Model


class RemovalSnapshot(Model):
    """What was read of a client before its removal.

    Attributes:
        data: where its data is, or None where it has none.
        data_root: the folder that the console may delete in.
        data_is_volume: whether the data lies in a Docker volume of the client's own rather than in a folder.
        other_users: containers, beside the client's own, that mount the same data.
        operation: an operation that was cut off, in words, or None.
        delete_data: whether the operator asked for the data to go too.
    """

    client: str
    data: Path | None
    data_root: Path
    data_is_volume: bool
    other_users: tuple[str, ...]
    operation: str | None
    delete_data: bool


class RemovalDecision(Model):
    """Why the client may not go (empty: it may), what goes, and what stays."""

    blockers: tuple[str, ...]
    goes: tuple[str, ...]
    stays: tuple[str, ...]


def decide_removal(snapshot: RemovalSnapshot) -> RemovalDecision:
    """Decide whether a client may be removed.

    Data is deleted only when that was asked for, nothing else uses it, and it lies where the console keeps data.
    """
    blockers = []
    if snapshot.operation:
        blockers.append(
            f"An operation on {snapshot.client} was cut off: {snapshot.operation}. Resume or undo it first."
        )
    if snapshot.delete_data:
        if snapshot.other_users:
            blockers.append(f"Its data is also used by {', '.join(snapshot.other_users)}.")
        if snapshot.data and not snapshot.data_is_volume and not _inside(snapshot.data, snapshot.data_root):
            blockers.append(f"Its data lies outside {snapshot.data_root}; delete {snapshot.data} by hand.")
    data = (f"all data in {snapshot.data}",) if snapshot.data else ()
    container = ("the container", "its network")
    return RemovalDecision(
        blockers=tuple(blockers),
        goes=(*container, *data, "the spec with its secret key") if snapshot.delete_data else container,
        stays=() if snapshot.delete_data else (*data, "the spec with its secret key, set aside"),
    )


def _inside(path: Path, root: Path) -> bool:
    return path.is_relative_to(root) and path != root and ".." not in path.parts
