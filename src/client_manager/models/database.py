"""The database of the sync system, and the migrations of its schema."""

from typing import Final, Literal

from pydantic import AwareDatetime

from client_manager.models.base import Model

# "none": not configured, and not part of this installation either.
Presence = Literal["configured", "running", "not running", "not started yet", "none"]
NOT_IN_USE: Final = frozenset({"not started yet", "none"})


class Migration(Model):
    """One step of the schema ``sync_metadata``.

    Attributes:
        checksum: SHA-256 of its text; of an applied one, as it was applied.
        applied_at: None while it is not applied.
    """

    version: int
    name: str
    checksum: str
    applied_at: AwareDatetime | None = None


class DatabaseStatus(Model):
    """What answers at the configured address.

    Attributes:
        name: host, port and database, never a user or a password.
        embedded: whether it is the one that the console runs itself.
    """

    name: str
    embedded: bool
    server_version: str
    read_only: bool
    migrations: tuple[Migration, ...]

    @property
    def pending(self) -> tuple[Migration, ...]:
        """The migrations that are not applied, in order."""
        return tuple(migration for migration in self.migrations if migration.applied_at is None)
