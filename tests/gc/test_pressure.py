"""The arithmetic of thresholds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcsidecar import Level, Measurement, Resource, Threshold

amounts = st.integers(1, 10**15)


def disk(free: int, capacity: int = 1000) -> Measurement:
    return Measurement(Resource.DISK, capacity, free, 0.0)


@pytest.mark.parametrize(
    ("free", "on_its_way", "crossed", "deficit", "headroom"),
    [
        pytest.param(100, 0, False, 50, 0, id="at the trigger"),
        pytest.param(99, 0, True, 51, 0, id="below it"),
        pytest.param(99, 1, False, 50, 0, id="what is on its way counts as free, but is not headroom"),
        pytest.param(150, 0, False, 0, 50, id="at the target"),
        pytest.param(400, 0, False, 0, 300, id="with plenty"),
        pytest.param(-20, 0, True, 170, 0, id="a cap overrun"),
    ],
)
def test_where_collection_starts_and_what_is_missing(
    free: int, on_its_way: int, *, crossed: bool, deficit: int, headroom: int
) -> None:
    threshold, found = Threshold(Resource.DISK, 100, 150), disk(free)
    assert threshold.crossed(found, on_its_way) is crossed
    assert threshold.deficit(found, on_its_way) == deficit
    assert threshold.headroom(found) == headroom


@pytest.mark.parametrize(
    ("free", "trigger", "pressure"),
    [
        pytest.param(1000, 100, 0.0, id="empty"),
        pytest.param(550, 100, 0.5, id="half way"),
        pytest.param(100, 100, 1.0, id="at the trigger"),
        pytest.param(10, 100, 1.1, id="beyond it"),
        pytest.param(-1000, 0, 2.0, id="a cap overrun twice"),
        pytest.param(1000, 1000, 1.0, id="all is to stay free, and is"),
        pytest.param(999, 1000, math.inf, id="all is to stay free, and isn't"),
        pytest.param(500, 2000, math.inf, id="more is to stay free than there is"),
    ],
)
def test_pressure_is_1_exactly_at_the_trigger(free: int, trigger: int, pressure: float) -> None:
    assert Threshold(Resource.DISK, trigger, trigger).pressure(disk(free)) == pytest.approx(pressure)


@given(amounts, st.integers(0, 10**15), st.integers(-(10**15), 10**15))
def test_pressure_is_above_1_just_where_collection_starts(capacity: int, trigger: int, free: int) -> None:
    threshold, found = Threshold(Resource.DISK, trigger, trigger), disk(min(free, capacity), capacity)
    assert (threshold.pressure(found) > 1) == threshold.crossed(found)


def test_a_target_below_its_trigger_is_refused() -> None:
    with pytest.raises(ValueError, match="disk: the target 99 is below the trigger 100; raise the target"):
        Threshold(Resource.DISK, 100, 99)


@pytest.mark.parametrize(
    ("level", "amount", "text"),
    [
        (Level(700), 700, "700"),
        (Level(share=0.2), 200, "20%"),
        (Level(share=0.1234), 124, "12.34%"),
        (Level(), 0, "0"),
        (Level(700).scaled(1.25), 875, "875"),
        (Level(3).scaled(1.25), 4, "4"),
        (Level(share=0.4).scaled(1.25), 500, "50%"),
        (Level(share=0.9).scaled(1.25), 1000, "100%"),
    ],
)
def test_a_level_is_an_amount_or_a_share_of_the_capacity_rounded_up(level: Level, amount: int, text: str) -> None:
    assert (level.of(1000), str(level)) == (amount, text)


@pytest.mark.parametrize("resource", Resource)
def test_a_resource_is_its_own_name(resource: Resource) -> None:
    assert f"{resource}" == resource.value == resource.name.lower()
