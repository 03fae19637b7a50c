"""What of a replica is in quarantine, for an operator to see."""

from psycopg.rows import class_row

from client_manager.gateways.database import Database
from client_manager.models.replication import QuarantineEntry
from client_manager.replication.replica import SQL


def read_quarantine(database: Database, client: str, *, everything: bool) -> list[QuarantineEntry]:
    """Return the values that do not fit; with ``everything`` also those that stand in another form."""
    with database.connect() as connection, connection.cursor(row_factory=class_row(QuarantineEntry)) as cursor:
        return cursor.execute(SQL["list_quarantine"], {"client": client, "all": everything}).fetchall()
