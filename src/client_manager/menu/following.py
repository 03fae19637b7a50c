"""Following a job table by table, until it is over or the operator looks away; the job does not mind either way."""

import time
from collections.abc import Iterator
from typing import Final
from uuid import UUID

from rich.live import Live

from client_manager.errors import ClientManagerError, NotFound
from client_manager.gateways.sync_store import SyncStore
from client_manager.menu.progress import deaf_keyboard
from client_manager.menu.session import Session
from client_manager.models.sync import Job, TableProgress
from client_manager.views.sync import progress_lines

_LOOKED_AT_EVERY_S: Final = 0.5
# Below the menu's own lines there is room for so many.
_MOST_LINES: Final = 18

Look = tuple[Job, tuple[TableProgress, ...]]


def follow(session: Session, job_id: UUID) -> Job | None:
    """Show a job until it is over, and return it; None where the operator pressed Ctrl-C, which leaves it running.

    Raises:
        NotFound: there is no such job.
        ClientManagerError: the database does not answer any more; says that the job goes on.
    """
    try:
        with session.app.sync_store() as store:
            return _follow(session, _looks(store, job_id))
    except KeyboardInterrupt:
        return None
    except NotFound:
        raise
    except ClientManagerError as error:
        error.add_note(f"The job {job_id} is not ended by this: 'client-manager sync jobs' shows it.")
        raise


def _follow(session: Session, looks: Iterator[Look]) -> Job:
    console = session.console
    job, tables = next(looks)
    if session.as_json or not console.is_terminal or console.is_dumb_terminal:
        return _in_lines(session, job, looks)
    with deaf_keyboard(), Live(console=console, auto_refresh=False, transient=True) as live:
        while not job.is_over:
            height = min(_MOST_LINES, console.height - 2)
            live.update(progress_lines(job, tables, width=console.width, height=height), refresh=True)
            job, tables = next(looks)
    return job


def _in_lines(session: Session, job: Job, looks: Iterator[Look]) -> Job:
    """Say in a line how far the job is whenever that has changed; with ``--json`` only its end counts."""
    said = ""
    while not job.is_over:
        line = f"- {job.status}, {job.tables_synced or 0} of {job.tables_total or '?'} tables"
        if line != said:
            session.say(line)
            said = line
        job, _ = next(looks)
    return job


def _looks(store: SyncStore, job_id: UUID) -> Iterator[Look]:
    while True:
        job = store.job(job_id)
        if job is None:
            raise NotFound(f"There is no job {job_id}.", why="It was deleted.", hint="client-manager sync jobs")
        yield job, () if job.is_over else store.progress(job_id)
        time.sleep(_LOOKED_AT_EVERY_S)
