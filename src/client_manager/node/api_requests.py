"""What the API is sent: nothing unknown, nothing unbounded, no name that is none."""

import json
from typing import Annotated, Any, Final, Self
from uuid import UUID

from pydantic import Field, field_validator, model_validator

from client_manager.errors import InvalidInput
from client_manager.models.base import Model
from client_manager.models.sync import DeploymentStatus

CLIENT_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}"  # the predecessor's clients too
_SHORTEST_INTERVAL_S: Final = 10
_LONGEST_INTERVAL_S: Final = 366 * 86400

ClientName = Annotated[str, Field(pattern=f"^{CLIENT_NAME}$")]


class Trigger(Model):
    """``POST /api/v1/sync/trigger``."""

    client_name: ClientName
    full_sync: bool = False


class Cancellation(Model):
    """``POST /api/v1/sync/cancel``: a client's jobs, or one job."""

    client_name: ClientName | None = None
    job_id: UUID | None = None

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if (self.client_name is None) == (self.job_id is None):
            raise ValueError("name either client_name or job_id")
        return self


class StateValue(Model):
    """What can be set of a client; ``sync_interval`` in seconds."""

    sync_enabled: bool | None = None
    sync_interval: int | None = Field(default=None, ge=_SHORTEST_INTERVAL_S, le=_LONGEST_INTERVAL_S)
    status: DeploymentStatus | None = None
    config: dict[str, Any] | None = None

    @field_validator("config")
    @classmethod
    def _fits_postgres(cls, config: dict[str, Any] | None) -> dict[str, Any] | None:
        text = json.dumps(config, allow_nan=False, ensure_ascii=False)
        if "\\u0000" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
            raise ValueError("holds a character that PostgreSQL cannot keep")
        return config

    @model_validator(mode="after")
    def _sets_something(self) -> Self:
        if not self.model_dump(exclude_none=True):
            raise ValueError("nothing to set")
        return self


class StateChange(Model):
    """``PUT /api/v1/state/{key}``; ``key``, if it is there, repeats the path's."""

    value: StateValue
    key: str | None = None

    def require_key(self, key: str) -> None:
        """Return if the body means the same thing as the path.

        Raises:
            InvalidInput: it does not.
        """
        if self.key not in {None, key}:
            raise InvalidInput("The key in the body is not the one in the path.")
