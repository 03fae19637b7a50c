"""Clusters on the screen: all of them, one of them, and how healthy it is."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from client_manager.models.cluster import ClusterState, HealthFinding, NodeOpinion
from client_manager.models.cluster_plan import DeployPlan, PlanStep
from client_manager.views.lines import Cell
from client_manager.views.nodes import (
    NODE_HEADINGS,
    fact_grid,
    folded_table,
    heartbeat,
    leader_words,
    node_row,
    node_state,
    opinion_of,
)
from client_manager.views.sync import SEVERITIES, check_table, job_table, sync_table, worst_first
from client_manager.views.text import one_line, plain


def cluster_table(states: Sequence[ClusterState]) -> RenderableType:
    """Return every cluster with its leader."""
    if not states:
        return Text("There is no cluster yet. 'client-manager cluster deploy NAME' makes one on this machine.")
    rows = [_cluster_row(state) for state in states]
    return folded_table(("CLUSTER", "LEADER", "HOSTS", "NODES", "CLIENTS", "REPLICATED"), rows)


def _cluster_row(state: ClusterState) -> list[Cell]:
    leads = state.lease is not None and state.lease.is_valid
    nodes = ", ".join(f"{node.node_name} {node_state(node, state.lease)[0]}" for node in state.nodes)
    return [
        (state.name, ""),
        (state.lease.leader, "good") if leads and state.lease else ("nobody leads", "bad"),
        (", ".join(host.hostname for host in state.hosts) or "-", ""),
        (nodes or "-", ""),
        (str(len(state.deployments)), ""),
        (str(sum(client.sync_enabled for client in state.deployments)), ""),
    ]


def cluster_page(state: ClusterState, opinions: Sequence[NodeOpinion], now: datetime) -> RenderableType:
    """Return all of a cluster; nothing is cut."""
    facts: list[tuple[str, Cell]] = [("Cluster", (state.name, "heading")), ("Leader", leader_words(state.lease))]
    hosts: list[list[Cell]] = [
        [
            (host.hostname + (" (the predecessor's node)" if host.is_predecessor_node else ""), ""),
            (host.status or "-", ""),
            heartbeat_of_host(host.heartbeat_age_s, stale=host.is_stale),
            (f"{host.deployments} ({host.enabled} replicated)", ""),
        ]
        for host in state.hosts
    ]
    nodes = [node_row(node, state.lease, opinion_of(opinions, node.node_name)) for node in state.nodes]
    parts: list[RenderableType] = [fact_grid(facts)]
    if hosts:
        parts += [Text(), folded_table(HOST_HEADINGS, hosts)]
    if nodes:
        parts += [Text(), folded_table(NODE_HEADINGS, nodes)]
    parts += [Text(), sync_table(worst_first(state.deployments))]
    if state.jobs:
        parts += [Text(), job_table(state.jobs, server_clock(state, now))]
    return Group(*parts)


HOST_HEADINGS: Final = ("HOST", "STATE", "HEARTBEAT", "CLIENTS")


def heartbeat_of_host(seconds: float | None, *, stale: bool) -> Cell:
    """Return how long ago a machine was heard of; it writes that every ten seconds."""
    return heartbeat(seconds)[0], "bad" if stale else ""


def server_clock(state: ClusterState, now: datetime) -> datetime:
    """Return the server's clock when the state was read; where nothing tells it, this machine's."""
    if state.lease:
        return state.lease.expires_at - timedelta(seconds=state.lease.seconds_left)
    ages = [node.last_heartbeat + timedelta(seconds=node.heartbeat_age_s) for node in state.nodes]
    return max(ages, default=now)


def health_table(findings: Sequence[HealthFinding]) -> RenderableType:
    """Return what is as it should be and what is not, the worst first, and the way out below it."""
    order = ["critical", "warning", "ok"]
    grid = Table.grid(padding=(0, 2), pad_edge=False)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for finding in sorted(findings, key=lambda finding: order.index(finding.severity)):
        text = Text(plain(finding.what))
        if finding.hint:
            text.append("\nNext: ", "heading").append(plain(finding.hint))
        grid.add_row(Text(finding.severity, style=SEVERITIES[finding.severity]), text)
    return grid


def plan_page(plan: DeployPlan) -> RenderableType:
    """Return what a deployment has looked at, and what it will do."""
    checks = check_table(plan.checks)
    if plan.blockers:
        return checks
    return Group(checks, Text(), step_table(plan.steps))


def step_table(steps: Sequence[PlanStep]) -> RenderableType:
    """Return what will be made, changed, or left as it is."""
    rows: list[list[Cell]] = [
        [(step.action, "quiet" if step.action == "unchanged" else "attention"), (step.subject, ""), (step.what, "")]
        for step in steps
    ]
    return folded_table(("WHAT", "OF", ""), rows)


def worst(findings: Sequence[HealthFinding]) -> str:
    """Return how a cluster is by its worst finding; where nothing was found, nothing was checked."""
    severities = {finding.severity for finding in findings}
    return next((word for word in ("critical", "warning", "ok") if word in severities), "critical")


def check_line(name: str, findings: Sequence[HealthFinding], state: ClusterState | None) -> str:
    """Return one line as monitoring plugins write it: the verdict, why, and the figures after a bar.

    The format is the Monitoring Plugins Development Guidelines' (section on performance data).
    """
    word = worst(findings)
    reasons = [finding.what for finding in findings if finding.severity == word and word != "ok"]
    said = "; ".join(reasons) or "; ".join(finding.what for finding in findings) or "nothing could be checked"
    text = f"CLUSTER {word.upper()} - {one_line(name)}: {one_line(said).replace('|', '/')}"
    return f"{text} | {' '.join(_figures(state))}" if state else text


def _figures(state: ClusterState) -> list[str]:
    left = state.lease.seconds_left if state.lease else 0.0
    lags = [client.lag_s for client in state.deployments if client.sync_enabled and client.lag_s is not None]
    failing = sum(client.last_sync_status == "failed" for client in state.deployments if client.sync_enabled)
    return [
        f"lease={max(0.0, left):.1f}s;;;0",
        f"nodes={sum(node_state(node, state.lease)[0] in {'leader', 'standby'} for node in state.nodes)};;;0",
        f"clients={len(state.deployments)};;;0",
        f"replicated={sum(client.sync_enabled for client in state.deployments)};;;0",
        f"max_lag={max(lags, default=0.0):.0f}s;;;0",
        f"failing={failing};;;0",
        f"jobs={sum(not job.is_over for job in state.jobs)};;;0",
    ]
