"""The ways out of a blocked deregistration, carried out where the operator stands."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from client_manager.errors import Cancelled, ClientManagerError, Ended, InvalidInput
from client_manager.menu.prompts import Back, Option
from client_manager.menu.session import Session
from client_manager.models.deregistration import ClientSeen, DeregistrationDecision, WayOut
from client_manager.views.deregistration import destination_table
from client_manager.views.errors import error_text
from client_manager.views.text import one_line, size
from client_manager.workflows import decommission as decommissioning
from client_manager.workflows import unblock_cluster

_WAYS: Final[tuple[tuple[str, WayOut, str], ...]] = (
    ("Disable the sync: a job under way may end first, the replica stays", "disable", "1"),
    ("Migrate the record to another cluster", "migrate", "2"),
    ("Decommission: stop, back up, remove record and container", "decommission", "3"),
)
_STAYS_PUT: Final = "Only the record moves: the container and its volume stay on their machine for now."


@dataclass(frozen=True)
class Repair:
    """What is done about one client; ``target``: the cluster that it moves to, or the folder of its backup."""

    way: WayOut
    client: str
    target: str = ""

    @property
    def option(self) -> tuple[str, str]:
        """The option of the command that does it."""
        return f"--{self.way}", f"{self.client}={self.target}" if self.target else self.client


def carry_out(session: Session, repair: Repair) -> None:
    """Do it, and say what became of it."""
    notes: tuple[str, ...] = ()
    with session.working() as report:
        if repair.way == "disable":
            paused = unblock_cluster.disable_sync(session.app, repair.client, report)
            ends = [f"waited for a {job.sync_type} job ({job.status})" for job in paused.waited_for]
            ends += [f"cancelled a {job.sync_type} job" for job in paused.cancelled]
            ends += [f"left a {job.sync_type} job, whose machine is lost" for job in paused.left]
            said = f"The sync of {repair.client} is disabled: {', '.join(ends) or 'no job was under way'}."
        elif repair.way == "migrate":
            moved = unblock_cluster.migrate_client(session.app, repair.client, repair.target, report)
            said, notes = f"The record of {repair.client} is on {moved.target.hostname} now.", moved.notes
        else:
            done = decommissioning.decommission(session.app, repair.client, backup_folder(repair.target), report)
            said = f"{repair.client} is decommissioned; its backup, {size(done.size_bytes)}, is {done.backup}."
            notes = (f"Its data is still in {done.data}, too.", *done.notes)
    session.say(said, "good")
    for note in notes:
        session.say(note, "attention")


def backup_folder(text: str) -> Path:
    """Return where a backup goes.

    Raises:
        InvalidInput: it is no absolute path.
    """
    path = Path(text)
    if not path.is_absolute():
        raise InvalidInput("That is no folder for a backup.", why="Write the whole path, from / on.")
    return path


def unblock(session: Session, decision: DeregistrationDecision) -> None:
    """Ask for a way out and carry it out for the clients that the operator names; what fails is shown.

    Raises:
        Back: the operator leaves it as it is.
    """
    clients = _concerned(decision)
    ways = [Option[WayOut | None](label, way, key) for label, way, key in _WAYS if clients]
    ways += [Option[WayOut | None]("Look again", None, "r")]
    way = session.ask.choose("What now?", ways)
    if way is None:
        return
    try:
        for repair in _asked(session, decision.cluster, way, clients):
            carry_out(session, repair)
            session.equivalent("cluster", "deregister", decision.cluster, *repair.option)
    except Back:
        return
    except Ended:
        raise
    except KeyboardInterrupt:
        session.show(error_text(Cancelled()))
    except ClientManagerError as error:
        session.show(error_text(error))


def _concerned(decision: DeregistrationDecision) -> tuple[ClientSeen, ...]:
    found = {blocker.client.client_name: blocker.client for blocker in decision.blockers if blocker.client}
    return tuple(found.values())


def _asked(session: Session, cluster: str, way: WayOut, clients: Sequence[ClientSeen]) -> list[Repair]:
    names = _names(session, clients)
    if way == "disable":
        session.confirm(f"Disable the sync of {', '.join(names)}?")
        return [Repair(way, name) for name in names]
    if way == "migrate":
        target = _destination(session, cluster)
        session.say(_STAYS_PUT, "attention")
        session.confirm(f"Move {', '.join(names)} to {target}?")
        return [Repair(way, name, target) for name in names]
    folder = session.ask.text("Folder for the backups:", backup_folder)
    for name in names:
        session.ask.type_name(f"Type the client's name, {name}, to decommission it:", name)
    return [Repair(way, name, str(folder)) for name in names]


def _names(session: Session, clients: Sequence[ClientSeen]) -> list[str]:
    """Return the clients that are meant: one, several or all."""
    if len(clients) == 1:
        return [clients[0].client_name]
    picked: list[str] = []
    while True:
        left = [client.client_name for client in clients if client.client_name not in picked]
        chosen = session.ask.choose(_question(picked), _picks(left, picked))
        if chosen is None:
            return picked or left
        picked.append(chosen)
        if len(left) == 1:
            return picked


def _question(picked: Sequence[str]) -> str:
    return f"Which others, besides {one_line(', '.join(picked))}?" if picked else "Which clients?"


def _picks(left: Sequence[str], picked: Sequence[str]) -> list[Option[str | None]]:
    ends = Option[str | None]("No others: go on" if picked else f"All {len(left)}", None, "a")
    keys = [str(number) for number in range(1, len(left) + 1)]
    return [ends, *(Option[str | None](name, name, key) for name, key in zip(left, keys, strict=True))]


def _destination(session: Session, cluster: str) -> str:
    found = unblock_cluster.destinations(session.app, cluster)
    if not found:
        session.say("Nobody leads another cluster now: there is nowhere to move a record to.", "attention")
        raise Back
    session.show(destination_table(found))
    options = [Option(one_line(each.cluster), each.cluster, str(number)) for number, each in enumerate(found, start=1)]
    return session.ask.choose("To which cluster?", options)
