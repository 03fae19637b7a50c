"""What a demo leaves in this machine, and whether it is provably the demo's: what is not is never removed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from client_manager.app import App
from client_manager.demo.place import NAME, OF_THE_DEMO, PREFIX, Place
from client_manager.errors import Conflict
from client_manager.gateways import embedded_postgres, networks, process
from client_manager.models.container import (
    CONTAINER_PREFIX,
    LABEL_CLIENT,
    LABEL_CLUSTER,
    NEXT,
    PREVIOUS,
    ContainerSummary,
)
from client_manager.models.sync import NODE_NAMES

_END_S: Final = 60.0
_SERVERS: Final = ("initdb", "postgres")
_VOLUME: Final = f"{CONTAINER_PREFIX}{NAME}-data"
_NETWORKS: Final = ((f"{CONTAINER_PREFIX}{NAME}", LABEL_CLIENT), (f"{PREFIX}sync-{NAME}", LABEL_CLUSTER))
_CONTAINERS: Final = frozenset(
    f"{name}{ending}"
    for name in (f"{CONTAINER_PREFIX}{NAME}", *(f"{PREFIX}{node}" for node in NODE_NAMES))
    for ending in ("", NEXT, PREVIOUS)
)


@dataclass(frozen=True)
class Trace:
    """One thing that is there.

    Attributes:
        what: it is, for people.
        remove: does so; None: it is somebody else's, and why.
    """

    what: str
    remove: Callable[[], None] | None
    whose: str = ""


def on_docker(app: App, place: Place) -> tuple[Trace, ...]:
    """Return what of a demo's is on Docker, or has the name of it: containers first, then what they use.

    Raises:
        Unavailable: the Engine does not say.
    """
    return (*_containers(app, place), *_networks(app), *_volumes(app, place))


def processes(place: Place) -> tuple[Trace, ...]:
    """Return what a demo has started: nodes without Docker, and a command that takes back what it was doing."""
    return tuple(
        Trace(f"process {number}", partial(process.end, (number,), within_s=_END_S))
        for number in process.with_variable(OF_THE_DEMO, str(place.folder))
    )


def on_the_disk(place: Place) -> tuple[Trace, ...]:
    """Return a demo's PostgreSQL, which runs on its files, and its folder, which is last."""
    return (*_postgres(place), *_folder(place))


def require_ours(traces: tuple[Trace, ...]) -> None:
    """Return if everything is the demo's own.

    Raises:
        Conflict: something has the name of a demo's, and is not.
    """
    strange = [trace for trace in traces if trace.remove is None]
    if strange:
        raise Conflict(
            f"Something has the name that the demo's would have: {', '.join(trace.what for trace in strange)}.",
            why=" ".join(trace.whose for trace in strange),
            hint="Nothing was changed. If it is nobody's, remove it; else the demo cannot be played beside it.",
        )


def _containers(app: App, place: Place) -> Iterator[Trace]:
    volume_is_ours = _volume_is_ours(app, place)
    for row in app.engine.containers():
        ours = _is_ours(row, place) or (volume_is_ours and _VOLUME in row.mounts.values())
        if ours:
            yield Trace(f"container {row.name}", partial(app.engine.remove, row.id))
        elif row.name in _CONTAINERS:
            yield Trace(f"container {row.name}", None, f"The container uses nothing in {place.folder}.")


def _is_ours(row: ContainerSummary, place: Place) -> bool:
    labelled = NAME in {row.labels.get(LABEL_CLIENT), row.labels.get(LABEL_CLUSTER)}
    return labelled and any(source.startswith(f"{place.folder}/") for source in row.mounts.values())


def _networks(app: App) -> Iterator[Trace]:
    for name, label in _NETWORKS:
        labels = networks.labels_of(app.engine, name)
        if labels is not None and labels.get(label) == NAME:
            yield Trace(f"network {name}", partial(app.engine.remove_network, name))
        elif labels is not None:
            yield Trace(f"network {name}", None, "The network has not the labels of a demo's.")


def _volumes(app: App, place: Place) -> Iterator[Trace]:
    if app.engine.volume_device(_VOLUME) is None:
        return
    if _volume_is_ours(app, place):
        yield Trace(f"volume {_VOLUME}", partial(app.engine.remove_volume, _VOLUME))
    else:
        yield Trace(f"volume {_VOLUME}", None, f"The volume is no folder in {place.folder}.")


def _volume_is_ours(app: App, place: Place) -> bool:
    return (app.engine.volume_device(_VOLUME) or "").startswith(f"{place.folder}/")


def _postgres(place: Place) -> Iterator[Trace]:
    if _servers(place):
        yield Trace("its PostgreSQL", partial(_stop, place))


def _servers(place: Place) -> tuple[int, ...]:
    """Return the server and what starts it: one that has only begun to start listens to nobody yet.

    What initdb runs says no folder on its command line, but works in it, also when initdb was killed.
    """
    named = process.started_with(("-D",), f"{place.postgres}/")
    return tuple({*named, *process.working_in(place.postgres, _SERVERS)})


def _stop(place: Place) -> None:
    embedded_postgres.stop(place.postgres)
    while left := _servers(place):  # who is ended may leave behind what it has started
        process.end(left, within_s=_END_S)


def _folder(place: Place) -> Iterator[Trace]:
    if place.is_there:
        yield Trace(f"folder {place.folder}", place.delete)
