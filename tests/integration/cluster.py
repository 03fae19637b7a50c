"""A cluster of a test's own, on the real Engine and a real server."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from pydantic import SecretStr

from client_manager.app import App
from client_manager.models.cluster_plan import ClusterRequest
from client_manager.models.operation import Progress
from client_manager.settings import Settings
from client_manager.workflows.deploy_cluster import deploy, plan_deploy
from tests.conftest import clear_away
from tests.ports import free_pair, window


class Cluster:
    """Its console, its name and its ports; what it deploys is gone at the end."""

    def __init__(self, app: App, name: str, url: str) -> None:
        self.app = app
        self.name = name
        self.url = url
        self.said: list[str] = []
        self.request = ClusterRequest(name=name, workers=2, heavy_workers=1)

    def report(self, progress: Progress) -> None:
        """Take note of a step."""
        self.said.append(f"{progress.step} {progress.detail}".strip())

    def plan(self, **changes: Any) -> Any:
        """Plan a deployment."""
        return plan_deploy(self.app, self.name, self.request.model_copy(update=changes))

    def deploy(self, **changes: Any) -> Any:
        """Deploy, and return the cluster's state."""
        return deploy(self.app, self.plan(**changes), self.report)

    def container(self, node: str) -> str:
        """The name of a node's container."""
        return f"{self.app.settings.node_container_prefix}{node}"

    def rows(self, query: str, *values: object) -> list[Any]:
        """Ask the database, as the superuser."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(query, values)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def cluster_of(api: Any, folder: Path, url: str | None, image: str, **settings: Any) -> Iterator[Cluster]:
    """A cluster that is not deployed yet."""
    mark, first = f"t{secrets.token_hex(4)}", window(20)
    app = App(
        Settings(
            data_root=folder / "openwebui",
            state_dir=folder / "state",
            database_url=None if url is None else SecretStr(url),
            node_image=image,
            node_container_prefix=f"openwebui-{mark}-",
            node_ports=free_pair(),
            first_port=first,
            last_port=first + 19,
            node_health_timeout_s=settings.pop("node_health_timeout_s", 60),
            network_pool="10.215.0.0/16",
            **settings,
        )
    )
    cluster = Cluster(app, mark, url or "")
    try:
        yield cluster
    finally:
        clear_away(api, [mark])
        if cluster.url:
            _drop_roles(cluster.url, mark)


def _drop_roles(url: str, mark: str) -> None:
    with psycopg.connect(url, autocommit=True) as admin:
        for (role,) in admin.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE %s", [f"%{mark}%"]).fetchall():
            admin.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(role)))
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
