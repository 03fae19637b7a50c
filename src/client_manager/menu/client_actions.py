"""What an operator does with clients: shown first, confirmed, done, proven. Menus and commands both end here."""

from collections.abc import Sequence

from rich.text import Text

from client_manager.deployment import adopt, change, create, power, recovery, remove
from client_manager.deployment.clients import container_of, get_spec, inspect_client, list_clients
from client_manager.errors import Blocked, Cancelled, ClientManagerError, InvalidInput
from client_manager.menu.session import Session
from client_manager.models.client import ClientSpec, differences
from client_manager.models.client_request import ChangeRequest, CreateRequest
from client_manager.models.environment import public_url
from client_manager.views.clients import change_table, client_page, plan_page, removal_page
from client_manager.views.findings import operation_text
from client_manager.views.text import plain

_POWER = {"start": power.start, "stop": power.stop, "restart": power.restart}
_DONE = {"start": "is running and healthy", "stop": "is stopped", "restart": "is running and healthy again"}


def show_client(session: Session, name: str, *, reveal: bool = False) -> None:
    """Show all of one client; with ``reveal`` its secrets too."""
    detail = inspect_client(session.app, name)
    shown = detail.model_dump(mode="json", context={"reveal": reveal})
    session.result(client=shown)
    session.show(client_page(detail, reveal=reveal))


def create_client(session: Session, request: CreateRequest) -> None:
    """Create a client."""
    spec = create.plan_create(session.app, request)
    earlier = session.app.files.read_removed(spec.name)
    if earlier:
        session.say(
            f"An earlier {spec.name} left its data here: its key, settings and data are taken up again.", "attention"
        )
    session.show(plan_page(spec))
    if session.dry_run:
        return _planned(session, client=spec)
    session.confirm(f"Create {spec.name}?")
    with session.working() as report:
        spec = create.create(session.app, spec, report)
    session.say(f"{spec.name} is healthy at {public_url(spec.domain, spec.port)} (127.0.0.1:{spec.port}).", "good")
    session.result(client=spec)
    return None


def change_settings(session: Session, name: str, request: ChangeRequest) -> None:
    """Change a client's settings."""
    _change(session, *change.plan_settings(session.app, name, request))


def change_domain(session: Session, name: str, domain: str) -> None:
    """Give a client another domain."""
    _change(session, *change.plan_domain(session.app, name, domain))


def _change(session: Session, old: ClientSpec, new: ClientSpec) -> None:
    session.show(change_table(differences(old, new)))
    for note in change.notes_on(old, new):
        session.say(f"Note: {note}", "attention")
    if session.dry_run:
        return _planned(session, changes=differences(old, new))
    session.confirm(f"Replace the container of {new.name}? Its users wait until it is healthy again.")
    with session.working() as report:
        new = change.apply_change(session.app, old, new, report)
    return _proven(session, new, changes=differences(old, new))


def repair_client(session: Session, name: str) -> None:
    """Make a client's container what its spec says."""
    spec, wrong = change.plan_repair(session.app, name)
    if not wrong:
        session.say(f"{name} is as its spec says; there is nothing to repair.", "good")
        session.result(repaired=False, wrong=[])
        return None
    session.say("\n".join([f"What is wrong with {name}:", *(f"  {fault}" for fault in wrong)]))
    if session.dry_run:
        return _planned(session, wrong=wrong)
    session.confirm(f"Make the container of {name} anew?")
    with session.working() as report:
        spec = change.repair(session.app, spec, report)
    return _proven(session, spec, repaired=True, wrong=wrong)


def _proven(session: Session, spec: ClientSpec, **fields: object) -> None:
    """Say what the client is now, by looking at it."""
    detail = inspect_client(session.app, spec.name)
    running = detail.summary.state == "running"
    words = "is healthy again" if running else f"is changed; it was stopped and stays so: {detail.summary.state}"
    session.say(f"{spec.name} {words}.", "good")
    session.result(client=spec, state=detail.summary.state, **fields)


def switch(session: Session, action: str, names: Sequence[str], *, everyone: bool = False) -> None:
    """Start, stop or restart clients one after the other; a failure does not keep the rest from their turn.

    Raises:
        ClientManagerError: the first failure, after all had their turn.
    """
    if bool(names) == everyone:
        raise InvalidInput("Name the clients, or give --all.", hint=f"client-manager client {action} NAME")
    chosen = names or [client.name for client in list_clients(session.app) if client.kind != "found"]
    if session.dry_run:
        containers = [container_of(session.app, name) for name in chosen]
        session.say(f"{action.capitalize()}: {', '.join(containers) or 'nothing, there are no clients'}")
        return _planned(session, action=action, clients=list(chosen))
    if action != "start" and chosen:
        session.confirm(f"{action.capitalize()} {', '.join(chosen)}? Users of it are cut off.")
    failures = [failure for name in chosen if (failure := _switch_one(session, action, name))]
    session.result(action=action, done=[name for name in chosen if name not in {name for name, _ in failures}])
    if failures:
        raise failures[0][1]
    return None


def _switch_one(session: Session, action: str, name: str) -> tuple[str, ClientManagerError] | None:
    try:
        with session.working() as report:
            _POWER[action](session.app, name, report)
    except Cancelled:
        raise
    except ClientManagerError as error:
        session.say(f"{name}: {error.what}", "bad")
        return name, error
    session.say(f"{name} {_DONE[action]}.", "good")
    return None


def show_log(session: Session, name: str, *, lines: int, follow: bool) -> None:
    """Show a client's log, and with ``follow`` go on until Ctrl-C."""
    if not follow:
        for line in power.last_log(session.app, name, lines):
            session.console.print(Text(plain(line)), soft_wrap=True)
        return
    try:
        for line in power.follow_log(session.app, name, lines):
            session.console.print(Text(plain(line)), soft_wrap=True)
    except KeyboardInterrupt:
        return


def adopt_client(session: Session, container: str, name: str | None, domain: str | None) -> None:
    """Adopt a container."""
    spec = adopt.plan_adopt(session.app, container, name, domain)
    session.show(plan_page(spec))
    if session.dry_run:
        return _planned(session, client=spec)
    session.confirm(f"Adopt {spec.container} as {spec.name}? The container is left as it is.")
    adopt.adopt(session.app, spec)
    session.say(f"{spec.name} is adopted; its secret key is written down and nothing was restarted.", "good")
    session.result(client=spec)
    return None


def remove_client(session: Session, name: str, *, delete_data: bool, confirm: str | None = None) -> None:
    """Remove a client; ``confirm`` is its name, typed in advance."""
    decision = remove.plan_removal(session.app, name, delete_data=delete_data)
    session.show(removal_page(name, decision))
    if session.dry_run:
        return _planned(session, removal=decision)
    if decision.blockers:
        raise Blocked(f"{name} may not be removed.", why=" ".join(decision.blockers))
    if confirm is None:
        session.ask.type_name(f"Type the client's name, {name}, to remove it:", name)
    elif confirm != name:
        raise InvalidInput(f"--confirm says {confirm}, but the client is {name}.", hint="Nothing was done.")
    with session.working() as report:
        remove.remove(session.app, name, delete_data=delete_data, report=report)
    again = f"client-manager client create {name} --domain DOMAIN"
    kept = f"{name} is removed. Its data and its key are kept: '{again}' takes them up again."
    session.say(f"{name} and its data are removed." if delete_data else kept, "good")
    session.result(removed=name, decision=decision)
    return None


def end_cut_off(session: Session, name: str, way: str) -> None:
    """Resume or undo an operation that was cut off."""
    operation = recovery.find(session.app, name)
    session.show(operation_text(operation))
    if session.dry_run:
        return _planned(session, operation=operation, way=way)
    with session.working() as report:
        if way == "resume":
            recovery.resume(session.app, name, report)
        else:
            recovery.undo(session.app, name)
    session.say(f"{name}: {'finished' if way == 'resume' else 'everything is as it was before'}.", "good")
    session.result(client=name, way=way)
    return None


def existing(session: Session, name: str) -> ClientSpec:
    """Return a client's spec, for questions with its present values as defaults."""
    return get_spec(session.app, name)


def _planned(session: Session, **fields: object) -> None:
    session.say("Dry run: nothing was done.", "attention")
    session.result(dry_run=True, **fields)
