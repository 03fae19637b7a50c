"""The replication of clients on the screen: how far each replica is, and the runs that make it so."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from client_manager.models.client_sync import Registration
from client_manager.models.cluster_plan import Check
from client_manager.models.sync import Deployment, Job, TableProgress
from client_manager.views.lines import Cell, row_lines
from client_manager.views.nodes import fact_grid, folded_table
from client_manager.views.text import one_line, plain, span

_ORDER: Final = ("bad", "attention", "", "good", "quiet")
_LATE_AFTER_INTERVALS: Final = 3  # as the cluster's health has it
_JOB_STYLES: Final = {"success": "good", "failed": "bad", "cancelled": "attention", "running": "", "queued": "quiet"}
_BAR_WIDTH: Final = 10
SEVERITIES: Final = {"ok": "good", "warning": "attention", "critical": "bad"}
_KINDS: Final = {"new": "", "again": "it is registered again", "adopted": "it is taken over, with its replica"}


def sync_state(client: Deployment) -> Cell:
    """Return how a client's replication is, in one word or two, and how urgent that is."""
    if client.replica_status not in {None, "new", "ok"}:
        return str(client.replica_status).replace("_", " "), "bad"
    if not client.sync_enabled or client.status != "active":
        return ("off" if client.status in {"active", None} else str(client.status)), "quiet"
    if client.last_sync_status == "failed":
        return "failed", "bad"
    if client.lag_s is None:
        return "no replica yet", "attention"
    late = client.lag_s > _LATE_AFTER_INTERVALS * client.sync_interval
    return ("late", "attention") if late else ("ok", "good")


def worst_first(clients: Sequence[Deployment]) -> list[Deployment]:
    """Return clients in the order in which they want to be looked at."""
    return sorted(clients, key=lambda client: (_ORDER.index(sync_state(client)[1]), -(client.lag_s or 0)))


SYNC_HEADINGS: Final = ("CLIENT", "SYNC", "LAG", "EVERY", "LAST RUN", "REASON")


def sync_row(client: Deployment) -> list[Cell]:
    """Return a client's cells in the order of the headings."""
    return [
        (client.client_name, ""),
        sync_state(client),
        (span(client.lag_s), ""),
        (f"{client.sync_interval}s", ""),
        (client.last_sync_status or "never", _JOB_STYLES.get(client.last_sync_status or "", "quiet")),
        (client.replica_reason or "", ""),
    ]


def sync_table(clients: Sequence[Deployment]) -> RenderableType:
    """Return the replication of all clients."""
    if not clients:
        return Text("No client is registered. 'client-manager sync register CLIENT' registers one.")
    return folded_table(SYNC_HEADINGS, [sync_row(client) for client in clients])


def sync_page(client: Deployment, jobs: Sequence[Job], now: datetime) -> RenderableType:
    """Return the replication of one client, and its latest runs."""
    facts: list[tuple[str, Cell]] = [
        ("Client", (f"{client.client_name}, container {client.container_name}", "")),
        ("Cluster", (f"{client.cluster_name or '-'}, on {client.hostname or '-'}", "")),
        ("Sync", sync_state(client)),
    ]
    if client.replica_reason:
        facts.append(("Reason", (client.replica_reason, "bad")))
    facts += [
        ("Interval", (f"{client.sync_interval} s", "")),
        ("Lag", (span(client.lag_s), "")),
        ("Last run", (f"{client.last_sync_status or 'never'}, {_moment(client.last_sync_at)}", "")),
        ("Next run", (_moment(client.next_sync_at) if client.sync_enabled else "none", "")),
        ("Generation", (str(client.generation or "-"), "")),
        ("Verified", (_moment(client.verified_at), "")),
        ("Quarantine", _counted(client.quarantined, "value")),
        ("Conflicts", _counted(client.open_conflicts, "open one")),
    ]
    return Group(fact_grid(facts), Text(""), job_table(jobs, now))


def _counted(number: int, what: str) -> Cell:
    return (f"{number} {what}{'' if number == 1 else 's'}", "attention") if number else ("none", "")


def registration_page(wanted: Registration, *, enable: bool) -> RenderableType:
    """Return what a registration will write."""
    facts: list[tuple[str, Cell]] = [
        ("Client", (f"{wanted.client}, container {wanted.container}", "")),
        ("Cluster", (f"{wanted.cluster}, on {wanted.hostname}", "")),
        ("Database", (str(wanted.database), "")),
        ("Replica", (f"the schema {wanted.client}, owned by sync_owner_{wanted.client}", "")),
        ("Interval", (f"{wanted.interval_s} s", "")),
        ("Begins", ("at once" if enable else "when it is started", "")),
    ]
    if wanted.was:
        facts.append(("Until now", (f"registered {wanted.was}: {_KINDS[wanted.kind]}", "attention")))
    return fact_grid(facts)


def check_table(checks: Sequence[Check]) -> RenderableType:
    """Return what was looked at before something is done, each with its remedy."""
    table = Table.grid(padding=(0, 2), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        text = Text(plain(check.what))
        if check.hint and check.severity != "ok":
            text.append("\nNext: ", "heading").append(plain(check.hint))
        table.add_row(Text(check.severity, style=SEVERITIES[check.severity]), Text(one_line(check.name)), text)
    return table


def _moment(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if moment else "-"


def job_table(jobs: Sequence[Job], now: datetime) -> RenderableType:
    """Return runs, the reason below each that failed."""
    if not jobs:
        return Text("There have been no runs yet.")
    rows = [[(str(job.job_id)[:8], "quiet"), *job_row(job, now)] for job in jobs]
    table = folded_table(("JOB", *JOB_HEADINGS), rows)
    reasons = [reason_line(job) for job in jobs if job.error_message]
    return Group(table, *([Text("")] if reasons else []), *reasons)


JOB_HEADINGS: Final = ("CLIENT", "KIND", "STATE", "BY", "SINCE", "TABLES", "ROWS")


def job_row(job: Job, now: datetime) -> list[Cell]:
    """Return a run's cells in the order of the headings; ``now`` is by the server's clock."""
    ending = " (to be cancelled)" if job.cancel_requested_at and not job.is_over else ""
    since = job.completed_at if job.is_over else job.started_at
    return [
        (job.client_name, ""),
        (job.sync_type or "-", ""),
        (job.status + ending, _JOB_STYLES[job.status]),
        (job.triggered_by or "-", ""),
        (span((now - since).total_seconds()) if since else "-", ""),
        (tables_words(job), ""),
        (str(job.rows_synced if job.rows_synced is not None else "-"), ""),
    ]


def tables_words(job: Job) -> str:
    """Return how many tables of how many are done, with a bar while they are being done."""
    if job.tables_total is None:
        return "-"
    words = f"{job.tables_synced or 0}/{job.tables_total}"
    return (
        words if job.is_over or not job.tables_total else f"{bar((job.tables_synced or 0) / job.tables_total)} {words}"
    )


def reason_line(job: Job) -> Text:
    """Return why a run failed."""
    line = Text.assemble((str(job.job_id)[:8], "quiet"), f"  {one_line(job.client_name)}: ")
    return line.append(one_line(job.error_message or "it does not say why"), "bad")


def bar(fraction: float) -> str:
    """Return a bar that every terminal can show."""
    full = round(min(1.0, max(0.0, fraction)) * _BAR_WIDTH)
    return f"[{'#' * full}{'-' * (_BAR_WIDTH - full)}]"


def progress_lines(job: Job, tables: Sequence[TableProgress], *, width: int, height: int) -> Text:
    """Return a run that is under way, table by table: those at work first, and no more than fit."""
    head = Text.assemble((f"{plain(job.client_name)}: ", "heading"), f"{job.sync_type or 'sync'}, {job.status}")
    done = sum(table.status == "success" for table in tables)
    total = job.tables_total or len(tables)
    head.append(f"  {bar(done / total)} {done} of {total} tables" if total else "  waiting for the leader")
    first = sorted(tables, key=lambda table: (table.status == "success", table.table_name))
    shown = first[: max(0, height - 3)]
    rows = [_table_row(table) for table in shown]
    lines = row_lines(("TABLE", "STATE", "ROWS", ""), rows, width, gives=(0,)) if rows else []
    if len(shown) < len(tables):
        lines.append(Text(f"and {len(tables) - len(shown)} more tables", style="quiet"))
    return Text("\n").join([head, *lines])


def _table_row(table: TableProgress) -> list[Cell]:
    done, total = table.rows_processed or 0, table.rows_total
    style = {"success": "good", "failed": "bad"}.get(table.status or "", "")
    return [
        (table.table_name, ""),
        (table.status or "-", style),
        (f"{done}/{total}" if total is not None else str(done), ""),
        (bar(done / total) if total else "", ""),
    ]
