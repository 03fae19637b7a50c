"""The database and its migrations, on the screen."""

from rich.text import Text

from client_manager.models.database import DatabaseStatus
from client_manager.views.text import plain


def status_lines(status: DatabaseStatus) -> Text:
    """Return which database answers, and how far its schema is."""
    kind = "embedded PostgreSQL" if status.embedded else "PostgreSQL"
    text = Text(f"{plain(status.name)}: {kind} {plain(status.server_version)}")
    if status.read_only:
        text.append("\nThe server only lets us read.", style="attention")
    if status.pending:
        text.append(f"\n{len(status.pending)} migrations are not applied: client-manager database migrate", "attention")
    else:
        text.append(f"\nsync_metadata is up to date: {len(status.migrations)} migrations applied.", style="good")
    return text


def migration_lines(status: DatabaseStatus) -> Text:
    """Return what is not applied yet."""
    return Text("\n").join(
        Text(f"  {migration.version:04} {migration.name.replace('_', ' ')}") for migration in status.pending
    )
