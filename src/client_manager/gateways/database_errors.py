"""psycopg's errors as the console's own: by SQLSTATE, and where connecting failed by libpq's words."""

import re
from typing import Final, NamedTuple

import psycopg

from client_manager.errors import ClientManagerError, ConfigurationError, Conflict, Unavailable

_MIGRATE: Final = "Run 'client-manager database migrate'."
_AGAIN: Final = "Try again."
_URL: Final = "Correct it with 'client-manager database use URL'."
_GRANT: Final = "Use the URL of the owner, or have the owner grant what is missing."


class _Fault(NamedTuple):
    kind: type[ClientManagerError]
    what: str
    hint: str = ""


_NO_ENTRY: Final = _Fault(Unavailable, "does not let this user in", _URL)
_NO_DATABASE: Final = _Fault(ConfigurationError, "does not exist: the server has no database of that name", _URL)
_FULL: Final = _Fault(Unavailable, "has no room left", "Free disk space there, or enlarge the disk.")
_BUSY: Final = _Fault(Unavailable, "has no connection left", "End idle connections, or go through a pooler.")
_LOST: Final = _Fault(Unavailable, "broke the connection off", "Look whether the server runs, then try again.")
_STARTING: Final = _Fault(Unavailable, "is starting or stopping", "Wait a moment, then try again.")
_TLS: Final = _Fault(
    Unavailable,
    "cannot prove who it is, or does not speak TLS",
    "Name the provider's root certificate in the URL: sslrootcert=/path/root.crt (Supabase: Database Settings, SSL); "
    "a server without TLS in a network that you trust needs sslmode=disable in the URL.",
)
_LACKS: Final = _Fault(ConfigurationError, "lacks something that the program needs", _MIGRATE)
_WAITED: Final = _Fault(Conflict, "was busy with the same rows", _AGAIN)

_BY_STATE: Final = {
    "28000": _NO_ENTRY,
    "28P01": _NO_ENTRY,
    "3D000": _NO_DATABASE,
    "42501": _Fault(Unavailable, "does not allow that to this user", _GRANT),
    "55P03": _WAITED,
    "40001": _WAITED,
    "40P01": _WAITED,
    "57014": _Fault(Unavailable, "took too long, and the statement was cancelled", _AGAIN),
    "25P03": _LOST,
    "25006": _Fault(
        Unavailable,
        "is read-only",
        "A standby is, and so is a Supabase project whose disk is full: use the primary, or free disk space.",
    ),
    "53100": _FULL,
    "53200": _Fault(Unavailable, "is out of memory", "Lower its load, then try again."),
    "53300": _BUSY,
    "57P01": _LOST,
    "57P02": _LOST,
    "57P03": _STARTING,
    "57P05": _LOST,
    "3F000": _LACKS,
    "42P01": _LACKS,
    "42703": _LACKS,
    "42883": _LACKS,
    "23505": _Fault(Conflict, "already has such a row"),
    # Ours, raised by migration 0001.
    "CM001": _Fault(
        ConfigurationError,
        "holds a schema sync_metadata that is not the predecessor's, and nothing was changed",
        "Give those columns their types back, or rename the schema: ALTER SCHEMA sync_metadata RENAME TO ...",
    ),
    "2BP01": _Fault(
        ConfigurationError,
        "holds something of another program's that depends on this",
        "Drop what the reason names, repeat this, and make it again.",
    ),
}
_BY_CLASS: Final = {
    "08": _LOST,
    "23": _Fault(ClientManagerError, "refused a row"),
    "53": _Fault(Unavailable, "is out of resources", "Lower its load, then try again."),
    "XX": _Fault(ClientManagerError, "is damaged or has failed inside", "Look at the server's log."),
}
_ANY: Final = _Fault(ClientManagerError, "refused a statement")

# libpq gives no SQLSTATE for a connection that did not come about; these are its words and the poolers'.
_BY_WORDS: Final = (
    (re.compile(r"password authentication failed|no password supplied|authentication (failed|error)|SASL"), _NO_ENTRY),
    (re.compile(r"no pg_hba\.conf entry|role \".*\" does not exist|is not permitted to log in"), _NO_ENTRY),
    (re.compile(r"Tenant or user not found|no such user"), _NO_ENTRY),
    (re.compile(r"database .* does not exist|no such database"), _NO_DATABASE),
    (re.compile(r"closed unexpectedly|SSL SYSCALL error: EOF"), _LOST),
    (re.compile(r"certificate|SSL|TLS", re.IGNORECASE), _TLS),
    (re.compile(r"too many (clients|connections)|connection slots|[Mm]ax client|no more connections"), _BUSY),
    (re.compile(r"starting up|shutting down|recovery mode|not yet accepting"), _STARTING),
    (
        re.compile(r"resolve|translate host name|Name or service not known|getaddrinfo"),
        _Fault(
            Unavailable, "cannot be found: its host has no address", "Check the host's name, and this machine's DNS."
        ),
    ),
    (
        re.compile(r"time(d )?out", re.IGNORECASE),
        _Fault(Unavailable, "did not answer in time", "Check the network and the firewall between."),
    ),
    (
        re.compile(r"Connection refused|No such file or directory|unreachable|No route"),
        _Fault(Unavailable, "cannot be reached", "Start the server, or correct its address: 'database use URL'."),
    ),
    (re.compile(r"closed the connection|connection (is |was )?(lost|closed)|reset by peer|terminating"), _LOST),
)
_UNKNOWN: Final = _Fault(Unavailable, "cannot be reached", _URL)


def state_of(error: psycopg.Error) -> str:
    """Return an error's SQLSTATE; psycopg leaves it out where the server spoke during the connecting."""
    return error.sqlstate or (error.diag.sqlstate if error.diag else None) or ""


def translated(where: str, error: psycopg.Error) -> ClientManagerError:
    """Return the error for a person, with the server's words only where they can hold no secret."""
    state = state_of(error)
    if state:
        fault = _BY_STATE.get(state) or _BY_CLASS.get(state[:2]) or _ANY
        return fault.kind(f"PostgreSQL at {where} {fault.what}.", why=_words_of(error, state), hint=fault.hint)
    fault = next((fault for words, fault in _BY_WORDS if words.search(str(error))), _UNKNOWN)
    if not isinstance(error, psycopg.OperationalError):
        fault = _ANY
    return fault.kind(f"PostgreSQL at {where} {fault.what}.", why=_reason(error), hint=fault.hint)


def _words_of(error: psycopg.Error, state: str) -> str:
    """Return the server's sentence, without a value that it quotes.

    A syntax error quotes the statement, which may set a password; a data exception quotes a tenant's value.
    """
    if state == "42601" or not error.diag.message_primary:
        return f"{type(error).__name__}, SQLSTATE {state}."
    said = error.diag.message_primary
    if state.startswith("22"):
        said = said.partition(': "')[0]
    return f"{said} (SQLSTATE {state})."


def _reason(error: psycopg.Error) -> str:
    """Return what the server said in refusing, which is not what it was sent; libpq's own words may quote the URL."""
    said = re.search(r"FATAL:\s*(.+)", str(error))
    return f"The server says: {said[1].strip()}." if said else type(error).__name__
