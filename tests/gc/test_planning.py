"""The planner, by rules that hold for any situation, and by tables for the single cases."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcsidecar import Candidate, Measurement, Resource, Threshold
from gcsidecar.gc.planning import NAMED, RESERVE, Measurements, Plan, plan, wants

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gcsidecar import Disposable

NOW = 1000.0
DISK, INODES, MEMORY, SIZE = Resource.DISK, Resource.INODES, Resource.MEMORY, Resource.SIZE
SUBJECTS = [(DISK, None), (INODES, None), (MEMORY, None), (SIZE, "a"), (SIZE, "b"), (Resource.FOLDERS, "a")]


@dataclass(frozen=True)
class Situation:
    """All that a plan is made from."""

    measurements: Measurements
    thresholds: tuple[Threshold, ...]

    def plan(self) -> Plan:
        return plan(self.measurements, self.thresholds, NOW)

    def place(self, candidate: Candidate) -> tuple[int, bool, float, str]:
        """Where it stands in the order."""
        asked = [t for t in self.thresholds if t.group is None or t.group == candidate.group]
        unknown = any(t.resource in candidate.sizes and candidate.sizes[t.resource] is None for t in asked)
        return candidate.priority, unknown, min(candidate.last_used, NOW), candidate.key

    def with_more(self, more: dict[tuple[Resource, str | None], int], coming: int) -> Situation:
        """The same with more free, or on its way."""
        readings = tuple(
            replace(r, free=r.free + more.get((r.resource, r.group), 0)) for r in self.measurements.readings
        )
        on_its_way = {resource: amount + coming for resource, amount in self.measurements.on_its_way.items()}
        return Situation(replace(self.measurements, readings=readings, on_its_way=on_its_way), self.thresholds)


class Source:
    """Candidates in order, as a source gives them; it counts how many were read."""

    def __init__(self, found: Sequence[Candidate]) -> None:
        self.found = found
        self.read = 0

    def candidates(self, _now: float, _thresholds: Sequence[Threshold]) -> Iterator[Candidate]:
        for candidate in self.found:
            self.read += 1
            yield candidate

    def due(self, _now: float, _thresholds: Sequence[Threshold]) -> Iterator[Candidate]:
        return (candidate for candidate in self.found if candidate.due is not None)

    def has(self, _disposable: Disposable) -> bool:
        return True


amounts = st.integers(0, 100)
candidates = st.lists(
    st.builds(
        Candidate,
        key=st.text("abcdef", min_size=1, max_size=3),
        last_used=st.floats(0, 2 * NOW),
        sizes=st.dictionaries(st.sampled_from(Resource), st.none() | amounts),
        group=st.sampled_from(["", "a", "b"]),
        priority=st.integers(-1, 1),
        keep=st.none() | st.sampled_from(["leased", "pinned", "young"]),
        keep_until=st.none() | st.floats(NOW, 2 * NOW),
        due=st.sampled_from([None, None, None, "max-idle"]),
    ),
    max_size=12,
    unique_by=lambda candidate: candidate.key,
)


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    subjects = draw(st.lists(st.sampled_from(SUBJECTS), unique=True))
    readings = tuple(
        Measurement(resource, 1000, draw(st.integers(-50, 400)), NOW, group) for resource, group in subjects
    )
    thresholds = []
    for resource, group in draw(st.permutations(subjects)):
        trigger = draw(st.integers(0, 300))
        thresholds.append(Threshold(resource, trigger, trigger + draw(amounts), group))
    on_its_way = draw(st.dictionaries(st.sampled_from(Resource), amounts))
    return Situation(Measurements(NOW, readings, tuple(draw(candidates)), on_its_way), tuple(thresholds))


@given(situations())
def test_nothing_goes_that_has_a_reason_to_be_kept(situation: Situation) -> None:
    assert [step for step in situation.plan().steps if step.candidate.keep is not None] == []


@given(candidates, st.integers(0, 400), st.integers(0, 300), amounts)
def test_no_more_goes_than_the_deficit_needs_and_the_last_one_was_still_needed(
    found: list[Candidate], free: int, trigger: int, more: int
) -> None:
    known = tuple(replace(c, sizes={DISK: c.sizes.get(DISK) or 0}, due=None) for c in found)
    measurements = Measurements(NOW, (Measurement(DISK, 1000, free, NOW),), known)
    made = plan(measurements, (Threshold(DISK, trigger, trigger + more),), NOW)
    sizes = [step.candidate.sizes[DISK] or 0 for step in made.steps]
    deficit = trigger + more - free if free < trigger else 0
    assert sum(sizes[:-1]) < deficit or not sizes
    assert sum(sizes) >= deficit or len(sizes) == sum(c.keep is None and c.sizes[DISK] != 0 for c in known)


@given(situations())
def test_it_goes_by_priority_then_what_is_known_then_last_use_then_name_and_a_use_in_the_future_counts_as_now(
    situation: Situation,
) -> None:
    order = [situation.place(step.candidate) for step in situation.plan().steps]
    assert order == sorted(order)


@given(situations(), st.dictionaries(st.sampled_from(SUBJECTS), st.integers(0, 500)), st.integers(0, 200))
def test_more_free_space_never_means_more_evictions(
    situation: Situation, more: dict[tuple[Resource, str | None], int], coming: int
) -> None:
    with_less = {step.candidate.key for step in situation.plan().steps}
    with_more = {step.candidate.key for step in situation.with_more(more, coming).plan().steps}
    assert with_more <= with_less


@given(situations())
def test_all_that_goes_is_due_or_helps_something_that_was_scarce(situation: Situation) -> None:
    made = situation.plan()
    for step in made.steps:
        helped = {w.threshold.resource.value for w in made.wants if step.candidate.helps(w.threshold)}
        assert set(step.reasons) <= helped | {"max-idle"}
        assert step.reasons


@given(situations())
def test_the_order_in_which_candidates_are_listed_plays_no_part(situation: Situation) -> None:
    turned = replace(situation.measurements, candidates=situation.measurements.candidates[::-1])
    assert plan(turned, situation.thresholds, NOW) == situation.plan()


@given(situations())
def test_nothing_both_goes_and_stays_and_each_that_stays_says_why(situation: Situation) -> None:
    made = situation.plan()
    assert {s.candidate.key for s in made.steps}.isdisjoint(k.key for k in made.kept)
    assert all(kept.reason for kept in made.kept)


@given(situations(), st.integers(0, 15))
def test_in_reserve_is_in_order_what_would_help_too_as_far_as_was_looked(situation: Situation, most: int) -> None:
    made = plan(situation.measurements, situation.thresholds, NOW, most_in_reserve=most)
    steps = {step.candidate.key for step in made.steps}
    helping = [
        c
        for c in situation.measurements.candidates
        if c.keep is None and c.key not in steps and any(c.helps(want.threshold) for want in made.wants)
    ]
    helping.sort(key=situation.place)
    assert list(made.reserve) == helping[: len(made.reserve)]
    assert made.more or len(made.reserve) == len(helping)
    assert len(made.reserve) <= most + sum(c.due is not None for c in helping)


@given(situations(), st.integers(0, 15))
def test_what_goes_and_why_is_the_same_however_short_the_reserve_is(situation: Situation, most: int) -> None:
    made = plan(situation.measurements, situation.thresholds, NOW, most_in_reserve=most)
    assert replace(made, reserve=(), more=False) == replace(situation.plan(), reserve=(), more=False)


@given(situations(), st.lists(st.integers(0, 2), min_size=12, max_size=12), st.integers(0, 15))
def test_a_source_makes_no_difference_to_a_plan(situation: Situation, whose: list[int], most: int) -> None:
    """Each candidate is registered, or one of either source's."""
    shared: list[list[Candidate]] = [[], [], []]
    for number, candidate in zip(whose, situation.measurements.candidates, strict=False):
        shared[number].append(candidate)
    sources = tuple(Source(sorted(found, key=situation.place)) for found in shared[1:])
    measurements = replace(situation.measurements, candidates=tuple(shared[0]), sources=sources)
    made = plan(measurements, situation.thresholds, NOW, most_in_reserve=most)
    alone = situation.plan()
    assert replace(made, reserve=(), more=False) == replace(alone, reserve=(), more=False)
    assert made.reserve == alone.reserve[: len(made.reserve)]
    assert made.more or len(made.reserve) == len(alone.reserve)


def test_no_more_of_a_source_is_read_than_has_to_be() -> None:
    source = Source([_candidate(f"{number:06}", number, 1) for number in range(100_000)])
    measurements = Measurements(NOW, (Measurement(DISK, 1000, 0, NOW),), sources=(source,))
    made = plan(measurements, (Threshold(DISK, 100, 100),), NOW)
    assert (len(made.steps), len(made.reserve), made.more) == (100, RESERVE, True)
    assert source.read <= 100 + RESERVE + 1
    assert plan(measurements, (), NOW) == Plan(NOW)
    assert source.read <= 100 + RESERVE + 1, "while nothing is scarce it is asked for what is due, and has nothing"


def test_of_a_source_all_that_is_due_goes_once_however_far_behind_the_reserve_it_is() -> None:
    found = [_candidate(f"{number:02}", number) for number in range(20)]
    for number in (0, 3, 15):
        found[number] = replace(found[number], due="max-idle")
    measurements = Measurements(NOW, (Measurement(DISK, 1000, 0, NOW),), sources=(Source(found),))
    made = plan(measurements, (Threshold(DISK, 100, 100),), NOW, most_in_reserve=3)
    assert _gone(made) == ["00", "01", "03", "15"]
    assert [candidate.key for candidate in made.reserve] == ["02", "04"]


def test_of_very_many_that_are_kept_the_first_are_named_and_the_others_are_counted() -> None:
    found = [
        replace(_candidate(f"{number:06}", number), keep=("leased", "young")[number % 2]) for number in range(NAMED + 9)
    ]
    made = _plan(*found)
    assert [kept.key for kept in made.kept[:NAMED]] == [candidate.key for candidate in found[:NAMED]]
    assert [(kept.reason, kept.count) for kept in made.kept[NAMED:]] == [("leased", 5), ("young", 4)]
    assert sum(kept.count for kept in made.kept) == len(found)


def _plan(*found: Candidate, free: int = 0, trigger: int = 100, target: int | None = None, coming: int = 0) -> Plan:
    """For one disk."""
    measurements = Measurements(NOW, (Measurement(DISK, 1000, free, NOW),), found, {DISK: coming})
    return plan(measurements, (Threshold(DISK, trigger, trigger if target is None else target),), NOW)


def _candidate(key: str, last_used: float = 0.0, size: int | None = 50, **sizes: int | None) -> Candidate:
    return Candidate(key, last_used, {DISK: size} | {Resource(name): amount for name, amount in sizes.items()})


def _gone(made: Plan) -> list[str]:
    return [step.candidate.key for step in made.steps]


@pytest.mark.parametrize(
    ("free", "gone"),
    [
        pytest.param(100, [], id="at the trigger nothing is wanted"),
        pytest.param(150, [], id="between trigger and target collection does not start"),
        pytest.param(99, ["1", "2", "3"], id="below the trigger it goes on up to the target"),
        pytest.param(50, ["1", "2", "3"], id="exactly enough is enough"),
        pytest.param(49, ["1", "2", "3", "4"], id="one byte short needs one more"),
        pytest.param(-400, ["1", "2", "3", "4"], id="all goes where all isn't enough"),
    ],
)
def test_collection_starts_below_the_trigger_and_plans_up_to_the_target(free: int, gone: list[str]) -> None:
    found = [_candidate(str(i), i) for i in (3, 1, 4, 2)]
    assert _gone(_plan(*found, free=free, trigger=100, target=200)) == gone


def test_lower_priority_goes_first_whatever_was_used_last() -> None:
    precious = replace(_candidate("precious", 1), priority=1)
    assert _gone(_plan(precious, _candidate("cheap", 900))) == ["cheap", "precious"]


def test_a_last_use_in_the_future_counts_as_now_and_the_name_breaks_the_tie() -> None:
    assert _gone(_plan(_candidate("b", NOW), _candidate("a", 5 * NOW))) == ["a", "b"]


def test_an_unknown_size_is_worth_trying_and_brings_nothing_on_paper() -> None:
    found = (_candidate("unknown", 1, None), _candidate("dunno", 2, None), _candidate("a", 3), _candidate("b", 4))
    assert _gone(_plan(*found, trigger=200)) == ["a", "b", "unknown", "dunno"]


def test_what_is_known_is_preferred_and_only_a_size_that_a_threshold_asks_for_can_be_missed() -> None:
    found = (_candidate("unknown", 1, None), _candidate("a", 2, inodes=None), _candidate("b", 3))
    assert _gone(_plan(*found, trigger=60)) == ["a", "b"]
    assert [candidate.key for candidate in _plan(*found, trigger=60).reserve] == ["unknown"]


@pytest.mark.parametrize("size", [0, -1])
def test_what_takes_nothing_of_what_is_scarce_is_passed_by_and_says_so(size: int) -> None:
    made = _plan(_candidate("empty", 1, size), Candidate("elsewhere", 2, {MEMORY: 50}), _candidate("a", 3))
    assert _gone(made) == ["a"]
    assert [(kept.key, kept.reason) for kept in made.kept] == [("empty", "no-size"), ("elsewhere", "no-size")]


def test_what_is_kept_is_listed_with_its_reason_as_far_as_the_walk_went() -> None:
    leased = replace(_candidate("leased", 1), keep="leased")
    spared = replace(_candidate("spared", 9), keep="pinned")
    made = _plan(leased, _candidate("a", 2), _candidate("b", 3), spared)
    assert [(kept.key, kept.reason) for kept in made.kept] == [("leased", "leased")]


def test_what_is_kept_is_no_reserve_either() -> None:
    made = _plan(_candidate("a", 1, 100), replace(_candidate("leased", 2), keep="leased"), _candidate("b", 3))
    assert [candidate.key for candidate in made.reserve] == ["b"]


def test_the_plan_says_when_the_first_reason_to_keep_something_ends_by_itself() -> None:
    found = [
        replace(_candidate(str(i), i), keep="young", keep_until=until) for i, until in enumerate([1300, 1200, None])
    ]
    assert _plan(*found).retry_at == 1200
    assert _plan(_candidate("a")).retry_at is None


def test_what_is_due_goes_without_any_pressure_unless_it_is_kept() -> None:
    idle = replace(_candidate("idle", 1), due="max-idle")
    leased = replace(idle, key="leased", keep="leased")
    made = _plan(_candidate("other", 0), idle, leased, free=500)
    assert [(step.candidate.key, step.reasons) for step in made.steps] == [("idle", ("max-idle",))]
    assert [(kept.key, kept.reason) for kept in made.kept] == [("leased", "leased")]


def test_what_is_due_counts_toward_the_deficit_too() -> None:
    idle = replace(_candidate("idle", 1), due="max-idle")
    made = _plan(idle, _candidate("a", 2), _candidate("b", 3))
    assert [(step.candidate.key, step.reasons) for step in made.steps] == [
        ("idle", ("max-idle", "disk")),
        ("a", ("disk",)),
    ]


def test_one_walk_serves_all_that_is_scarce() -> None:
    readings = (Measurement(DISK, 1000, 50, NOW), Measurement(MEMORY, 1000, 90, NOW))
    found = (_candidate("1", 1, memory=0), _candidate("2", 2, 50, memory=10), _candidate("3", 3, 50, memory=50))
    thresholds = (Threshold(DISK, 100, 100), Threshold(MEMORY, 100, 100))
    made = plan(Measurements(NOW, readings, found), thresholds, NOW)
    assert [(step.candidate.key, step.reasons) for step in made.steps] == [("1", ("disk",)), ("2", ("memory",))]


def test_a_cap_of_a_group_takes_only_from_that_group() -> None:
    found = tuple(Candidate(key, 0, {SIZE: 50}, group=key[0]) for key in ("a1", "a2", "b1", "b2"))
    made = plan(Measurements(NOW, (Measurement(SIZE, 1000, -60, NOW, "b"),), found), (Threshold(SIZE, 0, 0, "b"),), NOW)
    assert _gone(made) == ["b1", "b2"]


def test_what_is_on_its_way_back_counts_as_free_but_never_for_a_group() -> None:
    assert _plan(_candidate("a"), coming=100) == Plan(NOW)
    assert _gone(_plan(_candidate("a"), _candidate("b"), coming=60)) == ["a"]
    over = Measurements(NOW, (Measurement(SIZE, 1000, -60, NOW, "b"),), on_its_way={SIZE: 100})
    assert [want.deficit for want in wants(over, (Threshold(SIZE, 0, 0, "b"),))] == [60]


def test_a_plan_says_what_was_wanted_from_which_measurement() -> None:
    made = _plan(free=40, trigger=100, target=150)
    assert [(w.threshold.resource, w.measurement.free, w.deficit) for w in made.wants] == [(DISK, 40, 110)]


@pytest.mark.parametrize("threshold", [Threshold(MEMORY, 1, 1), Threshold(DISK, 1, 1, "a")])
def test_a_threshold_without_a_measurement_is_an_error_and_not_a_guess(threshold: Threshold) -> None:
    measurements = Measurements(NOW, (Measurement(DISK, 1000, 0, NOW),), (_candidate("a"),))
    with pytest.raises(ValueError, match="no measurement"):
        plan(measurements, (threshold,), NOW)


def test_two_measurements_of_the_same_are_refused() -> None:
    with pytest.raises(ValueError, match="measured twice"):
        Measurements(NOW, (Measurement(DISK, 1000, 0, NOW), Measurement(DISK, 500, 5, NOW)))
