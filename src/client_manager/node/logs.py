"""The node's log: a JSON object a line on the standard output, uvicorn's and Python's own warnings among them."""

import json
import logging
import math
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from client_manager.node.secret_values import SecretValues

_LOG: Final = logging.getLogger("client_manager.node")
_OURS: Final = "client_manager"
_WORRYING: Final = {"database_lost", "lost", "name_lost", "name_refused", "waits_for_writers", "work_interrupted"}
_RENAMED: Final = {"level": "run_level", "term": "of_term"}  # what every line says of itself already

Context = Callable[[], Mapping[str, object]]


class JsonLines(logging.Formatter):
    """Writes a record as one line: ts, level, event, what the node is, the record's own fields."""

    def __init__(self, secrets: SecretValues, context: Context) -> None:
        super().__init__()
        self._secrets = secrets
        self._context = context

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; no value of it holds a secret."""
        self._secrets.look()
        line: dict[str, object] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            **_event(record),
        }
        line |= {name: value for name, value in self._context().items() if name not in line}
        line |= {name: self._plain(value) for name, value in _fields(record).items() if name not in line}
        if record.exc_info:
            line["traceback"] = self._secrets.hide(self.formatException(record.exc_info))
        return json.dumps(line, allow_nan=False)

    def _plain(self, value: object) -> Any:  # noqa: ANN401  what JSON knows
        if value is None or isinstance(value, bool | int):
            return value
        if isinstance(value, float):
            return round(value, 6) if math.isfinite(value) else None
        if isinstance(value, Mapping):
            return {self._secrets.hide(str(name)): self._plain(part) for name, part in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._plain(part) for part in value]
        return self._secrets.hide(str(value))


def set_up(secrets: SecretValues, context: Context, stream: TextIO | None = None) -> None:
    """Send every log of this process through ``JsonLines``.

    Args:
        secrets: what no line may hold.
        context: what every line says of the node, at the moment of the line.
        stream: instead of the standard output.
    """
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(JsonLines(secrets, context))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(_OURS).setLevel(logging.INFO)
    logging.captureWarnings(True)  # noqa: FBT003  logging's own signature


def tell(event: str, fields: Mapping[str, object], level: int = logging.INFO) -> None:
    """Log an event of the node."""
    _LOG.log(level, event, extra={"event": event, "fields": dict(fields)})


def hear(event: str, fields: Mapping[str, object]) -> None:
    """Log what the election and the scheduler tell, unless nothing has happened: looks that found nothing to do."""
    if event == "job_ended" and fields.get("level") == "idle" and not fields.get("job_id"):
        return
    fields = {_RENAMED.get(name, name): value for name, value in fields.items()}
    tell(event, fields, logging.WARNING if event in _WORRYING or fields.get("status") == "failed" else logging.INFO)


def tell_bug(event: str, error: BaseException, **fields: object) -> None:
    """Log what nobody foresaw, with its traceback."""
    _LOG.critical(event, exc_info=error, extra={"event": event, "fields": fields})


def _event(record: logging.LogRecord) -> dict[str, object]:
    event = getattr(record, "event", None)
    return {"event": str(event)} if event else {"event": "log", "logger": record.name}


def _fields(record: logging.LogRecord) -> Mapping[str, object]:
    fields = getattr(record, "fields", None)
    if isinstance(fields, Mapping):
        return fields
    return {"message": record.getMessage()}
