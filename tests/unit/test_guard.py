"""The guard: data goes only when it was asked for, is nobody else's, and lies where the console keeps data."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_manager.guard import RemovalSnapshot, decide_removal

ROOT = Path("/opt/openwebui")
_PARTS = st.sampled_from(["opt", "openwebui", "openwebui2", "acme", "data", "..", "etc"])
_PATHS = st.lists(_PARTS, max_size=5).map(lambda parts: Path("/", *parts))
_DATA = st.one_of(st.none(), _PATHS, _PATHS.map(lambda path: ROOT / path.relative_to("/")))
_SNAPSHOTS = st.builds(
    RemovalSnapshot,
    client=st.just("acme"),
    data=_DATA,
    data_root=st.one_of(st.just(ROOT), _PATHS),
    data_is_volume=st.booleans(),
    other_users=st.lists(st.sampled_from(["backup", "openwebui-beta"]), unique=True).map(tuple),
    operation=st.none() | st.just("change settings"),
    delete_data=st.booleans(),
)


def _snapshot(**changes: object) -> RemovalSnapshot:
    fields = {
        "client": "acme",
        "data": ROOT / "acme" / "data",
        "data_root": ROOT,
        "data_is_volume": False,
        "other_users": (),
        "operation": None,
        "delete_data": True,
    }
    return RemovalSnapshot.model_validate({**fields, **changes})


def _data_goes(snapshot: RemovalSnapshot) -> bool:
    decision = decide_removal(snapshot)
    return not decision.blockers and any("all data" in what for what in decision.goes)


@given(_SNAPSHOTS)
def test_data_that_was_not_asked_for_never_goes(snapshot: RemovalSnapshot) -> None:
    decision = decide_removal(snapshot)

    if not snapshot.delete_data:
        assert not any("data" in what or "key" in what for what in decision.goes)
        assert any("spec" in what for what in decision.stays)


@given(_SNAPSHOTS)
def test_data_that_another_container_uses_never_goes(snapshot: RemovalSnapshot) -> None:
    if snapshot.other_users:
        assert not _data_goes(snapshot)


@given(_SNAPSHOTS)
def test_folder_outside_the_data_root_never_goes(snapshot: RemovalSnapshot) -> None:
    if _data_goes(snapshot) and not snapshot.data_is_volume:
        assert snapshot.data is not None
        assert snapshot.data_root in snapshot.data.parents
        assert ".." not in snapshot.data.parts


@given(_SNAPSHOTS)
def test_nothing_goes_while_an_operation_is_cut_off(snapshot: RemovalSnapshot) -> None:
    if snapshot.operation:
        assert decide_removal(snapshot).blockers


@given(_SNAPSHOTS)
def test_data_is_named_on_exactly_one_side(snapshot: RemovalSnapshot) -> None:
    decision = decide_removal(snapshot)
    named = [what for what in (*decision.goes, *decision.stays) if what.startswith("all data in ")]

    assert named == ([f"all data in {snapshot.data}"] if snapshot.data else [])


def test_data_that_was_asked_for_goes_with_its_spec() -> None:
    decision = decide_removal(_snapshot())

    assert decision.blockers == ()
    assert decision.goes[2:] == ("all data in /opt/openwebui/acme/data", "the spec with its secret key")
    assert decision.stays == ()


def test_client_goes_and_its_data_stays_when_only_the_client_was_asked_for() -> None:
    decision = decide_removal(_snapshot(delete_data=False, other_users=("backup",), data=Path("/srv/acme")))

    assert decision.blockers == ()
    assert decision.goes == ("the container", "its network")


def test_volume_of_the_client_goes_although_docker_keeps_it_elsewhere() -> None:
    assert _data_goes(_snapshot(data=Path("/var/lib/docker/volumes/acme/_data"), data_is_volume=True))


@pytest.mark.parametrize(
    "data", ["/opt/openwebui", "/opt", "/", "/opt/openwebui2/acme", "/opt/openwebui/../acme", "/srv/acme"]
)
def test_blocker_says_where_the_data_lies(data: str) -> None:
    (blocker,) = decide_removal(_snapshot(data=Path(data))).blockers

    assert str(Path(data)) in blocker


def test_blocker_names_every_other_user() -> None:
    (blocker,) = decide_removal(_snapshot(other_users=("backup", "openwebui-beta"))).blockers

    assert "backup, openwebui-beta" in blocker


@pytest.mark.parametrize("delete_data", [True, False])
def test_a_registration_for_sync_stays_and_is_said(*, delete_data: bool) -> None:
    registered = decide_removal(_snapshot(registered=True, delete_data=delete_data))
    unknown = decide_removal(_snapshot(registered=None, sync_problem="It does not answer.", delete_data=delete_data))
    neither = decide_removal(_snapshot(registered=False, delete_data=delete_data))

    assert "client-manager sync deregister acme" in registered.stays[-1]
    assert "not known: It does not answer." in unknown.stays[-1]
    assert not any("sync" in what for what in neither.stays)
    assert registered.blockers == unknown.blockers == ()
