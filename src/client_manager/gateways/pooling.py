"""Whether a connection is a session, or a pooler gives each transaction whatever session is free."""

from contextlib import ExitStack, closing
from typing import Any, Final, Literal

import psycopg

from client_manager.errors import ClientManagerError, Unavailable
from client_manager.gateways import queries
from client_manager.gateways.database import Database
from client_manager.gateways.line import Line

Pooling = Literal["session", "transaction"]

_NODE: Final = queries.load("node")
_OTHERS: Final = 2


def detect(database: Database, *, patience_s: float = 5) -> Pooling:
    """Return what a connection to this database is; takes three connections for a moment.

    One connection asks who serves it, while others keep transactions open. A pooler of transactions serves one of those
    with the first one's session, or the first one with another session, or not at all: with as many sessions as you
    like, taken from whichever end of its list.

    Raises:
        ClientManagerError: the server does not let so many connections in, or does not answer.
    """
    with (
        database.hurried(patience_s).connect() as first,
        closing(Line(first, database.name)) as line,
        ExitStack() as others,
    ):
        mine = _answer(first, line, patience_s)
        for _ in range(_OTHERS):
            if _hold(database, others, patience_s) == mine or _moved(first, line, mine, patience_s):
                return "transaction"
    return "session"


def _hold(database: Database, others: ExitStack, patience_s: float) -> int:
    other = others.enter_context(database.hurried(patience_s).connect())
    line = others.enter_context(closing(Line(other, database.name)))
    others.enter_context(other.transaction(force_rollback=True))
    return _answer(other, line, patience_s)


def _moved(first: psycopg.Connection[Any], line: Line, mine: int, patience_s: float) -> bool:
    try:
        return _answer(first, line, patience_s) != mine
    except Unavailable:
        return True


def _answer(connection: psycopg.Connection[Any], line: Line, patience_s: float) -> int:
    with line.within(patience_s):
        row = connection.execute(_NODE["find_session"]).fetchone()
    if row is None:
        raise ClientManagerError("PostgreSQL answered nothing.")
    return int(row[0])
