"""Creating a client on the real Engine."""

import json
import urllib.request
from typing import Any

from client_manager.app import App
from client_manager.deployment import create
from client_manager.models.client_request import CreateRequest
from tests.steps import Steps


def test_a_created_client_answers_on_its_port(app: App, docker_api: Any, name: str) -> None:
    steps = Steps()
    spec = create.create(app, create.plan_create(app, CreateRequest(name=name, domain=f"{name}.example.test")), steps)

    with urllib.request.urlopen(f"http://127.0.0.1:{spec.port}/environment") as answer:
        environment = json.load(answer)
    inspected = docker_api.inspect_container(f"openwebui-{name}")
    assert environment["WEBUI_URL"] == f"https://{name}.example.test"
    assert environment["WEBUI_SECRET_KEY"] == spec.secrets["WEBUI_SECRET_KEY"].get_secret_value()
    assert inspected["HostConfig"]["PortBindings"]["8080/tcp"] == [{"HostIp": "127.0.0.1", "HostPort": str(spec.port)}]
    assert inspected["HostConfig"]["SecurityOpt"] == ["no-new-privileges"]
    assert (app.settings.data_root / name / "data" / "webui.db").exists()
