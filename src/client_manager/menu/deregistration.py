"""Take a cluster down, and bring it back: shown, unblocked where the operator says how, confirmed, done, proven."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from client_manager.cluster import restore as restoring
from client_manager.errors import Blocked, Conflict, InvalidInput
from client_manager.menu.prompts import Nobody
from client_manager.menu.session import Session
from client_manager.menu.unblocking import Repair, backup_folder, carry_out, unblock
from client_manager.models.deregistration import Confirmation, DeregistrationDecision
from client_manager.models.operation import Progress
from client_manager.views.deregistration import decision_page, report_page, restore_page
from client_manager.workflows import deregister_cluster as work
from client_manager.workflows.cluster_nodes import nodes_of


@dataclass(frozen=True)
class Asked:
    """What a command says in advance.

    Attributes:
        confirm, confirm_leader: names, instead of typing them.
        lost_host: the cluster's machine is gone for good.
        repairs: what is done about clients that stand in the way, before anything else.
        folder: where the bundle goes.
        drop_replicas: whether the replicas of the clients go too.
    """

    confirm: str | None = None
    confirm_leader: str | None = None
    lost_host: bool = False
    repairs: tuple[Repair, ...] = ()
    folder: Path | None = None
    drop_replicas: bool = False


def repairs(
    disable: Sequence[str] | None, migrate: Sequence[str] | None, decommission: Sequence[str] | None
) -> tuple[Repair, ...]:
    """Return what the options of a command ask for.

    Raises:
        InvalidInput: one has no target, or its target cannot be one.
    """
    asked = [Repair("disable", client) for client in disable or ()]
    asked += [Repair("migrate", *_pair(text, "CLIENT=CLUSTER")) for text in migrate or ()]
    asked += [Repair("decommission", *_pair(text, "CLIENT=FOLDER")) for text in decommission or ()]
    for repair in asked:
        if repair.way == "decommission":
            backup_folder(repair.target)
    return tuple(asked)


def _pair(text: str, shape: str) -> tuple[str, str]:
    client, sign, target = text.partition("=")
    if not (client and sign and target):
        raise InvalidInput(f"{text} is not {shape}.", hint=f"Write it as {shape}.")
    return client, target


def _unheard(_: Progress) -> None:
    """Only looking; nothing happens that could be told."""


def check(session: Session, cluster: str, *, lost_host: bool) -> bool:
    """Show whether a cluster may go; return it."""
    decision = _decision(session, cluster, lost_host=lost_host)
    session.show(decision_page(decision, session.console.width))
    session.result(decision=decision, allowed=not decision.blockers)
    return not decision.blockers


def deregister(session: Session, cluster: str, asked: Asked) -> None:
    """Deregister a cluster once nothing stands in the way.

    Raises:
        Blocked: something does, and nobody is there to say what is to be done about it.
        InvalidInput: a confirmation is not the name that it is for.
    """
    decision = _decision(session, cluster, lost_host=asked.lost_host)
    if asked.repairs:
        _repair(session, decision, asked.repairs)
        decision = _decision(session, cluster, lost_host=asked.lost_host)
    if not isinstance(session.ask, Nobody) and not session.dry_run:
        while decision.blockers:
            session.show(decision_page(decision, session.console.width))
            unblock(session, decision)
            decision = _decision(session, cluster, lost_host=asked.lost_host)
    session.show(decision_page(decision, session.console.width))
    if session.dry_run:
        session.say("Dry run: nothing was done.", "attention")
        session.result(dry_run=True, decision=decision)
    if decision.blockers:
        if not session.dry_run:
            session.result(decision=decision, allowed=False)
        raise _blocked(decision)
    if not session.dry_run:
        _carry_out(session, decision, asked)


def _decision(session: Session, cluster: str, *, lost_host: bool) -> DeregistrationDecision:
    nodes = nodes_of(session.app, cluster, _unheard, lost_host=lost_host)
    return work.check(session.app, cluster, nodes.circumstances)


def _repair(session: Session, decision: DeregistrationDecision, repairs: tuple[Repair, ...]) -> None:
    """Carry out what the command says, for clients that stand in the way; any other name is a mistake.

    A dry run says what it would carry out.
    """
    concerned = {blocker.client.client_name for blocker in decision.blockers if blocker.client}
    for repair in repairs:
        if repair.client not in concerned:
            raise InvalidInput(
                f"{repair.client} does not stand in the way of deregistering {decision.cluster}.",
                why=f"These do: {', '.join(sorted(concerned)) or 'no client'}.",
                hint="Nothing was done about it. Leave it out.",
            )
    for repair in repairs:
        if session.dry_run:
            session.say(f"Would be carried out first: {' '.join(repair.option)}")
        else:
            carry_out(session, repair)


def _blocked(decision: DeregistrationDecision) -> Blocked:
    return Blocked(
        f"{decision.cluster} may not be deregistered.",
        why=" ".join(blocker.what for blocker in decision.blockers),
        hint=decision.blockers[0].hint,
    )


def _carry_out(session: Session, decision: DeregistrationDecision, asked: Asked) -> None:
    cluster = decision.cluster
    _typed(session, asked.confirm, cluster, f"Type the cluster's name, {cluster}, to deregister it:", "--confirm")
    if decision.leader:
        question = f"{decision.leader} leads it now. Type its name too:"
        _typed(session, asked.confirm_leader, decision.leader, question, "--confirm-leader")
    confirmed = Confirmation(
        cluster=cluster, leader=decision.leader, fingerprint=decision.fingerprint, drop_replicas=asked.drop_replicas
    )
    with session.working() as report:
        nodes = nodes_of(session.app, cluster, report, lost_host=asked.lost_host)
        done = work.deregister(session.app, confirmed, nodes, report, folder=asked.folder)
    session.show(report_page(done))
    session.result(deregistered=done)


def _typed(session: Session, given: str | None, name: str, question: str, option: str) -> None:
    if given is None:
        session.ask.type_name(question, name, option=option)
    elif given != name:
        raise InvalidInput(f"{option} says {given}, not {name}.", why="Nothing was done.", hint=f"{option} {name}")


def restore(session: Session, bundle: Path, *, skip_clashes: bool = False) -> None:
    """Bring a deregistered cluster back from its bundle.

    Raises:
        Conflict: something of it clashes with what is there now; nothing was brought back.
    """
    planned = restoring.restore(session.app, bundle, dry_run=True, skip_clashes=skip_clashes)
    session.show(restore_page(planned))
    if planned.clashes and not skip_clashes:
        session.result(restored=planned)
        raise Conflict(
            f"The bundle of {planned.cluster} clashes with what is there now; nothing was brought back.",
            why=" ".join(planned.clashes),
            hint="Deregister what clashes, or leave it out with --skip-clashes.",
        )
    if session.dry_run:
        session.say("Dry run: nothing was done.", "attention")
        return session.result(dry_run=True, restored=planned)
    session.confirm(f"Bring {planned.cluster} back?")
    done = restoring.restore(session.app, bundle, dry_run=False, skip_clashes=skip_clashes)
    session.show(restore_page(done))
    session.say(f"{done.cluster} is back in the records.", "good")
    session.say(f"Its nodes come back with: client-manager cluster deploy {done.cluster}")
    return session.result(restored=done)
