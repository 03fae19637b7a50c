"""The address of a database, read out of its URL: what libpq is given, and the part of it that may be shown."""

import ipaddress
import os
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from client_manager.errors import ConfigurationError

# An '@' or '/' that a password holds as it is makes libpq read the rest of the password as the host's name.
_SHAPE: Final = re.compile(r"postgres(?:ql)?://(?:[^@/]*@)?[^@?]*(?:\?[^@]*)?")
_PORT: Final = "5432"
_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_SHARED_POOLER: Final = ".pooler.supabase.com"
_HINT: Final = (
    "postgresql://USER:PASSWORD@HOST:5432/DATABASE; in the password write @ as %40, / as %2F, : as %3A, # as %23, "
    "? as %3F and % as %25."
)


Place = Literal["socket", "loopback", "remote"]


class Address(NamedTuple):
    """Where a database is, for people (``name``) and for libpq (``parameters``, which hold the password)."""

    name: str
    parameters: Mapping[str, object]


def read(url: SecretStr) -> Address:
    """Read a URL; a remote host must prove who it is, unless the URL says otherwise.

    Raises:
        ConfigurationError: libpq cannot read it. Its own words are not repeated: they quote the password.
    """
    parameters = _parsed(url.get_secret_value())
    if parameters is None:
        raise ConfigurationError(
            "The database's URL cannot be read.", why="It is not shown here: it may hold a password.", hint=_HINT
        )
    return Address(_name(parameters), {**parameters, **_proof(parameters)})


def for_user(url: SecretStr, user: str, password: SecretStr, *, root_certificate: Path | None = None) -> SecretStr:
    """Return the URL of the same database for another user.

    Supabase's shared pooler finds the project by the user's name: ``USER.PROJECT``.

    Args:
        url: one that ``read`` accepts.
        user: as the database knows it.
        password: of that user.
        root_certificate: to check the server's certificate against, instead of what the URL names.
    """
    scheme, _, rest = url.get_secret_value().partition("://")
    place, _, query = rest.rpartition("@")[2].partition("?")
    own = str((_parsed(url.get_secret_value()) or {}).get("user") or "")
    if "." in own and place.partition("/")[0].partition(":")[0].endswith(_SHARED_POOLER):
        user = f"{user}.{own.rpartition('.')[2]}"
    options = [(name, value) for name, value in parse_qsl(query) if name not in {"user", "password", "passfile"}]
    if root_certificate:
        options = [*((name, value) for name, value in options if name != "sslrootcert"),
                   ("sslrootcert", str(root_certificate))]  # fmt: skip
    login = f"{quote(user, safe='')}:{quote(password.get_secret_value(), safe='')}"
    tail = f"?{urlencode(options, quote_via=quote)}" if options else ""
    return SecretStr(f"{scheme}://{login}@{place}{tail}")


def placed(parameters: Mapping[str, object]) -> Place:
    """Return where a database is, seen from this machine."""
    if _is_remote(parameters):
        return "remote"
    return "socket" if all(not host or host.startswith("/") for host in _hosts(parameters)) else "loopback"


def hosts(parameters: Mapping[str, object]) -> tuple[str, ...]:
    """Return the names or addresses of a database's hosts, or the folders of its sockets."""
    return tuple(_hosts(parameters))


def own_certificate(parameters: Mapping[str, object]) -> Path | None:
    """Return the file of root certificates that is checked against, or None: the system's, or nothing is checked."""
    roots = str(parameters.get("sslrootcert") or os.environ.get("PGSSLROOTCERT") or "")
    if not roots and str(parameters.get("sslmode", "")).startswith("verify-"):
        roots = str(_own_roots())
    return None if roots in {"", "system", _system_roots()} else Path(roots)


def _parsed(url: str) -> dict[str, object] | None:
    if not _SHAPE.fullmatch(url):
        return None
    try:
        parameters: dict[str, object] = dict(conninfo_to_dict(url))
    except psycopg.Error:
        return None
    ports = str(parameters.get("port", _PORT)).split(",")
    return parameters if all(port.isdecimal() for port in ports if port) else None


def _name(parameters: Mapping[str, object]) -> str:
    """Return ``host:port/dbname`` or ``folder/dbname``."""
    hosts = _hosts(parameters)
    ports = str(parameters.get("port", "")).split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    places = (_place(host, port or _PORT) for host, port in zip(hosts, ports, strict=False))
    database = parameters.get("dbname") or os.environ.get("PGDATABASE")
    return f"{','.join(places)}/{database}" if database else ",".join(places)


def _place(host: str, port: str) -> str:
    if host.startswith("/"):
        return host
    if not host:
        return "local socket"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _hosts(parameters: Mapping[str, object]) -> list[str]:
    named = parameters.get("host") or parameters.get("hostaddr") or os.environ.get("PGHOST") or ""
    return str(named).split(",")


def _proof(parameters: Mapping[str, object]) -> dict[str, str]:
    """Return what makes libpq check the server's certificate and its name."""
    mode = str(parameters.get("sslmode") or ("verify-full" if _is_remote(parameters) else ""))
    roots = parameters.get("sslrootcert") or os.environ.get("PGSSLROOTCERT")
    proof = {"sslmode": mode} if mode else {}
    if roots == "system" or (not roots and mode.startswith("verify-") and not _own_roots().is_file()):
        proof["sslrootcert"] = _system_roots()
    return proof


def _is_remote(parameters: Mapping[str, object]) -> bool:
    if "service" in parameters:
        return True
    reached = parameters.get("hostaddr") or ",".join(_hosts(parameters))
    return not all(_is_loopback(host) for host in str(reached).split(","))


def _is_loopback(host: str) -> bool:
    if not host or host.startswith("/") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _own_roots() -> Path:
    """Return where libpq looks for root certificates by itself."""
    return Path.home() / ".postgresql" / "root.crt"


def _system_roots() -> str:
    """Return the system's root certificates.

    libpq's own word for them, ``system``, means the place that its OpenSSL was built for; that of psycopg's wheel
    (``/usr/lib/psycopg-openssl``) exists on no machine.
    """
    known = (os.environ.get("SSL_CERT_FILE"), ssl.get_default_verify_paths().cafile, *_BUNDLES)
    return next((path for path in known if path and Path(path).is_file()), "system")
