"""The URL by which a cluster's nodes reach the database, and whether the one that they have still serves."""

from pathlib import Path
from typing import NamedTuple

from pydantic import SecretStr

from client_manager.app import App
from client_manager.errors import ConfigurationError
from client_manager.gateways import database_url, sync_roles
from client_manager.gateways.database import Database
from client_manager.models.cluster import ClusterSpec
from client_manager.models.cluster_plan import StepAction

# What a pooler may remember of a former password, in seconds.
_REMEMBERED_S = 15


class NodesUrl(NamedTuple):
    """What is to become of the nodes' URL.

    Attributes:
        url: with the password that they have; None: they need a new one.
    """

    action: StepAction
    url: SecretStr | None


def find_url(app: App, spec: ClusterSpec) -> NodesUrl:
    """Return whether the nodes' URL serves as it is: where it leads, and whether the server takes its password.

    Raises:
        Unavailable: the server does not say.
    """
    existing = app.cluster_files.url(spec.name)
    if existing is None:
        return NodesUrl("create", None)
    try:
        password = Database(existing).parameters.get("password")
    except ConfigurationError:  # not a URL any more: made anew
        return NodesUrl("change", None)
    role = sync_roles.node_role(spec.name)
    if not password or not sync_roles.lets_in(Database(app.database.for_user(role, SecretStr(str(password))))):
        return NodesUrl("change", None)
    url = _url(app, spec, SecretStr(str(password)))
    same = url.get_secret_value() == existing.get_secret_value()
    return NodesUrl("unchanged" if same else "change", url)


def write_url(app: App, spec: ClusterSpec) -> None:
    """Bring the nodes' URL to what it should be; where they have no password that serves, they get a new one.

    Raises:
        ConfigurationError: the server does not take the new password.
    """
    source = certificate(app)
    if source:
        app.cluster_files.write_root_certificate(spec, source)
    found = find_url(app, spec)
    app.cluster_files.write_url(spec, found.url or _with_new_password(app, spec))


def certificate(app: App) -> Path | None:
    """Return the file of root certificates that the console checks against, where the nodes need a copy of it."""
    return database_url.own_certificate(app.database.parameters)


def _with_new_password(app: App, spec: ClusterSpec) -> SecretStr:
    password, role = sync_roles.new_password(), sync_roles.node_role(spec.name)
    with sync_roles.of(app.database) as roles:
        roles.set_password(spec.name, password)
    if not sync_roles.wait_until_let_in(Database(app.database.for_user(role, password)), _REMEMBERED_S):
        raise ConfigurationError(
            f"PostgreSQL at {app.database.name} does not let {role} in.",
            why="It was given a new password, and the server or a pooler in front of it does not take it.",
            hint="Look whether pg_hba.conf lets it in by scram-sha-256; a pooler must know the role.",
        )
    return _url(app, spec, password)


def _url(app: App, spec: ClusterSpec, password: SecretStr) -> SecretStr:
    copy = app.cluster_files.folder(spec.name).root_certificate if certificate(app) else None
    return app.database.for_user(sync_roles.node_role(spec.name), password, copy)
