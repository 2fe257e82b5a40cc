"""When a plan is made, and when it is known already that nothing can go."""

from __future__ import annotations

import pytest

from fakes import FakeClock
from gcsidecar.gc.planning import Candidate, Measurements, Plan, Step, Want, wants
from gcsidecar.gc.pressure import Measurement, Resource, Threshold
from gcsidecar.sidecar.occasion import REPLAN_SECONDS, TRIED_SECONDS, Occasion

THRESHOLD = Threshold(Resource.DISK, trigger=20, target=30)


class Situation:
    def __init__(self, shortest_idle_seconds: float | None = None) -> None:
        self.clock = FakeClock()
        self.version = 0
        self.free = 10
        self.occasion = Occasion(lambda: self.version, shortest_idle_seconds, self.clock)

    def arises(self) -> bool:
        return self.occasion.arises(wants(Measurements(self.clock.time(), (self.reading,)), [THRESHOLD]))

    @property
    def reading(self) -> Measurement:
        return Measurement(Resource.DISK, 100, self.free, self.clock.time())

    def plan(self, *steps: Step, retry_at: float | None = None) -> Plan:
        return Plan(self.clock.time(), (Want(THRESHOLD, self.reading, 20),), steps, (), retry_at)


def test_there_is_none_while_nothing_is_scarce() -> None:
    situation = Situation()
    situation.free = 20
    assert not situation.arises()
    situation.free = 19
    assert situation.arises()


def test_after_a_fruitless_plan_there_is_none_until_an_input_changes() -> None:
    situation = Situation()
    situation.occasion.was_fruitless(situation.plan())
    assert not situation.arises()
    situation.version += 1
    assert situation.arises()


@pytest.mark.parametrize(
    ("tried", "seconds"), [(False, REPLAN_SECONDS), (True, TRIED_SECONDS)], ids=["nothing could go", "one was in use"]
)
def test_after_a_fruitless_plan_time_alone_makes_one_in_the_end(*, tried: bool, seconds: float) -> None:
    situation = Situation()
    steps = [Step(Candidate("a", 0.0, {}), ("disk",))] if tried else []
    situation.occasion.was_fruitless(situation.plan(*steps))
    situation.clock.advance(seconds - 0.1)
    assert not situation.arises()
    situation.clock.advance(0.2)
    assert situation.arises()


def test_a_reason_that_ends_by_itself_makes_one_then() -> None:
    situation = Situation()
    situation.occasion.was_fruitless(situation.plan(retry_at=situation.clock.time() + 7))
    situation.clock.advance(6.9)
    assert not situation.arises()
    situation.clock.advance(0.2)
    assert situation.arises()


def test_after_a_fruitful_plan_there_may_be_more() -> None:
    situation = Situation()
    situation.occasion.was_fruitless(situation.plan())
    situation.occasion.was_fruitful()
    assert situation.arises()


def test_idle_folders_are_looked_for_now_and_then_whatever_is_free() -> None:
    situation = Situation(shortest_idle_seconds=200.0)
    situation.free = 90
    assert situation.arises()
    assert not situation.arises()
    situation.clock.advance(10.1)
    assert situation.arises()
