"""Sync nodes on the screen: what the database has of them, and what they say themselves."""

import json
from collections.abc import Sequence
from datetime import UTC
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from client_manager.models.cluster import ClusterState, NodeOpinion
from client_manager.models.sync import Lease, SyncNode
from client_manager.models.sync_node import NodeStatus
from client_manager.views.lines import Cell
from client_manager.views.text import one_line, plain, span

# A node writes its heartbeat every two seconds, and loses the lead after eight.
_SILENT_AFTER_S: Final = 10
_SKEWED_FROM_S: Final = 2
_LEVELS: Final = {"warning": "attention", "error": "bad", "critical": "bad"}
_SAID_ALREADY: Final = frozenset({"ts", "level", "event", "node", "cluster"})


def node_state(node: SyncNode, lease: Lease | None) -> Cell:
    """Return what a node is, as the database has it: leader, standby, silent or stopped."""
    if node.stopped_at is not None:
        return "stopped", "attention"
    if node.heartbeat_age_s > _SILENT_AFTER_S:
        return "silent", "bad"
    if lease is not None and lease.is_valid and lease.leader == node.node_name:
        return "leader", "good"
    return "standby", "good"


def heartbeat(seconds: float | None) -> Cell:
    """Return how long ago a heartbeat was."""
    if seconds is None:
        return "never", "bad"
    return f"{span(seconds)} ago", "bad" if seconds > _SILENT_AFTER_S else ""


def clock(node: SyncNode) -> Cell:
    """Return how far a node's clock is from the server's."""
    skew = node.clock_skew_seconds
    if skew is None:
        return "-", "quiet"
    if abs(skew) < _SKEWED_FROM_S:
        return f"{abs(skew):.1f}s off", ""
    return f"{span(abs(skew))} {'behind' if skew > 0 else 'ahead'}", "attention"


def opinion_words(opinion: NodeOpinion | None, lease: Lease | None) -> Cell:
    """Return what a node says of itself; that it leads although the lease is another's is a fault."""
    if opinion is None:
        return "not asked", "quiet"
    if not opinion.reachable:
        return f"no answer: {opinion.problem or 'nothing listens'}", "bad"
    if not opinion.healthy:
        return f"unhealthy: {opinion.problem or 'it does not say why'}", "bad"
    if opinion.is_leader:
        return f"I lead, term {opinion.term}", "good" if _leads(opinion, lease) else "bad"
    return (f"{name_of(opinion.leader_id)} leads", "good") if opinion.leader_id else ("nobody leads", "bad")


def _leads(opinion: NodeOpinion, lease: Lease | None) -> bool:
    if lease is None or not lease.is_valid:
        return False
    return opinion.node_id == lease.leader_id if opinion.node_id else opinion.node_name == lease.leader


def name_of(node_id: str) -> str:
    """Return the node's name out of its name and boot."""
    return node_id.partition("/")[0]


def opinion_of(opinions: Sequence[NodeOpinion], name: str) -> NodeOpinion | None:
    """Return what this node says, if it was asked."""
    return next((opinion for opinion in opinions if opinion.node_name == name), None)


NODE_HEADINGS: Final = ("NODE", "STATE", "HEARTBEAT", "CLOCK", "VERSION", "SAYS OF ITSELF")


def node_row(node: SyncNode, lease: Lease | None, opinion: NodeOpinion | None) -> list[Cell]:
    """Return a node's cells in the order of the headings."""
    return [
        (node.node_name, ""),
        node_state(node, lease),
        ("-", "quiet") if node.stopped_at else heartbeat(node.heartbeat_age_s),
        clock(node),
        (node.version, ""),
        opinion_words(opinion, lease),
    ]


def status_table(nodes: Sequence[NodeStatus]) -> RenderableType:
    """Return the nodes of this machine: what Docker has of them, and what they say."""
    if not nodes:
        return Text("No sync node is deployed on this machine. 'client-manager cluster deploy NAME' deploys two.")
    rows = [
        [(each.node, ""), (each.cluster, ""), container_state(each), said_by(each), (f"127.0.0.1:{each.port}", "")]
        for each in nodes
    ]
    return folded_table(("NODE", "CLUSTER", "CONTAINER", "SAYS OF ITSELF", "API"), rows)


def container_state(node: NodeStatus) -> Cell:
    """Return how a node's container is, and whether it is what it should be."""
    if not node.running:
        return node.state, "bad" if node.state == "missing" else "attention"
    return ("running", "good") if node.current else ("running, not up to date", "attention")


def said_by(node: NodeStatus) -> Cell:
    """Return what a node says of itself, where nobody has asked the database."""
    opinion = node.opinion
    if not node.running and not opinion.reachable:
        return "nothing, it does not run", "quiet"
    if not opinion.reachable or not opinion.healthy:
        return opinion_words(opinion, None)
    if opinion.is_leader:
        return f"I lead, term {opinion.term}", "good"
    return (f"{name_of(opinion.leader_id)} leads", "good") if opinion.leader_id else ("nobody leads", "bad")


def container_page(node: NodeStatus, *, alone: bool) -> RenderableType:
    """Return what Docker has of a node; ``alone``, where the database has nothing to add, also what it says."""
    facts: list[tuple[str, Cell]] = [
        ("Node", (f"{node.node} of {node.cluster}", "heading")),
        ("Container", (f"{node.container}, restarts: {node.restarts}", "")),
        ("State", container_state(node)),
        ("Image", (node.image or "-", "")),
        ("API", (f"127.0.0.1:{node.port}", "")),
    ]
    return fact_grid([*facts, ("Opinion", said_by(node))] if alone else facts)


def node_page(state: ClusterState, name: str, opinion: NodeOpinion | None) -> RenderableType:
    """Return a node's place in its cluster: what it is, what it says, and who leads."""
    node = next((node for node in state.nodes if node.node_name == name), None)
    if node is None:
        return Text(f"{name} has never reported to the cluster {one_line(state.name)}.", style="bad")
    facts: list[tuple[str, Cell]] = [
        ("Cluster", (f"{state.name}, on {node.hostname}", "")),
        ("Leader", leader_words(state.lease)),
        ("Role", node_state(node, state.lease)),
        ("Opinion", opinion_words(opinion, state.lease)),
        ("Heartbeat", heartbeat(node.heartbeat_age_s)),
        ("Clock", clock(node)),
        ("Version", (node.version, "")),
        ("Started", (f"{node.started_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC", "")),
    ]
    return fact_grid(facts)


def log_line(line: str) -> Text:
    """Return a line of a node's log as a person reads it; one that is no JSON object is shown as it is."""
    try:
        fields = json.loads(line)
    except ValueError:
        return Text(plain(line))
    if not isinstance(fields, dict) or "event" not in fields:
        return Text(plain(line))
    level = str(fields.get("level", ""))
    text = Text(str(fields.get("ts", ""))[:19].replace("T", " "), style="quiet")
    text.append(f"  {plain(level):7} ", _LEVELS.get(level, "")).append(plain(str(fields["event"])), "heading")
    for name, value in fields.items():
        if name not in _SAID_ALREADY and value is not None:
            text.append(f"  {plain(name)}=", "quiet").append(
                plain(value if isinstance(value, str) else json.dumps(value))
            )
    return text


def leader_words(lease: Lease | None) -> Cell:
    """Return who leads and for how long yet, or that nobody does."""
    if lease is None:
        return "NOBODY LEADS: there has been no leader yet", "bad"
    if not lease.is_valid:
        return f"NOBODY LEADS: the lease of {lease.leader} ran out {span(-lease.seconds_left)} ago", "bad"
    words = f"{lease.leader}, term {lease.term}, lease {lease.seconds_left:.1f}s"
    return (f"{words}; handing over to {lease.wanted_name}", "attention") if lease.wanted_name else (words, "good")


def opinion_page(opinion: NodeOpinion) -> RenderableType:
    """Return what a node answers when it is asked how it is."""
    verdict: Cell = ("healthy", "good") if opinion.reachable and opinion.healthy else ("unhealthy", "bad")
    facts: list[tuple[str, Cell]] = [
        ("Node", (opinion.node_name, "")),
        ("Health", verdict if opinion.reachable else ("no answer", "bad")),
    ]
    if opinion.problem:
        facts.append(("Problem", (opinion.problem, "bad")))
    if opinion.reachable:
        facts += [
            ("Leads", ("yes" if opinion.is_leader else "no", "")),
            ("Leader", (name_of(opinion.leader_id) if opinion.leader_id else "nobody", "")),
            ("Term", (str(opinion.term or "-"), "")),
            ("Last sync", (f"{span(opinion.last_sync_age_s)} ago" if opinion.last_sync_age_s is not None else "-", "")),
            ("Up for", (span(opinion.uptime_seconds), "")),
        ]
    return fact_grid(facts)


def fact_grid(facts: Sequence[tuple[str, Cell]]) -> Table:
    """Return facts below each other, folded where they are long."""
    grid = Table.grid(padding=(0, 2), pad_edge=False)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for heading, (text, style) in facts:
        grid.add_row(Text(heading, style="quiet"), Text(one_line(text), style=style))
    return grid


def folded_table(headings: Sequence[str], rows: Sequence[Sequence[Cell]]) -> RenderableType:
    """Return a table that cuts nothing: what is long is folded, so that it can be read and copied."""
    table = Table(box=None, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0), header_style="quiet")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(Text(one_line(text), style=style) for text, style in row))
    return Group(table)
