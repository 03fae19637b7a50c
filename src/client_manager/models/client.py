"""A client: what it should be, what is there, and how the two differ."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, JsonValue, SecretStr, SerializationInfo, field_serializer, field_validator, model_validator

from client_manager.docker_names import ContainerName, ImageReference
from client_manager.models.base import Model
from client_manager.models.environment import DATABASE_URL, MASK, RESERVED, SECRET_KEY, database_kind, is_secret
from client_manager.models.names import ClientName, Cpus, Domain, MemoryBytes, Port, VariableName

REVEAL: Final = {"reveal": True}

_TRANSACTION_POOLER: Final = 6543

Kind = Literal["managed", "adopted", "found"]
Drift = Literal["no", "changed", "missing", "unreadable", "not managed"]


class Carried(Model):
    """What an adopted container had that the console has no word for, in the Engine's own JSON, given back on replace.

    Attributes:
        container_id: the container as it was found; while it still runs, nothing has drifted.
        config: fields of ``Config`` that differ from the image's.
        host_config: fields of ``HostConfig`` that differ from the Engine's defaults; ``Binds`` holds every mount.
        endpoints: network name -> endpoint settings.
    """

    container_id: str
    config: dict[str, JsonValue]
    host_config: dict[str, JsonValue]
    endpoints: dict[str, JsonValue]


class ClientSpec(Model):
    """What a client should be; the file ``<data_root>/<client>/client.json`` is its truth.

    Attributes:
        image_digest: what ``image`` was when it was last chosen: a repository digest, or the id of a local image.
        port: published on 127.0.0.1, or None where only a network reaches the client.
        env: plain variables; with ``secrets`` all that the console adds to the image's own.
    """

    format: Literal[1] = 1
    name: ClientName
    container: ContainerName
    domain: Domain
    image: ImageReference
    image_digest: str | None = None
    port: Port | None
    env: dict[VariableName, str]
    secrets: dict[VariableName, SecretStr]
    memory_bytes: MemoryBytes | None
    cpus: Cpus | None = None
    carried: Carried | None = None

    @field_serializer("secrets")
    def _write_secrets(self, secrets: dict[str, SecretStr], info: SerializationInfo) -> dict[str, str]:
        reveal = bool(info.context and info.context.get("reveal"))
        return {name: value.get_secret_value() if reveal else MASK for name, value in secrets.items()}

    @model_validator(mode="after")
    def _sort_secrets_out(self) -> Self:
        """Keep both in order, and count a plain variable as a secret as soon as the rules call it one."""
        exposed = {name: SecretStr(value) for name, value in self.env.items() if is_secret(name, value)}
        object.__setattr__(self, "env", {name: self.env[name] for name in sorted(self.env) if name not in exposed})
        object.__setattr__(self, "secrets", dict(sorted({**self.secrets, **exposed}.items())))
        return self

    @model_validator(mode="after")
    def _has_its_key(self) -> Self:
        if not self.secrets.get(SECRET_KEY) or not self.secrets[SECRET_KEY].get_secret_value():
            raise ValueError(f"{SECRET_KEY} is missing; without it every session and stored token is lost")
        return self

    def variables(self) -> dict[str, str]:
        """Return every variable with its value in the clear; only for the Engine and for comparing."""
        return {**self.env, **{name: value.get_secret_value() for name, value in self.secrets.items()}}

    def with_variables(self, variables: Mapping[str, str]) -> Self:
        """Return the spec with these variables instead of its own, secrets sorted out."""
        return self.with_changes(**split_secrets(variables))

    def with_changes(self, **changes: object) -> Self:
        """Return the spec with some fields changed, every rule checked again."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_validate({**fields, **changes})

    def to_json(self) -> str:
        """Return the file's text, secrets in the clear."""
        return self.model_dump_json(indent=2, context=REVEAL) + "\n"

    def hash(self) -> str:
        """Return the hash that the container's label carries: 16 hex digits over the whole spec."""
        return hashlib.sha256(self.model_dump_json(context=REVEAL).encode()).hexdigest()[:16]

    @property
    def database(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return database_kind(self.variables())


def split_secrets(variables: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return ``{"env": plain variables, "secrets": the rest}``."""
    return {
        "env": {name: value for name, value in sorted(variables.items()) if not is_secret(name, value)},
        "secrets": {name: value for name, value in sorted(variables.items()) if is_secret(name, value)},
    }


class Assignment(Model):
    """One ``NAME=VALUE`` of the operator."""

    name: VariableName
    value: str

    @field_validator("name")
    @classmethod
    def _not_reserved(cls, name: str) -> str:
        if name in RESERVED:
            raise ValueError(f"{name} belongs to the image; the console relies on its value")
        return name

    @field_validator("value")
    @classmethod
    def _one_line(cls, value: str) -> str:
        if "\x00" in value:
            raise ValueError("a value cannot hold a NUL character")
        return value

    @model_validator(mode="after")
    def _usable_database(self) -> Self:
        if self.name == DATABASE_URL and _port(self.value) == _TRANSACTION_POOLER:
            raise ValueError(
                "port 6543 is Supabase's transaction pooler, which Open WebUI breaks on (open-webui#28782);"
                " use the session pooler, port 5432"
            )
        return self


def _port(url: str) -> int | None:
    try:
        return urlsplit(url).port
    except ValueError:
        raise ValueError("this is not a URL; encode the special characters of its password") from None


class Change(Model):
    """One difference between two specs, or between a spec and its container; secrets are masked."""

    field: str
    before: str
    after: str


class ClientSummary(Model):
    """A client in a list."""

    name: str
    kind: Kind
    container: str
    domain: str | None
    port: int | None
    image: str
    version: str
    state: str
    health: str
    database: str | None
    drift: Drift
    created_at: datetime | None


class ClientDetail(Model):
    """A client on a page of its own; ``spec`` is None for a container that was only found."""

    summary: ClientSummary
    spec: ClientSpec | None
    differences: tuple[Change, ...] = ()
    data: str | None = None
    network: tuple[str, ...] = ()
    restarts: int = Field(default=0, ge=0)


def differences(old: ClientSpec, new: ClientSpec) -> tuple[Change, ...]:
    """Return what changes between two specs, in the order of the fields, variables by name."""
    changes = [
        Change(field=name, before=_shown(getattr(old, name)), after=_shown(getattr(new, name)))
        for name in ("container", "domain", "image", "image_digest", "port", "memory_bytes", "cpus")
        if getattr(old, name) != getattr(new, name)
    ]
    return (*changes, *variable_differences(old.variables(), new.variables()))


def variable_differences(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[Change, ...]:
    """Return which variables differ, secret values masked."""
    return tuple(
        Change(field=name, before=masked(name, old.get(name)), after=masked(name, new.get(name)))
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    )


def masked(name: str, value: str | None) -> str:
    """Return what may be shown of a variable."""
    if value is None:
        return "(unset)"
    return MASK if is_secret(name, value) and value else value


def _shown(value: object) -> str:
    return "(none)" if value is None else str(value)
