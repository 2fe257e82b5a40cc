"""How soon to look again, and how fast something fills."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import FakeClock
from gcsidecar import Measurement, Resource, Threshold
from gcsidecar.gc.account import Account
from gcsidecar.gc.pace import ASSUMED_RATE, Pace
from gcsidecar.gc.planning import Measurements

GB = 10**9


def pace(*seen: tuple[float, int], resource: Resource = Resource.DISK) -> Pace:
    """One that saw so much free at these moments."""
    made = Pace(resource)
    for at, free in seen:
        made.saw(Measurement(resource, 100 * GB, free, at), at)
    return made


@given(st.lists(st.tuples(st.floats(0, 1e6), st.integers(-(10**15), 10**15)), max_size=10), st.integers(0, 10**15))
def test_the_interval_is_from_20_ms_to_5_s_whatever_was_seen(seen: list[tuple[float, int]], headroom: int) -> None:
    assert 0.020 <= pace(*sorted(seen)).interval_seconds(headroom) <= 5.0


@pytest.mark.parametrize(
    ("headroom", "seconds"),
    [(0, 0.020), (320_000_000, 0.020), (1 * GB, 0.0625), (16 * GB, 1.0), (80 * GB, 5.0), (90 * GB, 5.0)],
)
def test_until_something_faster_is_seen_a_writer_of_8_gb_a_second_is_assumed(headroom: int, seconds: float) -> None:
    assert pace().interval_seconds(headroom) == pytest.approx(seconds)
    slow = pace((0, 50 * GB), (10, 49 * GB))
    assert slow.interval_seconds(headroom) == pytest.approx(seconds)


def test_it_is_half_the_time_of_the_fastest_writer_ever_seen_even_at_rest() -> None:
    seen = pace((0, 60 * GB), (1, 44 * GB), (2, 43 * GB), *[(60.0 * i, 43 * GB) for i in range(1, 100)])
    assert seen.rate == pytest.approx(0, abs=1)
    assert seen.fastest == 16 * GB
    assert seen.interval_seconds(8 * GB) == pytest.approx(0.25)


@pytest.mark.parametrize("resource", Resource)
def test_for_each_resource_some_rate_is_assumed(resource: Resource) -> None:
    assert pace(resource=resource).interval_seconds(int(ASSUMED_RATE[resource])) == pytest.approx(0.5)


def test_the_rate_is_that_of_the_last_minute_or_so() -> None:
    seen = pace(*[(float(i), 90 * GB - i * 10**6) for i in range(600)])
    assert seen.rate == pytest.approx(10**6, rel=0.01)
    assert seen.seconds_left(60 * 10**6) == pytest.approx(60, rel=0.01)
    later = pace(*[(float(i), 90 * GB - min(i, 300) * 10**6) for i in range(600)])
    assert later.rate < 10**4


def test_while_nothing_fills_it_lasts_for_ever() -> None:
    for seen in (pace(), pace((0, GB)), pace((0, GB), (1, GB)), pace((0, GB), (1, 2 * GB))):
        assert (seen.rate, seen.seconds_left(GB)) == (0, math.inf)


def test_after_a_restart_what_came_back_is_no_rate_and_what_was_seen_is_not_forgotten() -> None:
    seen = pace((0, 50 * GB), (1, 48 * GB))
    seen.restart()
    seen.saw(Measurement(Resource.DISK, 100 * GB, 90 * GB, 2), 2)
    assert seen.rate == pytest.approx(2 * GB)
    assert seen.fastest == 2 * GB
    seen.saw(Measurement(Resource.DISK, 100 * GB, 88 * GB, 3), 3)
    assert seen.rate == pytest.approx(2 * GB)


def test_two_measurements_that_lie_closer_than_10_ms_are_one() -> None:
    seen = pace((0, 50 * GB), (0.001, 49 * GB))
    assert seen.fastest == 0
    seen.saw(Measurement(Resource.DISK, 100 * GB, 48 * GB, 1), 1.0)
    assert seen.fastest == 2 * GB


def test_what_writers_could_take_is_a_burst_as_large_as_any_or_more_in_a_longer_time() -> None:
    pace = Pace(Resource.DISK)
    for second, free in ((0, 1000), (5, 500), (6, 450)):
        pace.saw(Measurement(Resource.DISK, 1000, free, 0.0), second)
    assert pace.could_take(0.001) == 500
    assert pace.could_take(10) == 1000


class Readings:
    """The account of a disk with a budget on it, by hand."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.account = Account(self.clock, 0.0)
        self.cap = Threshold(Resource.SIZE, 0, 0, "a")

    def seconds(self, free: int, disk: int, *, least: int | None = None) -> float:
        self.clock.advance(1)
        readings = (
            Measurement(Resource.DISK, 10**6 * GB, disk, self.clock.now),
            Measurement(Resource.SIZE, 200 * GB, free, self.clock.now, "a", least),
        )
        self.account.saw(readings)
        return self.account.interval_seconds(Measurements(self.clock.now, readings), [self.cap])


def test_what_a_measuring_finds_of_a_budget_at_once_is_no_writer() -> None:
    """The first scan of a large root finds 100 GB within a second; no disk has lost them."""
    read = Readings()
    read.seconds(200 * GB, 500 * GB)
    assert read.seconds(100 * GB, 500 * GB) == 5.0
    assert read.seconds(8 * GB, 500 * GB) == pytest.approx(0.5)
    read.seconds(8 * GB, 484 * GB)
    assert read.seconds(8 * GB, 484 * GB) == pytest.approx(0.25), "but a budget fills as fast as its disk"


def test_a_budget_is_looked_at_by_what_is_left_of_it_at_the_least() -> None:
    read = Readings()
    assert read.seconds(8 * GB, 500 * GB, least=2 * GB) == pytest.approx(0.125)
    assert read.seconds(8 * GB, 500 * GB, least=-GB) == 0.020
