"""The accounts of what is on its way, of what fell short, and of who failed how often."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcsidecar import Measurement, Resource
from gcsidecar.gc.backoff import Backoff, delay_seconds
from gcsidecar.gc.reclaim import LateReclaim, Shortfall

MINUTE = 60.0


def nobody(_seconds: float) -> float:
    """What writers could take where there are none."""
    return 0.0


def disk(free: int) -> Measurement:
    return Measurement(Resource.DISK, 1000, free, 0.0)


def late(*amounts: int, free: int = 100) -> LateReclaim:
    """Of disposals a second apart, each of which should bring so much within 30 seconds."""
    made = LateReclaim(30)
    made.saw(free, 0)
    for second, amount in enumerate(amounts):
        made.expect(amount, second)
    return made


@pytest.mark.parametrize(
    ("free", "second", "left"),
    [
        pytest.param(100, 2, 70, id="nothing has come"),
        pytest.param(90, 2, 70, id="a fall, by writers, takes nothing off"),
        pytest.param(130, 2, 40, id="a rise is its arrival"),
        pytest.param(145, 2, 25, id="a rise serves the first and then the next"),
        pytest.param(999, 2, 0, id="more than all of it is all of it"),
        pytest.param(100, 30, 20, id="after its settle time the first is no longer believed in"),
        pytest.param(100, 31, 0, id="nor the second"),
    ],
)
def test_what_is_on_its_way(free: int, second: float, left: int) -> None:
    made = late(50, 20)
    made.saw(free, second)
    assert made.on_its_way == left


def test_what_has_come_once_is_not_counted_again_when_writers_take_it() -> None:
    made = late(50)
    for free in (130, 110, 120):
        made.saw(free, 1)
    assert made.on_its_way == 10


def test_what_comes_at_once_is_not_late_and_the_rest_is_up_to_what_was_expected() -> None:
    made = late(50)
    seen = []
    for free in (120, 140, 130, 500, 900):
        made.saw(free, 1)
        seen.append(made.arrived_late)
    assert seen == [0, 20, 20, 30, 30]


def test_what_an_earlier_one_owed_and_came_with_the_next_is_counted_there_and_is_not_late() -> None:
    made = late(50)
    made.saw(100, 1)
    made.expect(20, 2)
    made.saw(160, 3)
    assert made.arrived_late == 0
    made.saw(999, 4)
    assert made.arrived_late == 10


def test_what_comes_with_a_disposal_of_unknown_size_is_not_late_either() -> None:
    made = late(50)
    made.saw(100, 1)
    made.expect(0, 2)
    made.saw(140, 3)
    assert made.arrived_late == 0


def test_what_comes_after_its_time_is_not_counted() -> None:
    made = late(50)
    made.saw(100, 1)
    made.saw(100, 30)
    made.saw(150, 31)
    assert made.arrived_late == 0


def test_where_nothing_was_measured_after_the_last_one_all_that_comes_after_the_collection_is_late() -> None:
    made = late(50)
    made.concluded()
    made.saw(150, 20)
    assert made.arrived_late == 50


@given(st.lists(st.tuples(*[st.integers(0, 300)] * 3), max_size=30))
def test_what_came_at_once_and_what_came_late_are_all_that_came_where_nobody_else_is_at_work(
    disposals: list[tuple[int, int, int]],
) -> None:
    made, free, owed, at_once = late(free=0), 0, 0, 0
    for expected, comes_with_it, comes_later in disposals:
        made.expect(expected, 1)
        owed += expected
        at_once += min(owed, comes_with_it)
        for most in (comes_with_it, comes_later):
            free, owed = free + min(owed, most), owed - min(owed, most)
            made.saw(free, 1)
    assert at_once + made.arrived_late == free


@pytest.mark.parametrize(("amount", "settle"), [(0, 30), (-5, 30), (50, 0)])
def test_nothing_is_expected_of_nothing_or_without_a_settle_time(amount: int, settle: float) -> None:
    made = LateReclaim(settle)
    made.expect(amount, 0)
    assert made.on_its_way == 0


@pytest.mark.parametrize(
    ("free", "fastest", "paused"),
    [
        pytest.param(200, 0, False, id="all came"),
        pytest.param(150, 0, False, id="half is enough"),
        pytest.param(149, 0, True, id="less than half is not"),
        pytest.param(90, 0, True, id="nothing came"),
        pytest.param(90, 5, False, id="a writer could have taken it"),
        pytest.param(90, 4, True, id="a writer could not have taken so much"),
    ],
)
def test_a_verdict_on_100_that_were_expected_ten_seconds_ago(free: int, fastest: float, *, paused: bool) -> None:
    made = Shortfall()
    made.expect(60, disk(100), 0)
    made.expect(40, disk(100), 1)
    made.judge(disk(free), lambda seconds: fastest * seconds, 10)
    assert not made.paused  # the collection isn't over
    made.concluded(10)
    made.judge(disk(free), lambda seconds: fastest * seconds, 9)
    assert not made.paused
    made.judge(disk(free), lambda seconds: fastest * seconds, 10)
    assert made.paused is paused


def tried(made: Shortfall, expected: int, comes: int, now: float) -> None:
    """A collection on a disk of 16 GiB that takes no time, and its verdict."""
    before = Measurement(Resource.DISK, 16 << 30, 1 << 30, now)
    made.expect(expected, before, now)
    made.concluded(now)
    made.judge(Measurement(Resource.DISK, 16 << 30, (1 << 30) + comes, now), nobody, now)


def test_a_few_kib_that_did_not_come_may_be_what_others_wrote_and_pause_nothing() -> None:
    made = Shortfall()
    for second in range(100):
        tried(made, 8192, -(4 << 20), second)
    assert not made.paused


def test_many_small_ones_that_brought_nothing_are_judged_together() -> None:
    made = Shortfall()
    for second in range(3):
        tried(made, 5 << 20, 0, second)
    assert not made.paused
    tried(made, 1 << 20, 0, 3)
    assert made.paused


def test_what_small_ones_brought_counts_for_those_that_brought_nothing() -> None:
    made = Shortfall()
    for second in range(100):
        tried(made, 5 << 20, (5 << 20) * (second % 2), second)
    assert not made.paused


def test_what_goes_in_a_pause_for_another_reason_neither_ends_nor_prolongs_it() -> None:
    made, now = _paused()
    tried(made, 100 << 20, 100 << 20, now - 1)
    tried(made, 100 << 20, 0, now - 1)
    assert made.paused
    assert made.steps_allowed(now) == 1


def _paused(failures: int = 1) -> tuple[Shortfall, float]:
    made, now = Shortfall(), 0.0
    for _ in range(failures):
        made.expect(100, disk(100), now)
        made.concluded(now)
        made.judge(disk(100), nobody, now)
        now += delay_seconds(failures)
    return made, now


def test_a_good_one_ends_the_pause_and_what_was_counted() -> None:
    made, now = _paused(3)
    made.expect(100, disk(100), now)
    assert made.steps_allowed(now) == 0  # one is on trial
    made.concluded(now)
    made.judge(disk(200), nobody, now)
    assert made.steps_allowed(now) is None


def test_where_no_verdict_can_be_given_in_a_pause_it_goes_on_and_does_not_double() -> None:
    made, now = _paused()
    assert made.steps_allowed(now) == 1
    made.expect(100, disk(100), now)
    made.concluded(now)
    made.judge(disk(100), lambda _: 1e9, now + 1)
    assert made.paused
    assert made.steps_allowed(now + MINUTE) == 0
    assert made.steps_allowed(now + 1 + MINUTE) == 1


@pytest.mark.parametrize(("free", "paused"), [(200, False), (149, True)])
def test_what_goes_while_a_collection_awaits_its_verdict_is_not_judged_and_puts_nothing_off(
    free: int, *, paused: bool
) -> None:
    made = Shortfall()
    made.expect(100, disk(100), 0)
    made.concluded(30)
    made.expect(900, disk(100), 29)
    made.concluded(59)
    made.judge(disk(free), nobody, 30)
    assert made.paused is paused


def test_a_collection_that_was_to_bring_nothing_is_not_judged() -> None:
    made = Shortfall()
    made.expect(0, disk(100), 0)
    made.concluded(0)
    made.judge(disk(0), nobody, 1)
    assert not made.paused


def test_it_waits_a_minute_and_then_twice_as_long_up_to_an_hour_and_never_overflows() -> None:
    assert [delay_seconds(n) / MINUTE for n in (1, 2, 3, 4, 5, 6, 7, 8, 10_000)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_each_backs_off_by_itself_until_it_is_forgotten() -> None:
    backoff = Backoff()
    assert backoff.failed("a", 0) == MINUTE
    assert backoff.failed("a", 60) == 60 + 2 * MINUTE
    assert backoff.failed("b", 100) == 160
    assert backoff.waiting(150) == {"a": 30, "b": 10}
    assert backoff.waiting(160) == {"a": 20}
    backoff.forget("a")
    backoff.forget("never there")
    assert (len(backoff), backoff.waiting(150)) == (1, {"b": 10})
    assert backoff.failed("a", 200) == 260
