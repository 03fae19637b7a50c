"""What an operator does with clusters: shown first, confirmed, done, proven. Menus and commands both end here."""

from collections.abc import Generator, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Final

from client_manager.cluster import health
from client_manager.cluster import switch_over as switching
from client_manager.errors import Blocked, InvalidInput, NotFound
from client_manager.gateways.sync_store import SyncStore
from client_manager.menu import watching
from client_manager.menu.session import Session
from client_manager.models.cluster import NodeName, NodeOpinion
from client_manager.models.cluster_plan import ClusterRequest, DeployPlan
from client_manager.sync_node import nodes
from client_manager.views.clusters import cluster_page, cluster_table, health_table, plan_page, step_table, worst
from client_manager.workflows import deploy_cluster as deploy_work
from client_manager.workflows import deploy_plan
from client_manager.workflows import update_cluster as update_work

WATCHED_EVERY_S: Final = 1.0


def list_clusters(session: Session) -> None:
    """Show every cluster."""
    with session.app.sync_store() as store:
        states = [store.state(name) for name in store.clusters()]
    session.show(cluster_table(states))
    session.result(clusters=states)


def show_cluster(session: Session, name: str | None) -> None:
    """Show all of a cluster, with its own nodes' opinions where it is this machine's."""
    with session.app.sync_store() as store:
        name = named(session, store, name)
        state = store.state(name)
    opinions = health.opinions(session.app, name)
    session.show(cluster_page(state, opinions, datetime.now(UTC)))
    session.result(cluster=state, opinions=opinions)


def watch_cluster(session: Session, name: str | None, *, interval_s: float = WATCHED_EVERY_S) -> None:
    """Show a cluster live; one that was named is shown when the database comes back, too."""
    app, cluster = session.app, name or nodes.cluster_here(session.app).name
    watched = watching.Watched(
        lambda: watching.states(app, cluster), lambda: _asked_again(session, cluster), interval_s
    )
    watching.watch(session, watched)


def _asked_again(session: Session, cluster: str) -> Generator[tuple[NodeOpinion, ...], None, None]:
    while True:
        yield health.opinions(session.app, cluster)


def named(session: Session, store: SyncStore, name: str | None) -> str:
    """Return the cluster that is meant: the named one, or this machine's.

    Raises:
        NotFound: nobody has ever heard of it; suggests the nearest name.
    """
    if name is None:
        return nodes.cluster_here(session.app).name
    known = store.clusters()
    if name in known or name in session.app.cluster_files.names():
        return name
    near = get_close_matches(name, known, 1)
    raise NotFound(
        f"There is no cluster {name}.",
        why=f"Did you mean {near[0]}?" if near else f"The database knows {', '.join(known) or 'none'}.",
        hint="client-manager cluster list",
    )


def show_health(session: Session, name: str | None) -> bool:
    """Show what is well and what is not; return whether nothing is critical."""
    cluster = name or nodes.cluster_here(session.app).name
    findings = health.examine(session.app, cluster)
    session.show(health_table(findings))
    session.result(cluster=cluster, verdict=worst(findings), findings=findings)
    return worst(findings) != "critical"


def switch_over(session: Session, name: str | None, *, to: NodeName | None = None) -> None:
    """Let the other node lead."""
    with session.app.sync_store() as store:
        cluster = named(session, store, name)
        lease = store.lease(cluster)
    if lease is not None and lease.is_valid and lease.leader == to:
        session.say(f"{to} leads already; there is nothing to do.", "good")
        return session.result(lease=lease, switched=False)
    leads = lease.leader if lease and lease.is_valid else "nobody"
    session.say(f"{cluster}: {leads} leads now. Jobs under way end first; for less than a second nobody leads.")
    if session.dry_run:
        session.say("Dry run: nothing was done.", "attention")
        return session.result(dry_run=True, lease=lease, to=to)
    session.confirm(f"Let {to or 'the other node'} lead?")
    with session.working() as report:
        after = switching.switch_over(session.app, cluster, report, to=to)
    session.say(f"{after.leader} leads, term {after.term}.", "good")
    return session.result(lease=after, switched=True)


def update_cluster(session: Session, name: str | None, only: Sequence[NodeName] = nodes.NODES) -> None:
    """Make nodes anew from today's image, never both at once."""
    cluster = nodes.cluster_here(session.app, name).name
    steps = update_work.plan_update(session.app, cluster, only)
    session.show(step_table(steps))
    if all(step.action == "unchanged" for step in steps):
        session.say("Everything is up to date; there is nothing to do.", "good")
        return session.result(updated=False, steps=steps)
    if session.dry_run:
        session.say("Dry run: nothing was done.", "attention")
        return session.result(dry_run=True, steps=steps)
    session.confirm(f"Update {', '.join(only)} of {cluster}? One after the other; the one that leads hands over first.")
    with session.working() as report:
        state = update_work.update(session.app, cluster, report, nodes=only)
    leads = state.lease.leader if state.lease and state.lease.is_valid else "nobody"
    session.say(f"{', '.join(only)} {'is' if len(only) == 1 else 'are'} up to date; {leads} leads.", "good")
    return session.result(updated=True, steps=steps, cluster=state)


def deploy_cluster(session: Session, request: ClusterRequest, *, confirm: str | None = None) -> None:
    """Deploy a cluster on this machine, or make it what it should be; ``confirm`` is its name, typed in advance.

    Raises:
        Blocked: a check stands in the way.
        InvalidInput: what was to confirm a take-over is not the cluster's name.
    """
    plan = deploy_plan.plan_deploy(session.app, request.name, request)
    session.show(plan_page(plan))
    if session.dry_run:
        session.say("Dry run: nothing was done.", "attention")
        session.result(dry_run=True, plan=plan)
    _require_unblocked(plan)
    if session.dry_run:
        return
    if not plan.changes:
        session.say(f"{plan.name} is as it should be; there is nothing to do.", "good")
        session.result(deployed=False, plan=plan)
        return
    _confirm(session, plan, confirm)
    _deploy(session, plan)


def _require_unblocked(plan: DeployPlan) -> None:
    if plan.blockers:
        names = ", ".join(dict.fromkeys(check.name for check in plan.blockers))
        raise Blocked(f"{plan.name} cannot be deployed: {names}.", hint=plan.blockers[0].hint)


def _confirm(session: Session, plan: DeployPlan, confirm: str | None) -> None:
    if not plan.request.take_over:
        session.confirm(f"Deploy {plan.name} on this machine?")
    elif confirm is None:
        session.ask.type_name(f"Type the cluster's name, {plan.name}, to take its clients over:", plan.name)
    elif confirm != plan.name:
        raise InvalidInput(f"--confirm says {confirm}, but the cluster is {plan.name}.", hint="Nothing was done.")


def _deploy(session: Session, plan: DeployPlan) -> None:
    with session.working() as report:
        state = deploy_work.deploy(session.app, plan, report)
    leads = state.lease.leader if state.lease and state.lease.is_valid else "nobody"
    session.say(f"{plan.name} is deployed; {leads} leads.", "good")
    session.show(cluster_page(state, health.opinions(session.app, plan.name), datetime.now(UTC)))
    session.result(deployed=True, plan=plan, cluster=state)
