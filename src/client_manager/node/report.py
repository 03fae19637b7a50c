"""How the election says what happened: an event's name, and fields for the log and the metrics."""

import logging
from collections.abc import Callable, Mapping
from typing import Final

Told = Callable[[str, Mapping[str, object]], None]

_LOG: Final = logging.getLogger("client_manager.node.election")


def log(event: str, fields: Mapping[str, object]) -> None:
    """Write it to the log; the fields are those of the record, under ``fields``."""
    _LOG.info(event, extra={"event": event, "fields": dict(fields)})
