"""Which story the demo plays: a missing image leads to the other one, and a signal to neither."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from client_manager.app import App
from client_manager.demo import choice, run
from client_manager.demo.choice import Choice
from client_manager.demo.place import Place
from client_manager.errors import Conflict, Ended
from client_manager.gateways import interrupts
from client_manager.gateways.docker_engine import DockerEngine
from client_manager.settings import Settings


def test_an_image_that_cannot_be_had_leads_to_the_other_story(settings: Settings, docker_api: Any) -> None:
    del docker_api
    app = App(settings.model_copy(update={"image": "localhost:9/nothing:v1"}))
    found = choice.make_ready(app, Choice("docker"), lambda *_: None)
    assert found.story == "processes"
    assert "localhost:9/nothing:v1" in found.why


@pytest.mark.parametrize("begin", [choice.look, lambda app: choice.make_ready(app, Choice("docker"), lambda *_: None)])
def test_a_signal_while_docker_is_asked_ends_the_demo(
    settings: Settings, docker_api: Any, monkeypatch: pytest.MonkeyPatch, begin: Any
) -> None:
    del docker_api
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)
    for name in ("version", "find_image"):
        monkeypatch.setattr(DockerEngine, name, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    interrupts.install()
    try:
        with pytest.raises(Ended):
            begin(App(settings))
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGHUP, before[1])


def test_a_demo_that_came_while_this_one_waited_is_not_touched(tmp_path: Path, settings: Settings) -> None:
    place = Place(tmp_path / "demo")
    with place.taken():
        place.prepare(settings, "docker")
    with place.taken(), pytest.raises(Conflict, match="There is a demo"):
        run._require_still_free(place)


def test_settings_that_were_cut_off_name_the_operators_docker(tmp_path: Path, settings: Settings) -> None:
    place = Place(tmp_path / "demo")
    with place.taken():
        place.config.touch()
    assert place.engine_of(settings) == settings
