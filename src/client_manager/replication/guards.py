"""When a source has lost so much that somebody must look before the replica follows."""

from dataclasses import dataclass
from typing import Final

from client_manager.replication.trouble import SourceTrouble

FEW_ROWS: Final = 1000
SHARE: Final = 0.3


@dataclass(frozen=True)
class DeleteGuard:
    """Lets deletes through up to a share of a table; beyond, only what the operator has confirmed."""

    confirmed: bool

    def check(self, table: str, gone: int, before: int) -> None:
        """Judge one table.

        Raises:
            SourceTrouble: more than 1,000 rows and more than 30 % of the table are gone.
        """
        if not self.confirmed and gone > max(FEW_ROWS, SHARE * before):
            raise SourceTrouble("needs_confirmation", f"{gone} of {before} rows of {table} are gone")

    def check_emptied(self, *, emptied: bool) -> None:
        """Judge the whole.

        Raises:
            SourceTrouble: not one row is left in any table.
        """
        if emptied and not self.confirmed:
            raise SourceTrouble("needs_confirmation", "no table of it holds a row any more")

    def check_replaced(self, *, replaced: bool, changes: int) -> None:
        """Judge a file that is not the one that was read before.

        Raises:
            SourceTrouble: its content is another one, too.
        """
        if replaced and changes and not self.confirmed:
            raise SourceTrouble(
                "source_replaced", f"it is another or an older file than before, and {changes} rows of it differ"
            )
