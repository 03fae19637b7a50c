"""When clients are due, by a clock that only the test moves."""

import pytest

from client_manager.node.schedule import Lanes, Schedule


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def schedule(clock: Clock) -> Schedule:
    """Its dice always show the longest wait."""
    return Schedule(clock, draw=lambda _, longest: longest)


def test_clients_are_due_in_the_order_of_their_times_and_once(schedule: Schedule, clock: Clock) -> None:
    schedule.add("late", 60, due_in_s=2)
    schedule.add("early", 60, due_in_s=1)
    schedule.add("later", 60, due_in_s=3)
    assert schedule.due() == []
    assert schedule.next_at() == 1001
    clock.now = 1002
    assert schedule.due() == ["early", "late"]
    assert schedule.due() == []
    assert schedule.next_at() == 1003


def test_an_overdue_client_is_due_at_once(schedule: Schedule) -> None:
    schedule.add("acme", 60, due_in_s=-5000)
    assert schedule.due() == ["acme"]


def test_late_looks_and_long_runs_add_up_to_no_drift(schedule: Schedule, clock: Clock) -> None:
    schedule.add("acme", 10)
    seen = []
    for _ in range(100):
        assert schedule.due() == ["acme"]
        seen.append(clock.now)
        clock.now += 3.7  # it runs
        schedule.went_well("acme")
        clock.now = schedule.next_at() + 0.3  # and is looked at late
    assert [round(at - 1000, 6) for at in seen] == [0.0] + [round(10 * n + 0.3, 6) for n in range(1, 100)]


def test_a_pause_is_not_followed_by_a_burst(schedule: Schedule, clock: Clock) -> None:
    schedule.add("acme", 10)
    assert schedule.due() == ["acme"]
    schedule.went_well("acme")
    clock.now = 1000 + 3605
    assert schedule.due() == ["acme"]
    schedule.went_well("acme")
    assert schedule.due() == []
    assert schedule.next_at() == 1000 + 3610


def test_a_run_longer_than_the_interval_waits_for_the_next_regular_time(schedule: Schedule, clock: Clock) -> None:
    schedule.add("acme", 10)
    schedule.due()
    clock.now += 34
    assert schedule.due() == []
    schedule.went_well("acme")
    assert schedule.next_at() == 1040


def test_backoff_doubles_from_two_seconds_and_ends_at_the_interval(schedule: Schedule, clock: Clock) -> None:
    schedule.add("acme", 60)
    waits = []
    for _ in range(8):
        assert schedule.due() == ["acme"]
        began = clock.now
        schedule.try_again("acme")
        waits.append(schedule.next_at() - began)
        clock.now = schedule.next_at()
    # the sixth wait of 60 s would go beyond the next regular time: 2 + 4 + 8 + 16 = 30, 32 more were 62
    assert waits == [2, 4, 8, 16, 30, 60, 60, 60]
    assert schedule.failures("acme") == 8


def test_success_forgets_the_failures_and_keeps_the_grid(schedule: Schedule, clock: Clock) -> None:
    schedule.add("acme", 60)
    schedule.due()
    schedule.try_again("acme")
    clock.now = 1002
    assert schedule.due() == ["acme"]
    schedule.went_well("acme")
    assert schedule.failures("acme") == 0
    assert schedule.next_at() == 1060
    clock.now = 1060
    schedule.due()
    schedule.try_again("acme")
    assert schedule.next_at() == 1062


def test_the_jitter_is_drawn_from_all_of_the_wait(clock: Clock) -> None:
    asked = []

    def draw(low: float, high: float) -> float:
        asked.append((low, high))
        return low

    schedule = Schedule(clock, draw)
    schedule.add("acme", 3600)
    for _ in range(3):
        clock.now = max(clock.now, schedule.next_at())
        assert schedule.due() == ["acme"]
        schedule.try_again("acme")
        assert schedule.next_at() > clock.now  # never a loop without a pause
    assert asked == [(0, 2), (0, 4), (0, 8)]


def test_what_would_fail_again_waits_for_its_regular_time(schedule: Schedule) -> None:
    schedule.add("acme", 60)
    schedule.due()
    schedule.failed("acme")
    assert (schedule.next_at(), schedule.failures("acme")) == (1060, 1)


@pytest.mark.parametrize(("interval_s", "due_at"), [(10, 1010), (600, 1600), (1, 1005)])
def test_another_interval_counts_from_the_last_regular_time(
    schedule: Schedule, clock: Clock, interval_s: float, due_at: float
) -> None:
    schedule.add("acme", 60)
    schedule.due()
    schedule.went_well("acme")
    clock.now = 1005
    schedule.change_interval("acme", interval_s)
    assert schedule.next_at() == due_at
    clock.now = due_at
    assert schedule.due() == ["acme"]


def test_an_interval_changed_during_a_run_holds_after_it(schedule: Schedule, clock: Clock) -> None:
    schedule.add("acme", 60)
    schedule.due()
    schedule.change_interval("acme", 10)
    assert schedule.due() == []
    clock.now = 1003
    schedule.went_well("acme")
    assert schedule.next_at() == 1010


def test_a_client_that_is_brought_forward_is_due_now_and_regularly_from_then_on(
    schedule: Schedule, clock: Clock
) -> None:
    schedule.add("acme", 60)
    schedule.due()
    schedule.went_well("acme")
    clock.now = 1005
    schedule.bring_forward("acme")
    assert schedule.due() == ["acme"]
    schedule.bring_forward("acme")
    assert schedule.due() == []
    schedule.went_well("acme")
    assert schedule.next_at() == 1065


def test_a_dropped_client_is_due_no_more_and_may_come_back(schedule: Schedule, clock: Clock) -> None:
    schedule.add("acme", 60)
    schedule.drop("acme")
    assert schedule.due() == []
    schedule.add("acme", 60, due_in_s=5)
    clock.now = 1005
    assert schedule.due() == ["acme"]


def test_a_client_taken_before_its_time_is_not_due_too(schedule: Schedule, clock: Clock) -> None:
    schedule.add("acme", 60, due_in_s=5)
    schedule.take("acme")
    clock.now = 1010
    assert schedule.due() == []
    schedule.went_well("acme")
    assert schedule.next_at() == 1065


def all_of(lanes: Lanes) -> list[str]:
    taken = []
    while found := lanes.take():
        taken.append(found[0])
    return taken


def test_who_has_waited_longest_begins() -> None:
    lanes = Lanes(workers=4, heavy=2)
    for client, lane in (("a", "light"), ("b", "heavy"), ("c", "light"), ("d", "verify"), ("e", "light")):
        lanes.put(client, lane)  # type: ignore[arg-type]
    assert all_of(lanes) == ["a", "b", "c", "d"]
    assert lanes.waiting == 1
    lanes.done("light")
    assert all_of(lanes) == ["e"]


@pytest.mark.parametrize(("workers", "heavy", "loads"), [(4, 2, 2), (2, 4, 1), (1, 1, 1), (4, 4, 3)])
def test_loads_never_take_the_last_worker(workers: int, heavy: int, loads: int) -> None:
    lanes = Lanes(workers, heavy)
    for n in range(10):
        lanes.put(f"load {n}", "heavy")
        lanes.put(f"check {n}", "verify")
    assert len([name for name in all_of(lanes) if name.startswith("load")]) <= loads
    lanes.put("light", "light")
    assert all_of(lanes) == ["light"]


def test_one_verification_at_a_time() -> None:
    lanes = Lanes(workers=8, heavy=2)
    assert not lanes.verifies
    lanes.put("a", "verify")
    lanes.put("b", "verify")
    assert all_of(lanes) == ["a"]
    assert lanes.verifies
    lanes.done("verify")
    assert all_of(lanes) == ["b"]
    lanes.done("verify")
    assert not lanes.verifies


def test_a_client_that_leaves_waits_no_more() -> None:
    lanes = Lanes(workers=4, heavy=2)
    lanes.put("a", "light")
    lanes.put("b", "heavy")
    assert lanes.drop("b")
    assert not lanes.drop("b")
    assert all_of(lanes) == ["a"]
