"""Remove what a demo has made, all of it and nothing else, and look that nothing is left."""

from client_manager.app import App
from client_manager.demo import traces
from client_manager.demo.place import Place
from client_manager.errors import ClientManagerError
from client_manager.gateways import interrupts


def clear(app: App, place: Place, *, docker: bool) -> tuple[str, ...]:
    """Remove everything; nothing interrupts it. Return what was there.

    Args:
        app: the gateways.
        place: the demo's folder, held.
        docker: whether the demo can have made anything there.

    Raises:
        Conflict: something has the name of a demo's, and is not; nothing was removed then.
        ClientManagerError: something could not be removed; says what.
    """
    with interrupts.deferred():
        traces.require_ours(look(app, place, docker=docker))
        removed = _remove(traces.processes(place))  # first: what they do not take back is looked for after that
        removed += _remove(look(app, place, docker=docker))
        require_nothing_left(app, place, docker=docker)
    return removed


def _remove(found: tuple[traces.Trace, ...]) -> tuple[str, ...]:
    traces.require_ours(found)
    for trace in found:
        if trace.remove is not None:
            trace.remove()
    return tuple(trace.what for trace in found)


def look(app: App, place: Place, *, docker: bool) -> tuple[traces.Trace, ...]:
    """Return what is there, in the order in which it can be removed."""
    return (*traces.processes(place), *(traces.on_docker(app, place) if docker else ()), *traces.on_the_disk(place))


def require_nothing_left(app: App, place: Place, *, docker: bool) -> None:
    """Return if nothing of a demo's is there.

    Raises:
        ClientManagerError: something is; says what.
    """
    left = look(app, place, docker=docker)
    if left or place.folder.exists():
        said = ", ".join(trace.what for trace in left) or str(place.folder)
        raise ClientManagerError(
            "Something of the demo's is still there after its removal.",
            why=f"There is: {said}.",
            hint="Look who uses it, then repeat: client-manager demo --remove",
        )
