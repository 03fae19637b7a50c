"""The replica of one client in PostgreSQL: its state, its schema, and the transaction that everything happens in."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, LiteralString

import psycopg
from psycopg import sql

from client_manager.errors import Blocked, ConfigurationError
from client_manager.gateways import queries
from client_manager.gateways.database import Database
from client_manager.replication import steps
from client_manager.replication.digest import quoted
from client_manager.replication.steps import Interrupt, uninterrupted
from client_manager.replication.tables import Column, Table
from client_manager.replication.trouble import Fenced

SQL: Final = queries.load("replication")
_EVERY_GENERATION: Final = 2**62
_LOCK_TIMEOUT: Final = "30s"  # a reporting query on the replica may be waited for so long


@dataclass(frozen=True)
class ReplicaState:
    """What PostgreSQL says about a client.

    Attributes:
        fence: the newest term that has written.
        owner: the role that owns the replica, where there is one that this session may take.
        declared: the digest of the source's declaration that is kept; None where none is.
    """

    generation: int
    token: str | None
    fence: int
    status: str
    strategies: Mapping[str, str]
    has_schema: bool
    has_quarantine: bool
    has_load: bool
    compression: str
    owner: str | None
    declared: str | None

    @property
    def is_settled(self) -> bool:
        """Whether the last run ended well, its replica is still there, and what it takes to make a source of it."""
        return self.status == "ok" and self.has_schema and self.declared is not None


@dataclass(frozen=True)
class Replica:
    """One client's replica: the schema of its name."""

    database: Database
    name: str

    @property
    def load_schema(self) -> str:
        """The schema that it is loaded into before it is swapped in."""
        return f"{self.name}__load"

    @property
    def _names(self) -> dict[str, str]:
        return {"client": self.name, "load": self.load_schema}

    @contextmanager
    def connect(self) -> Iterator[psycopg.Connection]:
        """Open a connection for one operation."""
        with self.database.connect() as connection:
            yield connection

    def state(self, connection: psycopg.Connection) -> ReplicaState:
        """Return the client's state, made if it has none.

        Raises:
            ConfigurationError: the database is not migrated, or not UTF-8.
            Blocked: the replica has an owner, and its schema is somebody else's.
        """
        try:
            found = connection.execute(SQL["find_state"], self._names).fetchone()
            if found is None:
                connection.execute(SQL["add_state"], {"client": self.name})
                found = connection.execute(SQL["find_state"], self._names).fetchone()
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            raise ConfigurationError(
                "The database has no schema sync_metadata of this version.",
                why=f"{self.database.name} has never been migrated, or is behind.",
                hint="Run client-manager database migrate.",
            ) from None
        generation, fence, status, strategies, mark, declared, lz4, encoding, has_schema, has_quarantine, *rest = (
            found or ()
        )
        has_load, owner, stranger = rest
        if encoding != "UTF8":
            raise ConfigurationError(
                f"The database's encoding is {encoding}.",
                why="Open WebUI's texts need UTF8.",
                hint="Use a database made with ENCODING 'UTF8'.",
            )
        if stranger:
            self._refuse_stranger(owner, stranger)
        compression = "lz4" if lz4 else "pglz"
        return ReplicaState(
            generation,
            (mark or {}).get("token"),
            fence,
            status,
            strategies or {},
            has_schema,
            has_quarantine,
            has_load,
            compression,
            owner,
            (mark or {}).get("declared") if declared else None,
        )

    def _refuse_stranger(self, owner: str, stranger: str) -> None:
        raise Blocked(
            f"The replica {self.name} belongs to {stranger}.",
            why=f"It was made before the role {owner} was, which must own it, and cannot replace what is another's.",
            hint="Register the client again, as a user who may do so: that gives the replica to its owner.",
        )

    @contextmanager
    def writing(
        self, connection: psycopg.Connection, state: ReplicaState, term: int, interrupt: Interrupt = uninterrupted
    ) -> Iterator[None]:
        """Hold the client's row in a transaction that only this term, from this generation, may commit.

        Raises:
            Fenced: a newer term has written, or the generation has moved.
        """
        with connection.transaction():
            set_transaction(connection, state.compression, state.owner)
            claimed = connection.execute(
                SQL["claim"], {"client": self.name, "term": term, "generation": state.generation}
            ).fetchone()
            if claimed is None:
                raise Fenced(
                    f"{self.name} is replicated by another node now.",
                    why="A newer term has written to it, or its generation has moved on.",
                    hint="Nothing was changed; the next run reads where it stands.",
                )
            steps.reached("claimed")
            yield
            if state.has_load:
                self._drop_load(connection)
            interrupt()
            steps.reached("before commit")
        steps.reached("after commit")

    def _drop_load(self, connection: psycopg.Connection) -> None:
        """Drop what a load that was cut off has left; one that was swapped in is not there any more."""
        connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(quoted(self.load_schema)))
        connection.execute(SQL["drop_kept_client"], {"client": self.load_schema, "generation": _EVERY_GENERATION})

    def refuse_outside_dependents(self, connection: psycopg.Connection) -> None:
        """Refuse to replace a schema that others build on.

        Raises:
            Blocked: views or constraints of another schema would go with its tables.
        """
        found = [str(name) for (name,) in connection.execute(SQL["find_outside_dependents"], {"client": self.name})]
        if found:
            raise Blocked(
                f"The replica {self.name} cannot be replaced.",
                why=f"Outside it, {', '.join(found)} depend on its tables.",
                hint="Drop them, run again, then create them anew.",
            )

    def kept_tables(self, connection: psycopg.Connection) -> set[str]:
        """Return the tables with entries in quarantine."""
        return {str(name) for (name,) in connection.execute(SQL["list_kept_tables"], {"client": self.name})}

    def replicated_tables(self, connection: psycopg.Connection) -> set[str]:
        """Return the tables that were replicated last."""
        found = connection.execute(SQL["find_state"], self._names).fetchone()
        return set(found[4]["tables"]) if found and found[4] else set()

    def has_table(self, connection: psycopg.Connection, table: str) -> bool:
        """Say whether the replica has a table."""
        return table in self.shape(connection)

    def keys(self, connection: psycopg.Connection) -> dict[str, list[str]]:
        """Return table -> columns of its primary key, as PostgreSQL has them."""
        return dict(connection.execute(SQL["list_keys"], {"client": self.name}).fetchall())

    def shape(self, connection: psycopg.Connection) -> dict[str, dict[str, str]]:
        """Return table -> column -> type, as PostgreSQL has them."""
        tables: dict[str, dict[str, str]] = {}
        for table, column, kind in connection.execute(SQL["list_columns"], {"client": self.name}):
            tables.setdefault(table, {})[column] = str(kind).removesuffix(" without time zone")
        return tables


def set_transaction(connection: psycopg.Connection, compression: str, owner: str | None) -> None:
    """Set what holds for this transaction only; the session may belong to a pooler. What is made is the owner's."""
    connection.execute(
        SQL["set_transaction"], {"lock_timeout": _LOCK_TIMEOUT, "compression": compression, "owner": owner}
    )


def qualified(schema: str, table: str) -> sql.Composed:
    """Return a table's name with its schema."""
    return sql.SQL(".").join([quoted(schema), quoted(table)])


def create_table(connection: psycopg.Connection, schema: str, table: Table) -> None:
    """Create a table as it is in the source: its types and its key, and nothing that could refuse a row."""
    parts: list[sql.Composable] = [_definition(column) for column in table.columns]
    if table.key:
        parts.append(sql.SQL("PRIMARY KEY ({})").format(names(table.key)))
    connection.execute(
        sql.SQL("CREATE TABLE {} ({})").format(qualified(schema, table.name), sql.SQL(", ").join(parts)), ()
    )


def drop_table(connection: psycopg.Connection, schema: str, table: str) -> None:
    """Drop a table that the source no longer has."""
    with _named_dependents(table):
        connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(qualified(schema, table)), ())


def change_columns(connection: psycopg.Connection, schema: str, new: Table, old: Table) -> None:
    """Follow added, dropped, renamed and retyped columns; their values come with the rows."""
    changes: list[sql.Composable] = [
        sql.SQL("DROP COLUMN IF EXISTS {}").format(quoted(name))
        for name, kind in old.shape.items()
        if new.shape.get(name) != kind
    ]
    changes += [
        sql.SQL("ADD COLUMN {}").format(_definition(column))
        for column in new.columns
        if old.shape.get(column.name) != column.kind
    ]
    with _named_dependents(new.name):
        for change in changes:
            connection.execute(sql.SQL("ALTER TABLE {} {}").format(qualified(schema, new.name), change), ())


@contextmanager
def _named_dependents(table: str) -> Iterator[None]:
    try:
        yield
    except psycopg.errors.DependentObjectsStillExist as error:
        raise Blocked(
            f"The table {table} of the replica cannot follow its source.",
            why=f"Somebody else's work depends on it: {error.diag.message_detail}.",
            hint="Drop that, run again, then create it anew.",
        ) from None


def names(columns: Iterable[Column]) -> sql.Composed:
    """Return the columns' names as a list."""
    return sql.SQL(", ").join([quoted(column.name) for column in columns])


def as_json(value: object) -> str:
    """Return JSON text for a parameter."""
    return json.dumps(value, separators=(",", ":"))


def _definition(column: Column) -> sql.Composed:
    kind: LiteralString = column.kind
    return sql.SQL("{} {}").format(quoted(column.name), sql.SQL(kind))
