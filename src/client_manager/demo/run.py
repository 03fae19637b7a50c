"""The demo from its first word to its last, whatever comes between."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from client_manager import __version__
from client_manager.app import App
from client_manager.demo import choice as choosing
from client_manager.demo import clearing, traces
from client_manager.demo.acts import since
from client_manager.demo.choice import Choice
from client_manager.demo.docker_story import DockerStory
from client_manager.demo.narration import Narrator
from client_manager.demo.place import NAME, REMOVE, Place
from client_manager.demo.process_story import ProcessStory
from client_manager.demo.stage import Stage
from client_manager.errors import Cancelled, ClientManagerError, Conflict, Ended
from client_manager.menu.session import Session
from client_manager.models.operation import Progress

Tale = DockerStory | ProcessStory
_REMOVED: Final = "Everything that the demo had made is removed."
_WHAT: Final = (
    "It does the real thing, in a throw-away place: a client is made and replicated to PostgreSQL by a cluster of two "
    "nodes, the leader is killed, the cluster is taken down and brought back, and everything is removed."
)
_HOW: Final = (
    "What begins with $ is typed, as an operator would; what begins with 'Looked:' was found by asking PostgreSQL, "
    "Docker, the application or the disk instead of the command."
)


def play(session: Session, *, keep: bool) -> None:
    """Play the demo, and leave nothing, or with ``keep`` everything.

    Raises:
        Conflict: a demo is there already, or something that has the name of one's and is not.
        NoAnswer: nobody is there to agree.
        DoesNotHold: something that is shown is not so.
        Cancelled: the operator ended it.
    """
    place, narrator = Place.beside(session.app.settings), Narrator(session)
    choice = choosing.look(session.app)
    _require_no_demo(session.app, place, docker=choice.story == "docker")
    _announce(narrator, session.app, place, choice)
    session.confirm("Play it?")
    choice = _ready(session, narrator, choice)
    app = App(place.settings(session.app.settings))
    with place.taken():
        _require_still_free(place)
        with _cleared_away(app, place, choice, keep=keep):
            place.prepare(app.settings, choice.story)
            stage = Stage(app, place, narrator, keep)
            story = DockerStory(stage) if choice.story == "docker" else ProcessStory(stage)
            story.play()
            if keep:
                narrator.act("It is deployed again, and kept")
                story.run_again()
                _say_how_to_look(stage, story)
            else:
                _end(stage, story, choice)


def remove(session: Session) -> None:
    """Remove what a demo that was kept, or cut off, has left.

    Raises:
        Conflict: a demo plays there now, or something has the name of one's and is not.
        Unavailable: Docker, where the demo was, does not answer.
    """
    place = Place.beside(session.app.settings)
    app = App(place.engine_of(session.app.settings))
    story = place.story if place.is_there else ""
    docker = story == "docker" if story else choosing.has_docker(app)
    if not place.is_there and not (docker and traces.on_docker(app, place)):
        session.say(f"No demo is in {place.folder}.")
        return
    with place.taken():
        found = clearing.clear(app, place, docker=docker)
    session.say(f"Removed: {', '.join(found)}.")
    session.say("Nothing of the demo is left.", "good")


def _require_no_demo(app: App, place: Place, *, docker: bool) -> None:
    """Return if nothing is where the demo would be.

    Raises:
        Conflict: something is.
    """
    left = traces.on_docker(app, place) if docker else ()
    traces.require_ours(left)
    if left or place.is_there:
        said = f" ({', '.join(trace.what for trace in left)})" if left else ""
        raise Conflict(
            f"There is a demo in {place.folder} already{said}.",
            why="It plays now, was kept, or was cut off.",
            hint=f"Remove it: {REMOVE}",
        )


def _require_still_free(place: Place) -> None:
    """Refuse, and touch nothing, where another demo was played since the first look: only one prepares a story."""
    if place.story:
        raise Conflict(
            f"There is a demo in {place.folder} already.",
            why="It was begun while this one waited.",
            hint=f"Remove it: {REMOVE}",
        )


def _announce(narrator: Narrator, app: App, place: Place, choice: Choice) -> None:
    narrator.says(f"The demo of client-manager {__version__}", "heading")
    narrator.says(_WHAT)
    narrator.says(_HOW)
    narrator.says(f"Everything on the disk is in {place.folder}.")
    _say_where(narrator, app, choice)


def _say_where(narrator: Narrator, app: App, choice: Choice) -> None:
    if choice.story == "docker":
        narrator.says(f"Docker is at {app.engine.endpoint}; all of the demo's is called openwebui-{NAME}.")
        narrator.says(f"The client's image is {app.settings.image}.")
        return
    narrator.says(f"Without Docker: {choice.why}", "attention")
    narrator.says("So two nodes run as processes here, on a database that the real Open WebUI has written.")


def _ready(session: Session, narrator: Narrator, choice: Choice) -> Choice:
    """Get the images, and return the story that can be played then."""
    with session.working() as report:
        ready = choosing.make_ready(
            session.app,
            choice,
            lambda line, fraction: report(Progress(step="Getting the images", detail=line, fraction=fraction)),
        )
    if ready != choice:
        _say_where(narrator, session.app, ready)
    return ready


@contextmanager
def _cleared_away(app: App, place: Place, choice: Choice, *, keep: bool) -> Iterator[None]:
    """Leave nothing behind a demo that fails or is ended; with ``keep`` everything."""
    try:
        yield
    except BaseException as error:
        note = f"It stays as it is. Remove it: {REMOVE}" if keep else _cleared(app, place, choice)
        if isinstance(error, KeyboardInterrupt):
            raise Cancelled("The demo was interrupted.", why=note) from error
        error.add_note(note)
        raise


def _cleared(app: App, place: Place, choice: Choice) -> str:
    """Remove everything, and return what to say of that."""
    try:
        clearing.clear(app, place, docker=choice.story == "docker")
    except (KeyboardInterrupt, Ended):  # held back until everything was removed
        return _REMOVED
    except ClientManagerError as error:
        return f"Not all that it had made could be removed. {error.what} {error.why} Next: {REMOVE}"
    return _REMOVED


def _end(stage: Stage, story: Tale, choice: Choice) -> None:
    stage.narrator.act("Everything goes")
    story.remove_the_client()
    found = clearing.clear(stage.app, stage.place, docker=choice.story == "docker")
    stage.narrator.tell(f"The demo removes its own: {', '.join(found)}.")
    stage.narrator.looked(story.nothing_left)
    stage.narrator.says("")
    stage.narrator.says(f"All of it held, in {since(stage.began):.0f} s. {_stays(choice)}".rstrip(), "good")
    stage.narrator.says(
        "With a real host: 'make run' opens the menu, 'client-manager client create NAME --domain D' makes a client, "
        "and docs/guide.md goes on from there, by task."
    )


def _stays(choice: Choice) -> str:
    """Say what a demo leaves, which the next command would make again."""
    kept = ["the images"] if choice.story == "docker" else []
    kept += ["the account of the embedded PostgreSQL"] if os.geteuid() == 0 else []
    return f"What stays for the next time: {' and '.join(kept)}." if kept else ""


def _say_how_to_look(stage: Stage, story: Tale) -> None:
    says = stage.narrator.says
    says("")
    says(f"All of it held, in {since(stage.began):.0f} s, and everything runs. To look at it:", "good")
    for name in stage.place.variables_in_the_way:
        says(f"    unset {name}")
    says(f"    export CLIENT_MANAGER_CONFIG={stage.place.config}")
    for line in story.ways_in:
        says(f"    {line}")
    says(f"To remove it: {REMOVE}")
