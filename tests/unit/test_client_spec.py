"""The spec of a client: what it refuses, what it hides, how it is compared."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from client_manager.errors import InvalidInput
from client_manager.models.base import parse
from client_manager.models.client import (
    Assignment,
    Carried,
    ClientSpec,
    differences,
    masked,
    split_secrets,
    variable_differences,
)
from client_manager.models.client_request import ChangeRequest, CreateRequest
from client_manager.models.environment import DATABASE_URL, FROM_DOMAIN, MASK, RESERVED, SECRET_KEY

KEY = "k-very-secret-0123456789"
URL = "postgresql://acme:hunter2-secret@db.test/acme"


def _spec(**changes: object) -> ClientSpec:
    fields: dict[str, Any] = {
        "name": "acme",
        "container": "openwebui-acme",
        "domain": "chat.acme.test",
        "image": "ghcr.io/open-webui/open-webui:v0.12.4",
        "image_digest": "sha256:1",
        "port": 8081,
        "env": {"WEBUI_URL": "https://chat.acme.test"},
        "secrets": {SECRET_KEY: KEY, DATABASE_URL: URL},
        "memory_bytes": 2**30,
    }
    return ClientSpec.model_validate({**fields, **changes})


def _carried() -> Carried:
    return Carried(container_id="1", config={"Cmd": ["x"]}, host_config={"Binds": ["a:/b"]}, endpoints={})


def test_spec_comes_back_from_its_file_with_its_secrets() -> None:
    spec = _spec(carried=_carried())

    again = ClientSpec.model_validate_json(spec.to_json())

    assert again == spec
    assert again.secrets[SECRET_KEY].get_secret_value() == KEY


_VALUES = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\x00"), max_size=40)


@given(st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]{0,20}", fullmatch=True), _VALUES, max_size=6))
def test_any_variable_comes_back_from_the_file_with_its_value(variables: dict[str, str]) -> None:
    wanted = {**variables, SECRET_KEY: KEY}
    spec = _spec(env={}).with_variables(wanted)

    assert ClientSpec.model_validate_json(spec.to_json()).variables() == wanted


@pytest.mark.parametrize("way", ["repr", "str", "model_dump", "model_dump_json", "json mode", "format", "copy"])
def test_secrets_are_masked_wherever_a_spec_is_shown(way: str) -> None:
    spec = _spec()
    shown = {
        "repr": repr(spec),
        "str": str(spec),
        "model_dump": str(spec.model_dump()),
        "model_dump_json": spec.model_dump_json(),
        "json mode": json.dumps(spec.model_dump(mode="json")),
        "format": f"{spec}",
        "copy": repr(spec.model_copy(update={"port": 8082})),
    }[way]

    assert KEY not in shown
    assert "hunter2" not in shown
    assert SECRET_KEY in shown


def test_secrets_are_not_repeated_when_a_spec_is_refused() -> None:
    with pytest.raises(ValidationError) as caught:
        _spec(secrets={SECRET_KEY: KEY, "not a name": URL}, env={"PLAIN": URL}, port=0)

    assert KEY not in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "beta"),
        ("container", "openwebui-beta"),
        ("domain", "chat.beta.test"),
        ("image", "ghcr.io/open-webui/open-webui:v0.12.5"),
        ("image_digest", "sha256:2"),
        ("port", None),
        ("port", 8082),
        ("env", {"WEBUI_URL": "https://chat.acme.test", "A": ""}),
        ("env", {}),
        ("secrets", {SECRET_KEY: "another", DATABASE_URL: URL}),
        ("secrets", {SECRET_KEY: KEY}),
        ("memory_bytes", None),
        ("memory_bytes", 2**31),
        ("cpus", 0.5),
        ("carried", _carried()),
    ],
)
def test_hash_changes_with_every_field(field: str, value: object) -> None:
    assert _spec().hash() != _spec(**{field: value}).hash()


def test_hash_is_the_same_for_the_same_spec_in_another_order() -> None:
    one = _spec(secrets={SECRET_KEY: KEY, DATABASE_URL: URL})
    other = _spec(secrets={DATABASE_URL: URL, SECRET_KEY: KEY})

    assert one.hash() == other.hash()
    assert len(one.hash()) == 16


def test_hash_covers_every_field_of_the_spec() -> None:
    tested = {"name", "container", "domain", "image", "image_digest", "port", "env", "secrets", "memory_bytes", "cpus"}

    assert set(ClientSpec.model_fields) == {*tested, "carried", "format"}


@pytest.mark.parametrize("secrets", [{}, {SECRET_KEY: ""}, {DATABASE_URL: URL}])
def test_spec_without_its_secret_key_is_refused(secrets: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match=f"{SECRET_KEY} is missing"):
        _spec(secrets=secrets)


@pytest.mark.parametrize("env", [{"OPENAI_API_KEY": "sk-1"}, {"REDIS_URL": "redis://u:p@h"}])
def test_a_secret_among_plain_variables_counts_as_a_secret(env: dict[str, str]) -> None:
    spec = _spec(env=env)

    assert not spec.env.keys() & env.keys()
    assert {name: spec.secrets[name].get_secret_value() for name in env} == env


def test_spec_with_an_unknown_field_is_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        _spec(colour="red")


def test_spec_of_another_format_is_refused() -> None:
    with pytest.raises(ValidationError, match="Input should be 1"):
        _spec(format=2)


def test_changed_spec_obeys_every_rule_again() -> None:
    with pytest.raises(ValidationError, match="Input should be less than or equal to 65535"):
        _spec().with_changes(port=70000)


def test_variables_of_a_spec_are_sorted_into_plain_and_secret() -> None:
    sorted_out = split_secrets({"A": "1", "API_KEY": "2", "P": "http://u:p@h"})

    assert sorted_out == {"env": {"A": "1"}, "secrets": {"API_KEY": "2", "P": "http://u:p@h"}}


def test_differences_name_what_changed_and_mask_secrets() -> None:
    old = _spec()
    new = _spec(port=8082, memory_bytes=None, secrets={SECRET_KEY: "new-key-secret", DATABASE_URL: URL}, env={})

    found = [(change.field, change.before, change.after) for change in differences(old, new)]

    assert found == [
        ("port", "8081", "8082"),
        ("memory_bytes", str(2**30), "(none)"),
        (SECRET_KEY, MASK, MASK),
        ("WEBUI_URL", "https://chat.acme.test", "(unset)"),
    ]


def test_differences_of_the_same_spec_are_none() -> None:
    assert differences(_spec(), _spec()) == ()


@given(_VALUES, _VALUES)
def test_differences_never_hold_a_secret_value(before: str, after: str) -> None:
    before, after = f"hunter2{before}", f"hunter3{after}"
    changes = variable_differences({"X_TOKEN": before, "U": f"http://a:{before}@h"}, {"X_TOKEN": after})

    assert {change.field for change in changes} == {"X_TOKEN", "U"}
    assert "hunter" not in repr(changes)


def test_masked_tells_unset_and_empty_from_hidden() -> None:
    assert (masked("API_KEY", None), masked("API_KEY", ""), masked("API_KEY", "x")) == ("(unset)", "", MASK)


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_assignment_of_what_the_image_relies_on_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="belongs to the image"):
        Assignment(name=name, value="x")


def test_assignment_with_a_nul_is_refused() -> None:
    with pytest.raises(ValidationError, match="NUL"):
        Assignment(name="A", value="a\x00b")


def _set(name: str) -> tuple[Assignment, ...]:
    return (Assignment(name=name, value="x"),)


@pytest.mark.parametrize("name", sorted(FROM_DOMAIN))
def test_domain_variable_is_set_by_no_request(name: str) -> None:
    with pytest.raises(ValidationError, match="set-domain"):
        CreateRequest(name="acme", domain="chat.acme.test", env=_set(name))
    with pytest.raises(ValidationError, match="set-domain"):
        ChangeRequest(env=_set(name))
    with pytest.raises(ValidationError, match="set-domain"):
        ChangeRequest(unset=(name,))


@pytest.mark.parametrize("request_fields", [{"env": _set(SECRET_KEY)}, {"unset": (SECRET_KEY,)}])
def test_secret_key_is_changed_by_no_request(request_fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="is never changed"):
        ChangeRequest(**request_fields)


def test_variable_both_set_and_unset_is_refused() -> None:
    with pytest.raises(ValidationError, match="both set and unset"):
        ChangeRequest(env=_set("A"), unset=("A",))


def test_new_client_may_bring_its_own_secret_key() -> None:
    assert CreateRequest(name="acme", domain="chat.acme.test", env=_set(SECRET_KEY)).env[0].value == "x"


@pytest.mark.parametrize("port", [80, 1023, 65536])
def test_request_for_a_port_that_nobody_may_choose_is_refused(port: int) -> None:
    with pytest.raises(ValidationError):
        ChangeRequest(port=port)
    with pytest.raises(ValidationError):
        CreateRequest(name="acme", domain="chat.acme.test", port=port)


@pytest.mark.parametrize("url", ["postgresql://u:hidden@db.example:6543/postgres", "postgresql://u:hid/den@h:x/db"])
def test_database_url_that_open_webui_breaks_on_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(Assignment, {"name": DATABASE_URL, "value": url}, what=f"variable {DATABASE_URL}")

    assert "hid" not in f"{caught.value.what} {caught.value.why} {caught.value.hint}"
