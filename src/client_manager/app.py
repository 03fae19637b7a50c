"""The composition root: the only place that builds gateways, each when it is first used."""

from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from client_manager.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from client_manager.gateways.client_files import ClientFiles
    from client_manager.gateways.cluster_files import ClusterFiles
    from client_manager.gateways.database import Database
    from client_manager.gateways.deregistration_store import DeregistrationStore
    from client_manager.gateways.docker_engine import DockerEngine
    from client_manager.gateways.journal import Journal
    from client_manager.gateways.node_image import NodeImage
    from client_manager.gateways.restore_store import RestoreStore
    from client_manager.gateways.sync_store import SyncStore
    from client_manager.settings import Settings


@dataclass
class App:
    """The settings and the gateways that they call for."""

    settings: "Settings"

    @cached_property
    def engine(self) -> "DockerEngine":
        """The Docker Engine."""
        from client_manager.gateways.docker_engine import DockerEngine

        return DockerEngine(self.settings.docker_host, context=self.settings.docker_context)

    @cached_property
    def node_image(self) -> "NodeImage":
        """The image of the sync nodes."""
        from client_manager.gateways.node_image import NodeImage

        return NodeImage(self.engine, self.settings.node_image)

    @cached_property
    def files(self) -> "ClientFiles":
        """The data root."""
        from client_manager.gateways.client_files import ClientFiles

        return ClientFiles(self.settings.data_root)

    @cached_property
    def cluster_files(self) -> "ClusterFiles":
        """The files of this machine's clusters."""
        from client_manager.gateways.cluster_files import ClusterFiles

        return ClusterFiles(self.settings.data_root)

    @cached_property
    def journal(self) -> "Journal":
        """The journal."""
        from client_manager.gateways.journal import Journal

        return Journal(self.settings.state_dir)

    @cached_property
    def database(self) -> "Database":
        """The database of the sync system: the configured one, else the embedded one, which is started."""
        from client_manager.gateways.database import Database

        url = self.settings.database_url
        if url is None:
            from client_manager.gateways import embedded_postgres

            url = embedded_postgres.start(self.settings.postgres_dir)
        return Database(url)

    @contextmanager
    def sync_store(self) -> "Iterator[SyncStore]":
        """Open what ``sync_metadata`` holds, for one operation."""
        from client_manager.gateways.sync_store import SyncStore

        with self.database.connect() as connection:
            yield SyncStore(connection)

    @contextmanager
    def deregistration_store(self) -> "Iterator[DeregistrationStore]":
        """Open what is read and deleted when a cluster goes, for one operation."""
        from client_manager.gateways.deregistration_store import DeregistrationStore

        with self.database.connect() as connection:
            yield DeregistrationStore(connection)

    @contextmanager
    def restore_store(self) -> "Iterator[RestoreStore]":
        """Open what a cluster's bundle is put back into, for one operation."""
        from client_manager.gateways.restore_store import RestoreStore

        with self.database.connect() as connection:
            yield RestoreStore(connection)

    def for_a_look(self, patience_s: float) -> "App":
        """Return the same to look with: it starts nothing, and waits for who is silent once, ``patience_s`` seconds."""
        return _Looking(self.settings, patience_s)

    def require_local_engine(self) -> None:
        """Refuse to change clients on an engine that does not see this machine's data root.

        Raises:
            ConfigurationError: the endpoint is another machine's.
        """
        if not self.engine.is_local:
            raise ConfigurationError(
                f"Docker at {self.engine.endpoint} is not this machine's.",
                why="A client's data and its spec live in the data root, which the engine must see.",
                hint="Run client-manager on that host, over SSH.",
            )


@dataclass
class _Looking(App):
    """The same gateways, for one look around."""

    patience_s: float

    def for_a_look(self, patience_s: float) -> App:
        """Return this one: a part of a look shares what the others have found out."""
        del patience_s
        return self

    @cached_property
    def engine(self) -> "DockerEngine":
        """The Docker Engine, for as long as it answers."""
        from client_manager.gateways.hasty_engine import HastyEngine

        settings = self.settings
        return HastyEngine(settings.docker_host, context=settings.docker_context, patience_s=self.patience_s)

    @cached_property
    def database(self) -> "Database":
        """The database of the sync system: the configured one, else the embedded one if it runs."""
        from client_manager.gateways import embedded_postgres
        from client_manager.gateways.database import Database

        url = self.settings.database_url or embedded_postgres.find(self.settings.postgres_dir)
        return Database(url).hurried(self.patience_s)
