"""One budget for all that is measured now and then: never more than it, and to each a fair share."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import FakeClock
from gcsidecar.cache.measuring.budget import Budget

PER_SECOND = 100


def played(costs: dict[str, int], seconds: int, *, step: float = 0.5) -> dict[str, int]:
    """How many turns each had, where all ask again at once."""
    clock = FakeClock()
    budget: Budget[str] = Budget(PER_SECOND, clock)
    turns = dict.fromkeys(costs, 0)
    for key, cost in costs.items():
        budget.ask(key, cost)
    for _ in range(int(seconds / step)):
        clock.advance(step)
        while (turn := budget.take()) is not None:
            turns[turn] += 1
            budget.ask(turn, costs[turn])
    return turns


@given(costs=st.lists(st.integers(0, 5000), min_size=1, max_size=20), seconds=st.integers(1, 200))
def test_all_together_never_take_more_than_the_budget(costs: list[int], seconds: int) -> None:
    named = {f"{number}": cost for number, cost in enumerate(costs)}
    turns = played(named, seconds)
    assert sum(turns[key] * max(1, cost) for key, cost in named.items()) <= PER_SECOND * seconds * 1.001


@given(costs=st.lists(st.integers(1, 500), min_size=1, max_size=10))
def test_each_has_its_turn_after_its_cost_times_those_that_wait_at_the_latest(costs: list[int]) -> None:
    clock = FakeClock()
    budget: Budget[int] = Budget(PER_SECOND, clock)
    for number, cost in enumerate(costs):
        budget.ask(number, cost)
    seen: dict[int, float] = {}
    began = clock.monotonic()
    while len(seen) < len(costs):
        at = budget.next_at()
        assert at >= clock.monotonic()
        clock.advance(at - clock.monotonic() + 1e-6)
        key = budget.take()
        assert key is not None
        seen[key] = clock.monotonic() - began
    for number, cost in enumerate(costs):
        assert seen[number] <= cost * len(costs) / PER_SECOND + 0.001
    assert max(seen.values()) == pytest.approx(sum(costs) / PER_SECOND, abs=0.001), "and nothing was left over"


def test_a_large_one_holds_up_no_small_ones_and_has_its_turn_all_the_same() -> None:
    turns = played({"large": 10_000, **{f"small{number}": 5 for number in range(9)}}, 2000)
    assert turns["large"] == 2
    assert min(turns.values()) == 2
    assert all(turns[f"small{number}"] > 3000 for number in range(9))


def test_a_thousand_large_ones_take_no_more_than_one() -> None:
    turns = played({f"{number}": 100_000 for number in range(1000)}, 3000, step=1)
    assert sum(turns.values()) * 100_000 <= PER_SECOND * 3000


def test_nothing_is_saved_up_while_nobody_waits() -> None:
    clock = FakeClock()
    budget: Budget[str] = Budget(PER_SECOND, clock)
    clock.advance(1e6)
    budget.ask("a", 100)
    assert budget.take() is None
    assert budget.next_at() == clock.monotonic() + 1
    clock.advance(1)
    assert budget.next_at() == clock.monotonic()
    assert budget.take() == "a"
    assert budget.next_at() == math.inf


def test_what_a_turn_has_cost_beyond_what_was_paid_is_paid_before_the_next() -> None:
    clock = FakeClock()
    budget: Budget[str] = Budget(PER_SECOND, clock)
    budget.charge("a", 400)
    budget.charge("a", -50)
    budget.ask("a", 100)
    budget.ask("a", 1)
    clock.advance(4.9)
    assert budget.take() is None
    clock.advance(0.1)
    assert budget.take() == "a"
    budget.ask("a", 100)
    clock.advance(1)
    assert budget.take() == "a", "once"


def test_what_is_forgotten_waits_no_longer_and_leaves_its_share_to_others() -> None:
    clock = FakeClock()
    budget: Budget[str] = Budget(PER_SECOND, clock)
    for key in ("a", "b", "c"):
        budget.ask(key, 100)
    budget.forget("a")
    clock.advance(2)
    budget.forget("b")
    assert budget.take() == "c"
    assert budget.take() is None
    budget.forget("unknown")
