"""Names, domains, ports and sizes: each rule stands here once, those of Docker's names in ``docker_names``."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field

# PostgreSQL cuts names at 63 bytes, and a client's replica is owned by "sync_owner_<client>".
CLIENT_NAME_LENGTH: Final = 52
RESERVED_CLIENT_NAMES: Final = frozenset({
    # containers of the house
    "nginx", "sync-node-a", "sync-node-b",
    # a client's replica is the PostgreSQL schema of its name; these schemas exist in Supabase
    "auth", "cron", "extensions", "graphql", "net", "pgbouncer", "pgsodium", "public", "realtime", "storage", "vault",
})  # fmt: skip

RESERVED_SCHEMAS: Final = RESERVED_CLIENT_NAMES | {"information_schema", "sync_metadata"}

_SCHEMA = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]{0,51}", re.ASCII)
_CLIENT = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LARGEST_SIZE: Final = 2**63  # the Engine reads 64 bits
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", re.IGNORECASE)


def _client_name(name: str) -> str:
    if len(name) > CLIENT_NAME_LENGTH:
        raise ValueError(f"at most {CLIENT_NAME_LENGTH} characters; this has {len(name)}")
    if not _CLIENT.fullmatch(name):
        raise ValueError("lower-case letters, digits and hyphens only, beginning and ending with a letter or a digit")
    if name in RESERVED_CLIENT_NAMES:
        raise ValueError(f"{name} is reserved for the console itself or for its database")
    return name


def _domain(domain: str) -> str:
    if domain == "localhost":
        return domain
    if not domain.isascii():
        raise ValueError(f"write it in ASCII{_punycode(domain)}")
    if ":" in domain or "/" in domain:
        raise ValueError("the bare name only: no http://, no port, no path")
    if domain != domain.lower():
        raise ValueError(f"write it in lower case: {domain.lower()}")
    labels = domain.split(".")
    if len(domain) > 253 or not all(_LABEL.fullmatch(label) for label in labels):  # noqa: PLR2004  RFC 1035
        raise ValueError("letters, digits, hyphens and dots only, like chat.example.com")
    if labels[-1].isdigit():
        raise ValueError("an IP address is not a domain")
    if len(labels) == 1:
        raise ValueError("a domain has at least two parts, like chat.example.com")
    return domain


def _punycode(domain: str) -> str:
    try:
        return f": {domain.lower().encode('idna').decode()}"
    except UnicodeError:
        return ""


def _variable_name(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise ValueError("letters, digits and '_' only, not beginning with a digit")
    return name


def _size(value: object) -> object:
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if not match:
        raise ValueError("a size is written like 512m or 2g")
    power = " kmgt".index(match[2].lower() or " ")
    size = float(match[1]) * 1024**power
    if size >= _LARGEST_SIZE:
        raise ValueError("no machine has that much")
    return int(size)


def _schema_name(name: str) -> str:
    if not _SCHEMA.fullmatch(name):
        raise ValueError(f"1 to {CLIENT_NAME_LENGTH} letters, digits, '_' and '-' only, beginning with a letter")
    if name.lower() in RESERVED_SCHEMAS or name.lower().startswith("pg_"):
        raise ValueError(f"{name} is PostgreSQL's, Supabase's or the sync system's own")
    return name


ClientName = Annotated[str, AfterValidator(_client_name)]
# The predecessor's replicas may have capitals and '_' in their names.
SchemaName = Annotated[str, AfterValidator(_schema_name)]
Domain = Annotated[str, AfterValidator(_domain)]
VariableName = Annotated[str, AfterValidator(_variable_name)]
Port = Annotated[int, Field(ge=1, le=65535)]
# Below 1024 the kernel asks for root, and nginx lives there; what an adopted container has, it keeps.
NewPort = Annotated[int, Field(ge=1024, le=65535)]
# Docker itself refuses less than 6 MB; Open WebUI does not start with less than this.
MemoryBytes = Annotated[int, BeforeValidator(_size), Field(ge=128 * 1024**2)]
Cpus = Annotated[float, Field(gt=0, le=1024)]


def is_local(domain: str) -> bool:
    """Say whether the domain is this machine's own name, served without TLS."""
    return domain == "localhost" or domain.endswith(".localhost")
