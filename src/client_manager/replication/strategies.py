"""What happens to a row that somebody has changed in the replica: the strategy of its table decides."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast, get_args

from client_manager.errors import InvalidInput
from client_manager.models.replication import Strategy
from client_manager.replication.expectation import text_row
from client_manager.replication.verify import RowDifference

EVERY_TABLE: Final = "*"
_NEWEST_BY: Final = "updated_at"


@dataclass(frozen=True)
class Decision:
    """What becomes of one difference: whether the source is written, and whether the matter is settled."""

    strategy: Strategy
    write_source: bool
    settled: bool


def strategy_of(strategies: Mapping[str, str], table: str) -> Strategy:
    """Return the strategy of a table: its own, the client's, or ``source_wins``.

    Raises:
        InvalidInput: the state names a strategy that does not exist.
    """
    named = strategies.get(table) or strategies.get(EVERY_TABLE) or "source_wins"
    if named not in get_args(Strategy):
        raise InvalidInput(
            f"{named!r} is no conflict strategy.",
            why=f"The client's state names it for {table}.",
            hint=f"Use one of {', '.join(get_args(Strategy))}.",
        )
    return cast("Strategy", named)


def decide(difference: RowDifference, strategies: Mapping[str, str]) -> Decision:
    """Decide one difference; a table that is missing or misshapen is always made anew."""
    strategy = strategy_of(strategies, difference.table.name)
    if difference.is_table:
        return Decision("source_wins", write_source=True, settled=True)
    match strategy:
        case "target_wins":
            return Decision(strategy, write_source=False, settled=True)
        case "manual":
            return Decision(strategy, write_source=False, settled=False)
        case "newest_wins":
            return Decision(strategy, write_source=not _target_is_newer(difference), settled=True)
        case _:
            return Decision(strategy, write_source=True, settled=True)


def _target_is_newer(difference: RowDifference) -> bool:
    """Compare ``updated_at`` of both rows; where one row or the column is missing, the source counts as newer."""
    names = [column.name for column in difference.table.columns]
    if difference.local is None or difference.remote is None or _NEWEST_BY not in names:
        return False
    place = names.index(_NEWEST_BY)
    mine, theirs = text_row(difference.table, difference.local.stored)[place], difference.remote[place]
    if mine is None or theirs is None:
        return mine is None and theirs is not None
    if difference.table.columns[place].kind == "bigint":
        return int(theirs) > int(mine)
    return str(theirs) > str(mine)
