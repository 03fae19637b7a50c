"""Clients as aligned columns for pipes and files; needs no terminal, and so no rich."""

from collections.abc import Sequence
from typing import Final

from client_manager.models.client import ClientSummary
from client_manager.views.text import age, one_line

HEADINGS: Final = ("NAME", "DOMAIN", "PORT", "IMAGE", "VERSION", "STATE", "HEALTH", "DATABASE", "DRIFT", "AGE")


def client_lines(clients: Sequence[ClientSummary]) -> str:
    """Return the clients as aligned columns of whole values, for pipes and files."""
    rows = [HEADINGS, *map(client_row, clients)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines)


def client_row(client: ClientSummary) -> tuple[str, ...]:
    """Return a client's cells in the order of the headings."""
    cells = (
        client.name,
        client.domain or "-",
        str(client.port or "-"),
        client.image,
        client.version,
        client.state,
        client.health,
        client.database or "-",
        client.drift,
        age(client.created_at),
    )
    return tuple(map(one_line, cells))
