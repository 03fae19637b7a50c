"""What a cluster needs of its database: a place that containers reach, proof of who it is, rights, connections."""

import time
from collections.abc import Iterator
from typing import Final

from client_manager.app import App
from client_manager.gateways import database_url, pooling, sync_roles
from client_manager.models.cluster import ClusterSpec
from client_manager.models.cluster_plan import Check

_SKEW_S: Final = 5
_RESERVE: Final = 5


def connections(spec: ClusterSpec) -> int:
    """Return how many connections the nodes may have: at a failover both have all of theirs.

    A node has one for the election, one for its API and one to look for work, and each run up to three: two streams of
    a load and the run's own.
    """
    return 2 * (3 + 3 * spec.workers)


def place(app: App) -> Iterator[Check]:
    """Say which database it is, and from where the nodes reach it."""
    database = app.database
    how = {
        "socket": "over its socket, which is mounted",
        "loopback": "over this machine's own network",
        "remote": "over the network",
    }[database_url.placed(database.parameters)]
    kind = "embedded, " if app.settings.database_url is None else ""
    yield Check(name="database", severity="ok", what=f"{database.name}: {kind}reached {how}")


def tls(app: App) -> Iterator[Check]:
    """Say whether the server has to prove who it is."""
    parameters = app.database.parameters
    mode = str(parameters.get("sslmode", ""))
    if database_url.placed(parameters) != "remote":
        yield Check(name="TLS", severity="ok", what="not needed: the database is on this machine")
    elif mode == "verify-full":
        yield Check(name="TLS", severity="ok", what="the server must prove its name (sslmode=verify-full)")
    else:
        yield Check(
            name="TLS",
            severity="warning",
            what=f"sslmode={mode} lets somebody in between pass for the database.",
            hint="Take sslmode out of the URL, or write verify-full: client-manager database use URL.",
        )
    if "sslcert" in parameters or "sslkey" in parameters:
        yield Check(
            name="TLS",
            severity="critical",
            what="The URL names a certificate of the console's, which the nodes do not have.",
            hint="Use a URL with a password.",
        )


def pooler(app: App) -> Iterator[Check]:
    """Say whether a connection keeps its session, which decides how soon a killed leader is noticed."""
    if pooling.detect(app.database) == "session":
        yield Check(name="pooler", severity="ok", what="connections are sessions: a killed leader is noticed at once")
        return
    yield Check(
        name="pooler",
        severity="warning",
        what="A pooler of transactions is in front: a killed leader is noticed when its lease ends, after 9 seconds.",
        hint="Use the direct address or the pooler of sessions (Supabase: port 5432).",
    )


def rights(app: App, spec: ClusterSpec) -> Iterator[Check]:
    """Say whether the console may do what is to be done, and how far the server's clock and its connections are."""
    with sync_roles.of(app.database) as roles:
        before = time.time()
        me = roles.self()
        skew = me.clock - (before + time.time()) / 2
    yield _rights(me)
    yield _room(me, connections(spec))
    yield _clock(skew)


def _rights(me: sync_roles.Self) -> Check:
    if me.lacks:
        return Check(name="rights", severity="critical", what=sync_roles.refusal(me), hint=sync_roles.remedy(me))
    return Check(name="rights", severity="ok", what=f"{me.name} may make roles and schemas")


def _room(me: sync_roles.Self, needed: int) -> Check:
    free = me.connections - me.used
    what = f"{free} of {me.connections} connections are free; the nodes may take {needed}"
    if free < _RESERVE:
        hint = "End idle connections, or raise max_connections."
        return Check(name="connections", severity="critical", what=what, hint=hint)
    if free < needed:
        hint = "Raise max_connections, or go through a pooler of sessions."
        return Check(name="connections", severity="warning", what=what, hint=hint)
    return Check(name="connections", severity="ok", what=what)


def _clock(skew_s: float) -> Check:
    what = f"this machine's clock and the server's are {abs(skew_s):.1f} s apart"
    if abs(skew_s) <= _SKEW_S:
        return Check(name="time", severity="ok", what=what)
    hint = "Set up NTP ('timedatectl'). The lead does not depend on it, but times in logs do."
    return Check(name="time", severity="warning", what=what, hint=hint)
