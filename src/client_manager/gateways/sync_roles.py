"""The roles of the sync system: one that each cluster's nodes log in as, and one that owns each client's replica."""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal, LiteralString, NamedTuple

import psycopg
from psycopg import sql
from pydantic import SecretStr

from client_manager.errors import ConfigurationError, Conflict
from client_manager.gateways import queries
from client_manager.gateways.database import Database
from client_manager.gateways.database_errors import state_of, translated

_SQL: Final = queries.load("roles")
# Since then a membership says by itself what it gives, and its grantor needs to be allowed to give it.
_MEMBERSHIPS_HAVE_OPTIONS: Final = 160_000
_GRANTABLE: Final = "CREATE on the database WITH GRANT OPTION"
_REFUSED: Final = frozenset({"28P01", "28000"})
_PAUSE_S: Final = 0.25


class Self(NamedTuple):
    """Who the console is to the server.

    Attributes:
        may_let_create_schemas: it may give the right to make schemas on to others: each client's owner makes its own.
        owns_metadata: ``sync_metadata`` and all in it is its own, or not there yet.
        connections, used: that the server takes of ordinary users, and has.
        clock: the server's, in seconds since 1970.
    """

    name: str
    superuser: bool
    may_create_roles: bool
    may_create_schemas: bool
    may_let_create_schemas: bool
    owns_metadata: bool
    connections: int
    used: int
    clock: float

    @property
    def lacks(self) -> tuple["Lack", ...]:
        """What it would need and has not got; nothing else is needed."""
        return tuple(
            lack
            for given, lack in (
                (self.may_create_roles, Lack("make roles", "CREATEROLE")),
                (self.may_create_schemas, Lack("make schemas here", _GRANTABLE)),
                (
                    self.may_let_create_schemas or not self.may_create_schemas,
                    Lack("let each client's owner make schemas here", _GRANTABLE),
                ),
                (self.owns_metadata, Lack("change sync_metadata, which is another's", "ownership of sync_metadata")),
            )
            if not given
        )


class Lack(NamedTuple):
    """A permission that the console has not got: what it may not do, and what that would take."""

    may_not: str
    takes: str


def node_role(cluster: str) -> str:
    """Return what a cluster's nodes log in as."""
    return f"sync_node_{cluster}"


def owner_role(client: str) -> str:
    """Return what owns a client's replica."""
    return f"sync_owner_{client}"


class SyncRoles:
    """The roles, over one connection of a user who may make roles; need not be a superuser."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def self(self) -> Self:
        """Return who the console is."""
        return Self(*self._row("find_self", {}))

    def require_rights(self) -> None:
        """Return if the console may do all that the sync system needs of it.

        To grant what one has without the grant option is only warned of by PostgreSQL, and does nothing.

        Raises:
            ConfigurationError: it may not; names each permission.
        """
        me = self.self()
        if me.lacks:
            raise ConfigurationError(refusal(me), hint=remedy(me))

    def exists(self, role: str) -> bool:
        """Say whether a role exists."""
        return self._row("find_role", {"role": role}) is not None

    def ensure_node(self, cluster: str, connections: int) -> bool:
        """Make a cluster's login role, or bring it to what it should be; True where it was made. Has no password yet.

        Raises:
            Conflict: a role of the name has rights that a node must not have.
        """
        role = node_role(cluster)
        with self._connection.transaction():
            made = self._ensure(role, "LOGIN")
            self._connection.execute(
                sql.SQL("ALTER ROLE {} LOGIN INHERIT CONNECTION LIMIT {}").format(
                    sql.Identifier(role), sql.Literal(connections)
                )
            )
            self._connection.execute(_SQL["grant_node_access"], {"cluster": cluster})
        return made

    def set_password(self, cluster: str, password: SecretStr) -> None:
        """Set a cluster's password; what is sent, and what the server may log, is a SCRAM verifier."""
        role = node_role(cluster)
        verifier = self._connection.pgconn.encrypt_password(
            password.get_secret_value().encode(), role.encode(), b"scram-sha-256"
        )
        self._connection.execute(
            sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier.decode()))
        )

    def ensure_owner(self, client: str, cluster: str) -> None:
        """Make the owner of a client's replica, which is the cluster's nodes' alone, and give it the replica if any.

        Raises:
            ConfigurationError: the console may not.
            Conflict: a role of the name has rights that an owner must not have.
        """
        owner, node = owner_role(client), node_role(cluster)
        with self._connection.transaction():
            self.require_rights()
            self._ensure(owner, "NOLOGIN")
            self._join_myself(owner)
            for (other,) in self._connection.execute(_SQL["list_node_members"], {"role": owner}).fetchall():
                if other != node:
                    self._run("REVOKE {owner} FROM {other}", owner=owner, other=other)
            self._join(owner, node)
            self._connection.execute(_SQL["grant_client_access"], {"client": client})
            self._give_schema(client, owner)
            self._give_schema(f"{client}__load", owner)  # what a load that was cut off has left

    def release_owner(self, client: str) -> tuple[str, ...]:
        """Take the nodes' access to a client's replica away, and return the login roles that had it."""
        owner = owner_role(client)
        with self._connection.transaction():
            found = self._connection.execute(_SQL["list_node_members"], {"role": owner}).fetchall()
            for (node,) in found:
                self._run("REVOKE {owner} FROM {node}", owner=owner, node=node)
        return tuple(str(node) for (node,) in found)

    def drop_owner(self, client: str) -> None:
        """Drop the owner of a client's replica and what it was granted; the replica must be gone."""
        owner = owner_role(client)
        if self.exists(owner):
            with self._connection.transaction():
                self._join_myself(owner)
                self._run("DROP OWNED BY {owner}", owner=owner)
                self._run("DROP ROLE {owner}", owner=owner)

    def drop_node(self, cluster: str) -> None:
        """Drop a cluster's login role and what it was granted; one that is gone is no error."""
        role = node_role(cluster)
        if self.exists(role):
            with self._connection.transaction():
                self._join_myself(role)
                self._run("DROP OWNED BY {role}", role=role)
                self._run("DROP ROLE {role}", role=role)

    def _ensure(self, role: str, kind: Literal["LOGIN", "NOLOGIN"]) -> bool:
        found = self._row("find_role", {"role": role})
        if found is None:
            # Everything else that a role could have, a new one has not.
            self._run("CREATE ROLE {role} LOGIN" if kind == "LOGIN" else "CREATE ROLE {role} NOLOGIN", role=role)
            return True
        if found[0]:
            raise Conflict(
                f"The role {role} has rights that it must not have.",
                why="It is a superuser, makes roles or databases, replicates, or passes by the policies of rows.",
                hint=f'Find out whose it is; if nobody\'s: DROP OWNED BY "{role}"; DROP ROLE "{role}".',
            )
        return False

    def _join_myself(self, role: str) -> None:
        """Let the console act as a role; a superuser may anyway."""
        me = self.self()
        if not me.superuser:
            self._join(role, me.name)

    def _join(self, role: str, member: str) -> None:
        options = self._connection.info.server_version >= _MEMBERSHIPS_HAVE_OPTIONS
        plain: LiteralString = "GRANT {role} TO {member}"
        self._run(plain + " WITH INHERIT TRUE, SET TRUE" if options else plain, role=role, member=member)

    def _give_schema(self, schema: str, owner: str) -> None:
        """Give a replica that was made before its owner was to it, the tables in it too."""
        found = self._row("find_schema_owner", {"schema": schema})
        if found is None:
            return
        names = {"schema": schema, "owner": owner}
        for (relation,) in self._connection.execute(_SQL["list_foreign_relations"], names).fetchall():
            self._run("ALTER TABLE {schema}.{relation} OWNER TO {owner}", **names, relation=relation)
        if found[0] != owner:
            self._run("ALTER SCHEMA {schema} OWNER TO {owner}", **names)

    def _run(self, statement: LiteralString, **names: str) -> None:
        """Execute a statement on these names."""
        self._connection.execute(
            sql.SQL(statement).format(**{key: sql.Identifier(name) for key, name in names.items()})
        )

    def _row(self, query: str, parameters: dict[str, str]) -> Any:  # noqa: ANN401  psycopg's row
        return self._connection.execute(_SQL[query], parameters or None).fetchone()


def refusal(me: Self) -> str:
    """Return what the console may not do, as a sentence."""
    return f"{me.name} may not {', nor '.join(lack.may_not for lack in me.lacks)}."


def remedy(me: Self) -> str:
    """Return what to do about it."""
    return (
        f"Give it {', '.join(lack.takes for lack in me.lacks)}; or use the URL of the database's owner "
        "(Supabase: postgres): client-manager database use URL."
    )


def new_password() -> SecretStr:
    """Return a password of 256 bits that a URL holds as it is."""
    return SecretStr(secrets.token_urlsafe(32))


def lets_in(database: Database) -> bool:
    """Say whether the server takes the user and the password of a database's URL.

    Raises:
        Unavailable: it does not say, for another reason than those two.
    """
    try:
        psycopg.connect(autocommit=True, **database.parameters).close()  # type: ignore[arg-type]  # libpq's names
    except psycopg.OperationalError as error:
        fault = translated(database.name, error)
        if state_of(error) in _REFUSED or "does not let this user in" in fault.what:
            return False
        raise fault from None
    return True


def wait_until_let_in(database: Database, deadline_s: float) -> bool:
    """Say whether the server takes a new password; a pooler may answer from what it remembers for some seconds."""
    end = time.monotonic() + deadline_s
    while not lets_in(database):
        if time.monotonic() > end:
            return False
        time.sleep(_PAUSE_S)
    return True


@contextmanager
def of(database: Database) -> Iterator[SyncRoles]:
    """Open the roles, for one operation."""
    with database.connect() as connection:
        yield SyncRoles(connection)
