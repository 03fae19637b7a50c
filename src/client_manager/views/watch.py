"""The live screen of a cluster: all of it on one terminal, the urgent first, and never a line more than fits."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from rich.cells import cell_len
from rich.text import Text

from client_manager.models.cluster import ClusterState, NodeOpinion
from client_manager.models.sync import Deployment, Job
from client_manager.views.clusters import HOST_HEADINGS, heartbeat_of_host, server_clock
from client_manager.views.lines import Cell, cut, row_lines
from client_manager.views.nodes import NODE_HEADINGS, leader_words, node_row, opinion_of
from client_manager.views.sync import SYNC_HEADINGS, job_row, sync_row, sync_state, worst_first
from client_manager.views.text import one_line, span

_JOB_HEADINGS: Final = ("JOB", "KIND", "STATE", "BY", "SINCE", "TABLES", "ROWS")
_MOST_HOSTS: Final = 3
_MOST_NODES: Final = 4
_MOST_JOBS: Final = 5
_MOST_FAILURES: Final = 3


@dataclass(frozen=True)
class Trouble:
    """Why there is no newer picture, and since when."""

    since: datetime
    why: str


@dataclass(frozen=True)
class Screen:
    """What there is to draw on, in columns and lines, and the key that leaves."""

    width: int = 80
    height: int = 24
    leave: str = "q: leave"


def watch_screen(
    picture: tuple[ClusterState, datetime] | None,
    opinions: Sequence[NodeOpinion],
    trouble: Trouble | None,
    now: datetime,
    screen: Screen = Screen(),
) -> Text:
    """Return the screen.

    Args:
        picture: the last state that was read, and when; None before the first.
        opinions: what the nodes said last; empty where they were not asked.
        trouble: why nothing newer is there; None: the picture is of now.
        now: by this machine's clock; ages come from the server's.
        screen: what there is to draw on.
    """
    top = _trouble_lines(trouble, picture[1] if picture else None, now, screen.width)
    if picture is None:
        return Text("\n").join([*top, Text(f"Asking the database...  ({screen.leave})")])
    body = _body(picture[0], opinions, now, replace(screen, height=screen.height - len(top)))
    if trouble:
        for line in body:
            line.stylize("dim")
    return Text("\n", no_wrap=True, overflow="crop").join([*top, *body])


def _trouble_lines(trouble: Trouble | None, read_at: datetime | None, now: datetime, width: int) -> list[Text]:
    if trouble is None:
        return []
    gone = f"NO ANSWER since {trouble.since.astimezone(now.tzinfo):%H:%M:%S} ({_ago(trouble.since, now)})"
    old = (
        f"; what follows is OLD, of {read_at.astimezone(now.tzinfo):%H:%M:%S} ({_ago(read_at, now)} ago)"
        if read_at
        else ""
    )
    return [Text(cut(f"{gone}{old}.", width), style="bad"), Text(cut(trouble.why, width), style="bad")]


def _ago(moment: datetime, now: datetime) -> str:
    return span((now - moment).total_seconds())


def _body(state: ClusterState, opinions: Sequence[NodeOpinion], now: datetime, screen: Screen) -> list[Text]:
    width, server_now = screen.width, server_clock(state, now)
    before = [[_title(state, now, screen), _leader(state, width)], _hosts(state, width), _nodes(state, opinions, width)]
    after = [
        _jobs([job for job in state.jobs if not job.is_over], server_now, width),
        _failures([job for job in state.jobs if job.status == "failed"], server_now, width),
    ]
    room = screen.height - sum(map(len, [*before, *after]))
    return _spaced([*before, _clients(state.deployments, room, width), *after], screen.height)


def _spaced(sections: Sequence[list[Text]], height: int) -> list[Text]:
    """Return the sections below each other, apart where there is room for that."""
    apart = sum(map(len, sections)) + len(sections) - 1 <= height
    lines = [line for section in sections for line in ([Text(), *section] if apart else section)]
    return lines[int(apart) :][:height]


def _title(state: ClusterState, now: datetime, screen: Screen) -> Text:
    counts = ", ".join(
        f"{len(things)} {word}{'' if len(things) == 1 else 's'}"
        for things, word in ((state.hosts, "host"), (state.nodes, "node"), (state.deployments, "client"))
    )
    right, width = f"{now:%H:%M:%S %Z}  {screen.leave}", screen.width
    left = cut(f"Cluster {one_line(state.name)}: {counts}", width - len(right) - 2)
    return Text.assemble((left, "heading"), " " * (width - len(right) - cell_len(left)), (right, "quiet"))


def _leader(state: ClusterState, width: int) -> Text:
    words, style = leader_words(state.lease)
    return Text(cut(words if style == "bad" else f"Leader {words}", width), style=style)


def _hosts(state: ClusterState, width: int) -> list[Text]:
    rows: list[list[Cell]] = [
        [
            (host.hostname, ""),
            (host.status or "-", "good" if host.status == "active" else "attention"),
            heartbeat_of_host(host.heartbeat_age_s, stale=host.is_stale),
            (f"{host.deployments} ({host.enabled} replicated)", ""),
        ]
        for host in state.hosts
    ]
    if not rows:
        return [Text("No host is registered.", style="quiet")]
    return _section(HOST_HEADINGS, rows, _MOST_HOSTS, width, gives=(0,))


def _nodes(state: ClusterState, opinions: Sequence[NodeOpinion], width: int) -> list[Text]:
    if not state.nodes:
        return [Text("No node has ever reported.", style="quiet")]
    rows = [node_row(node, state.lease, opinion_of(opinions, node.node_name)) for node in state.nodes]
    return _section(NODE_HEADINGS, rows, _MOST_NODES, width, gives=(5, 4, 0))


def _clients(clients: Sequence[Deployment], room: int, width: int) -> list[Text]:
    if not clients:
        return [Text("No client is registered.", style="quiet")]
    ordered = worst_first(clients)
    fitting = ordered if len(ordered) < room else ordered[: max(0, room - 2)]
    rows = [sync_row(client) for client in fitting]
    lines = row_lines(SYNC_HEADINGS, rows, width, gives=(5, 0, 1))
    rest = ordered[len(fitting) :]
    return [*lines, _rest_of(rest, width)] if rest else lines


def _rest_of(clients: Sequence[Deployment], width: int) -> Text:
    words: dict[str, int] = {}
    for client in clients:
        word = sync_state(client)[0]
        words[word] = words.get(word, 0) + 1
    counts = ", ".join(f"{count} {word}" for word, count in words.items())
    return Text(cut(f"and {len(clients)} more clients: {counts}", width), style="quiet")


def _jobs(jobs: Sequence[Job], now: datetime, width: int) -> list[Text]:
    if not jobs:
        return [Text("No job is under way.", style="quiet")]
    running = sorted(jobs, key=lambda job: job.status != "running")
    return _section(_JOB_HEADINGS, [job_row(job, now) for job in running], _MOST_JOBS, width, gives=(0, 3, 2))


def _failures(jobs: Sequence[Job], now: datetime, width: int) -> list[Text]:
    if not jobs:
        return [Text("No job has failed.", style="quiet")]
    rows: list[list[Cell]] = [
        [
            (job.client_name, ""),
            (f"{span((now - job.completed_at).total_seconds())} ago" if job.completed_at else "-", ""),
            (job.error_message or "it does not say why", "bad"),
        ]
        for job in jobs
    ]
    return row_lines(("LAST FAILURES", "WHEN", "WHY"), rows[:_MOST_FAILURES], width, gives=(2, 0))


def _section(
    headings: Sequence[str], rows: Sequence[Sequence[Cell]], most: int, width: int, *, gives: Sequence[int]
) -> list[Text]:
    shown = rows if len(rows) <= most else rows[: most - 1]
    lines = row_lines(headings, shown, width, gives=gives)
    if len(shown) < len(rows):
        lines.append(Text(f"and {len(rows) - len(shown)} more", style="quiet"))
    return lines
