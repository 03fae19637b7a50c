"""What is done about rows that somebody has changed in a replica, by table."""

from collections.abc import Mapping
from typing import Final, cast, get_args

from client_manager.app import App
from client_manager.client_sync.verify import conflict_store
from client_manager.errors import InvalidInput, NotFound
from client_manager.gateways.conflict_store import ConflictStore
from client_manager.models.conflicts import Strategies
from client_manager.models.replication import Strategy

EVERY_TABLE: Final = "*"
STRATEGIES: Final[tuple[Strategy, ...]] = get_args(Strategy)


def strategies(app: App, client: str) -> Strategies:
    """Return what is done about a client's conflicts.

    Raises:
        NotFound: it has no replica yet.
    """
    with conflict_store(app) as store:
        return _read(store, client, lock=False)


def set_strategies(app: App, client: str, changes: Mapping[str, str | None]) -> Strategies:
    """Set the strategies of some tables and leave the others; they count from the next comparison on.

    Args:
        app: the console.
        client: whose replica.
        changes: table, or ``*`` for all that have none of their own, -> strategy; None takes a table's own away.

    Raises:
        NotFound: the client has no replica yet.
        InvalidInput: there is no such table or strategy; nothing is changed then.
    """
    arguments = {table: strategy or "" for table, strategy in changes.items()}
    with (
        app.journal.action("sync strategies", client, arguments),
        conflict_store(app) as store,
        store.transaction(),
    ):
        before = _read(store, client, lock=True)
        for table, strategy in changes.items():
            _require_known(before, table, strategy)
        after = {**before.strategies, **changes}
        kept = {table: cast("Strategy", strategy) for table, strategy in after.items() if strategy is not None}
        store.set_strategies(client, kept)
        return before.model_copy(update={"strategies": kept})


def _read(store: ConflictStore, client: str, *, lock: bool) -> Strategies:
    found = store.strategies(client, lock=lock)
    if found is None or not found[1]:
        raise NotFound(
            f"{client} has no replica yet.",
            why="Which tables it has is known after its first run.",
            hint=f"client-manager sync run {client}",
        )
    named, tables = found
    return Strategies.model_validate({"client": client, "tables": tables, "strategies": named})


def _require_known(before: Strategies, table: str, strategy: str | None) -> None:
    if strategy is not None and strategy not in STRATEGIES:
        raise InvalidInput(f"{strategy!r} is no conflict strategy.", hint=f"Use one of {', '.join(STRATEGIES)}.")
    known = {*before.tables, EVERY_TABLE} | (before.strategies.keys() if strategy is None else set())
    if table not in known:
        raise InvalidInput(
            f"{before.client} has no table {table!r}.", hint=f"It has {', '.join(before.tables)}; * is all of them."
        )
