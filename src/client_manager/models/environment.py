"""What the console knows about Open WebUI's variables; pure functions on name -> value."""

import re
from collections.abc import Mapping
from typing import Final

from client_manager.models.names import is_local

MASK: Final = "********"
SECRET_KEY: Final = "WEBUI_SECRET_KEY"  # noqa: S105  a variable's name
DATABASE_URL: Final = "DATABASE_URL"
WEBUI_URL: Final = "WEBUI_URL"

# The image, its health check and the published port depend on these; the console sets none and lets nobody set them.
RESERVED: Final = frozenset({"DATA_DIR", "HOST", "PORT"})
# These follow from the domain; another value would lock users out, so only `client set-domain` changes them.
FROM_DOMAIN: Final = frozenset(
    {WEBUI_URL, "CORS_ALLOW_ORIGIN", "WEBUI_AUTH_COOKIE_SECURE", "WEBUI_SESSION_COOKIE_SECURE"}
)
# Read from the environment at the first start only; afterwards the application's own copy wins, until an
# administrator changes it in the admin panel (Open WebUI environment reference, "ConfigVar").
KEPT_BY_THE_APPLICATION: Final = frozenset({
    "DEFAULT_USER_ROLE", "ENABLE_API_KEYS", "ENABLE_LOGIN_FORM", "ENABLE_PASSWORD_AUTH", "ENABLE_SIGNUP",
    "JWT_EXPIRES_IN", "OLLAMA_BASE_URL", "OLLAMA_BASE_URLS", "OPENAI_API_BASE_URL", "OPENAI_API_BASE_URLS",
    "OPENAI_API_KEY", "OPENAI_API_KEYS",
})  # fmt: skip
# E-mail domains, which need not move when the site's domain does.
_NOT_THE_SITE: Final = frozenset({"OAUTH_ALLOWED_DOMAINS", "WEBUI_ADMIN_EMAIL"})

_SECRET_NAME = re.compile(
    r"KEY|SECRET|PASSWORD|PASSWD|PASSPHRASE|TOKEN|CREDENTIAL|DSN|(?:^|_)(?:PASS|PWD)\d*(?:_|$)", re.IGNORECASE
)
# A password may hold anything that somebody forgot to encode, slashes and spaces too; or stand among the parameters.
_CREDENTIALS_IN_URL = re.compile(r"://.*@|[?&]\w*(?:KEY|SECRET|PASSW|PWD|TOKEN)\w*=", re.IGNORECASE | re.DOTALL)


def is_secret(name: str, value: str) -> bool:
    """Say whether a variable must be masked: by its name, or because its value is a URL with credentials.

    Masks too much rather than too little.
    """
    return name == DATABASE_URL or bool(_SECRET_NAME.search(name) or _CREDENTIALS_IN_URL.search(value))


def public_url(domain: str, port: int | None) -> str:
    """Return the address that users type: https behind nginx, or this machine's own published port."""
    if is_local(domain):
        return f"http://{domain}:{port}" if port else f"http://{domain}"
    return f"https://{domain}"


def variables_for_domain(domain: str, port: int | None) -> dict[str, str]:
    """Return the variables of ``FROM_DOMAIN`` for a domain."""
    url = public_url(domain, port)
    secure = str(url.startswith("https://")).lower()
    return {
        WEBUI_URL: url,
        "CORS_ALLOW_ORIGIN": url,
        "WEBUI_AUTH_COOKIE_SECURE": secure,
        "WEBUI_SESSION_COOKIE_SECURE": secure,
    }


def defaults() -> dict[str, str]:
    """Return what a new client starts with beyond its domain and its key."""
    return {
        # `strict` breaks the OAuth callback
        "WEBUI_SESSION_COOKIE_SAME_SITE": "lax",
        # replication reads a WAL database without blocking its writer
        "DATABASE_ENABLE_SQLITE_WAL": "true",
        # unset means a write on every request
        "DATABASE_USER_ACTIVE_STATUS_UPDATE_INTERVAL": "300",
    }


def follow_domain(
    variables: Mapping[str, str], old: str, new: str, *, ports: tuple[int | None, int | None] = (None, None)
) -> dict[str, str]:
    """Return the variables with the domain ``old`` replaced wherever it stands as a host of its own.

    ``chat.acme.test`` in ``https://chat.acme.test/oauth/oidc/callback`` follows; in ``user@chat.acme.test``, in
    ``old-chat.acme.test`` and in ``chat.acme.test.example`` it does not. ``localhost`` follows only as the whole public
    URL, with its port: other services of this machine have the same name.

    Args:
        variables: name -> value.
        old: the domain until now.
        new: the domain from now on.
        ports: the client's port on this machine until now, and from now on.
    """
    before, after = public_url(old, ports[0]), public_url(new, ports[1])
    site = re.compile(rf"(?<![\w.@-]){re.escape(before)}(?![\w:-]|\.\w)")
    host = re.compile(rf"(?<![\w.@-]){re.escape(old)}(?![\w-]|\.\w)")

    def follow(value: str) -> str:
        value = site.sub(lambda _: after, value)
        return value if is_local(old) else host.sub(lambda _: new, value)

    return {name: value if name in _NOT_THE_SITE else follow(value) for name, value in variables.items()}


def database_kind(variables: Mapping[str, str]) -> str:
    """Return ``postgresql`` or ``sqlite``, by the rule of Open WebUI: DATABASE_URL, or all of its parts."""
    parts = ("DATABASE_TYPE", "DATABASE_HOST", "DATABASE_NAME")
    scheme = variables.get("DATABASE_TYPE", "") if all(variables.get(part) for part in parts) else ""
    scheme = scheme or variables.get(DATABASE_URL, "")
    return "postgresql" if scheme.startswith("postgres") else "sqlite"
