"""The collector on a fake disk: who goes, in which order, when it stops, and what is told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fakes import FakeClock, FakeDisk, FakeGauge, Item
from gcsidecar import (
    Candidate,
    Collection,
    Disposable,
    DisposableInUseError,
    Eviction,
    GarbageCollector,
    MeasurementError,
    Resource,
)
from gcsidecar.gc.execution import JUST_NOW_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def collector(
    disk: FakeDisk,
    clock: FakeClock,
    minimum: int = 100,
    target: int | None = None,
    *,
    minimum_inodes: int | None = None,
    gauges: Sequence[FakeGauge] = (),
    stop: Callable[[], bool] = lambda: False,
    on_eviction: Callable[[Eviction], None] = lambda _eviction: None,
) -> GarbageCollector:
    return GarbageCollector(
        "/cache",
        minimum,
        target_disk_space=target,
        minimum_inodes=minimum_inodes,
        gauges=gauges,
        clock=clock,
        statvfs=disk.statvfs,
        stop=stop,
        on_eviction=on_eviction,
    )


def items(tracker: GarbageCollector, disk: FakeDisk, clock: FakeClock, *sizes: int | None) -> list[Item]:
    """Registered items named 0, 1, 2 ..., each used a second later than the one before."""
    made = []
    for i, size in enumerate(sizes):
        clock.advance(1)
        made.append(Item(str(i), disk, size, clock))
        tracker.register(made[-1])
    return made


def kept(collection: Collection) -> dict[str, str]:
    """Why each of the items stayed."""
    return {k.subject.name: k.reason for k in collection.kept if isinstance(k.subject, Item)}


def test_the_least_recently_used_goes_first_and_a_release_makes_it_the_last(clock: FakeClock) -> None:
    disk = FakeDisk(free=0)
    gc = collector(disk, clock, minimum=120)
    first, *_ = items(gc, disk, clock, 40, 40, 40, 40)
    clock.advance(1)
    with first.acquired():
        pass
    gc.collect()
    assert disk.gone == ["1", "2", "3"]


def test_it_starts_below_the_minimum_and_stops_at_the_target(clock: FakeClock) -> None:
    disk = FakeDisk(free=100)
    gc = collector(disk, clock, minimum=100, target=200)
    items(gc, disk, clock, *[50] * 5)
    gc.collect()
    assert disk.gone == []
    disk.free = 99
    gc.collect()
    assert disk.gone == ["0", "1", "2"]
    disk.free = 120
    gc.collect()
    assert disk.gone == ["0", "1", "2"]


def test_a_target_that_was_missed_is_pursued_before_the_minimum_is_crossed_again(clock: FakeClock) -> None:
    disk = FakeDisk(free=99)
    gc = collector(disk, clock, minimum=100, target=200)
    first, *_ = items(gc, disk, clock, *[50] * 8)
    first.meanwhile = lambda: setattr(disk, "free", disk.free - 60)
    gc.collect()
    assert (disk.gone, disk.free) == (["0", "1", "2"], 189), "others took some of it"
    gc.collect()
    assert (disk.gone, disk.free) == (["0", "1", "2", "3"], 239)
    disk.free = 150
    gc.collect()
    assert disk.gone == ["0", "1", "2", "3"], "it had been met"


def test_what_is_needed_is_measured_again_before_each(clock: FakeClock) -> None:
    disk = FakeDisk(free=0)
    gc = collector(disk, clock)
    first, *_ = items(gc, disk, clock, 30, 30, 30, 30)
    first.brings = 80
    assert len(gc.plan().steps) == 4
    gc.collect()
    assert disk.gone == ["0", "1"]


def test_what_others_free_meanwhile_ends_the_collection(clock: FakeClock) -> None:
    disk = FakeDisk(free=0)
    gc = collector(disk, clock)
    first, *_ = items(gc, disk, clock, 40, 40, 40)
    first.meanwhile = lambda: setattr(disk, "free", 500)
    gc.collect()
    assert disk.gone == ["0"]
    assert disk.measured == 3  # for the plan, before and after the first: that is before the second, too


@pytest.mark.parametrize(("seconds", "measured"), [(0.0, 4), (JUST_NOW_SECONDS * 0.9, 4), (JUST_NOW_SECONDS * 1.1, 6)])
def test_what_was_measured_after_one_serves_before_the_next_unless_it_is_too_old(
    clock: FakeClock, seconds: float, measured: int
) -> None:
    disk = FakeDisk(free=0)
    gc = collector(disk, clock, on_eviction=lambda _: clock.advance(seconds))
    items(gc, disk, clock, 50, 50, 50)
    gc.collect()
    assert disk.gone == ["0", "1"]
    assert disk.measured == measured


def test_what_was_measured_after_one_serves_once_only(clock: FakeClock) -> None:
    disk = FakeDisk(free=0)
    gc = collector(disk, clock)
    _, second, *_ = items(gc, disk, clock, 50, 50, 50)
    second.error = DisposableInUseError("in use", reason="leased")
    second.meanwhile = lambda: setattr(disk, "free", 500)
    gc.collect()
    assert disk.gone == ["0"]


def test_one_in_use_is_kept_with_its_reason_and_the_next_goes(clock: FakeClock) -> None:
    disk = FakeDisk(free=0)
    gc = collector(disk, clock, minimum=50)
    used, leased, _ = items(gc, disk, clock, 50, 50, 50)
    used.acquire()
    leased.error = DisposableInUseError("somebody reads it", reason="leased")
    collection = gc.collect()
    assert disk.gone == ["2"]
    assert kept(collection) == {"0": "in-use", "1": "leased"}
    used.release()
    clock.advance(1)
    disk.free = 0
    gc.collect()
    assert disk.gone == ["2", "0"]


@pytest.mark.parametrize("size", [50, None])
def test_an_unknown_size_is_worth_trying_and_size_0_is_passed_by(clock: FakeClock, size: int | None) -> None:
    disk = FakeDisk(free=0)
    gc = collector(disk, clock, minimum=50)
    _, taken = items(gc, disk, clock, 0, size)
    taken.brings = 50
    assert kept(gc.collect()) == {"0": "no-size"}
    assert disk.gone == ["1"]


def test_what_is_known_goes_before_what_is_not(clock: FakeClock) -> None:
    disk = FakeDisk(free=0)
    gc = collector(disk, clock, minimum=50)
    unknown, _ = items(gc, disk, clock, None, 50)
    unknown.brings = 50
    gc.collect()
    assert disk.gone == ["1"]
    clock.advance(1)
    disk.free = 0
    gc.collect()
    assert disk.gone == ["1", "0"]


def test_what_is_known_and_wanted_and_got_is_told(clock: FakeClock) -> None:
    disk = FakeDisk(free=10)
    heard: list[Eviction] = []
    gc = collector(disk, clock, minimum=100, target=150, on_eviction=heard.append)
    first, _ = items(gc, disk, clock, 100, 100)
    first.brings, first.meanwhile = 60, lambda: clock.advance(3)
    began = clock.time()
    collection = gc.collect()
    assert collection.at == began
    assert collection.wanted == {Resource.DISK: 140}
    assert collection.reclaimed == {Resource.DISK: 160}
    assert collection.evictions == tuple(heard)
    eviction = heard[0]
    assert (eviction.subject, eviction.reasons) == (first, ("disk",))
    assert (eviction.expected[Resource.DISK], eviction.reclaimed[Resource.DISK]) == (100, 60)
    assert (eviction.at, eviction.seconds, eviction.idle_seconds, eviction.clamped) == (began, 3, 1, False)


def test_what_would_be_next_goes_in_place_of_one_in_use_and_no_more_than_that(clock: FakeClock) -> None:
    disk = FakeDisk(free=0)
    gc = collector(disk, clock)
    _, used, *_ = items(gc, disk, clock, 50, 50, 0, 20, 20, 20, 20)
    used.acquire()
    assert len(gc.plan().steps) == 2
    collection = gc.collect()
    assert disk.gone == ["0", "3", "4", "5"]
    assert kept(collection) == {"1": "in-use"}
    assert {eviction.reasons for eviction in collection.evictions} == {("disk",)}


def test_what_brings_less_than_it_should_is_not_made_up_for_in_the_same_collection(clock: FakeClock) -> None:
    disk = FakeDisk(free=0)
    gc = collector(disk, clock)
    first, *_ = items(gc, disk, clock, 100, 100)
    first.brings = 90
    gc.collect()
    assert disk.gone == ["0"]


def test_in_place_of_one_in_use_goes_what_helps_where_that_would_have_helped(clock: FakeClock) -> None:
    disk, memory = FakeDisk(free=50), FakeGauge(Resource.MEMORY, 50, 100)
    gc = collector(disk, clock, gauges=[memory])
    for_disk, for_memory, *_ = items(gc, disk, clock, 50, 0, 50, 0)
    for one in (for_memory, *_[1:]):
        one.memory = 50
        one.meanwhile = lambda: setattr(memory, "free", memory.free + 50)
    for_memory.acquire()
    collection = gc.collect()
    assert disk.gone == ["0", "3"]
    assert collection.evictions[-1].reasons == ("memory",)
    assert for_disk not in [k.subject for k in collection.kept]


def test_an_eviction_has_the_thresholds_that_it_was_to_relieve_as_they_were_when_it_was_decided(
    clock: FakeClock,
) -> None:
    disk, memory = FakeDisk(free=50), FakeGauge(Resource.MEMORY, 60, 100)
    gc = collector(disk, clock, gauges=[memory])
    for_disk, for_memory = items(gc, disk, clock, 50, 50)
    for_disk.meanwhile = lambda: setattr(memory, "free", memory.free + 1)
    for_memory.memory = 50
    for_memory.meanwhile = lambda: setattr(memory, "free", 100)
    first, second = gc.collect().evictions
    assert [(want.threshold.resource, want.measurement.free, want.deficit) for want in first.wants] == [
        (Resource.DISK, 50, 50)
    ]
    assert [(want.threshold.resource, want.measurement.free, want.deficit) for want in second.wants] == [
        (Resource.MEMORY, 60, 40)
    ]


def test_an_eviction_is_told_as_it_happens(clock: FakeClock) -> None:
    disk = FakeDisk(free=0)
    gone_when_told: list[int] = []
    gc = collector(disk, clock, on_eviction=lambda _eviction: gone_when_told.append(len(disk.gone)))
    items(gc, disk, clock, 50, 50)
    gc.collect()
    assert gone_when_told == [1, 2]


def test_what_came_back_is_never_negative_and_says_that_it_was_clamped(clock: FakeClock) -> None:
    disk = FakeDisk(free=50)
    gc = collector(disk, clock)
    (only,) = items(gc, disk, clock, 50)
    only.meanwhile = lambda: setattr(disk, "free", -40)
    (eviction,) = gc.collect().evictions
    assert eviction.reclaimed == {Resource.DISK: 0}
    assert eviction.clamped


@pytest.mark.parametrize("off", [0, None])
def test_a_threshold_of_0_or_none_is_off(clock: FakeClock, off: int | None) -> None:
    disk = FakeDisk(free=-1)
    gc = GarbageCollector("/cache", off, off, minimum_inodes=off, clock=clock, statvfs=disk.statvfs)
    (only,) = items(gc, disk, clock, 50)
    assert gc.collect() == Collection(clock.time())
    assert gc.measure()[0].readings == ()
    assert (disk.gone, disk.measured, only.asked) == ([], 0, 0)


def test_without_any_argument_nothing_is_scarce_and_collect_all_works(clock: FakeClock) -> None:
    disk = FakeDisk(free=0)
    gc = GarbageCollector()
    items(gc, disk, clock, 50, 0, None)
    gc.collect()
    assert disk.gone == []
    gc.collect_all()
    assert disk.gone == ["0", "1", "2"]


@pytest.mark.parametrize(("disk", "inodes"), [(1, None), (None, 1)])
def test_a_minimum_for_what_lies_in_no_folder_is_refused(disk: int | None, inodes: int | None) -> None:
    with pytest.raises(ValueError, match="storage_folder"):
        GarbageCollector(minimum_disk_space=disk, minimum_inodes=inodes)


def test_a_target_below_its_minimum_is_refused() -> None:
    with pytest.raises(ValueError, match="raise the target"):
        GarbageCollector("/", 100, target_disk_space=99)


def test_two_gauges_for_one_resource_are_refused_and_not_mixed_up(clock: FakeClock) -> None:
    disk = FakeDisk(free=500)
    gc = collector(disk, clock, gauges=[FakeGauge(Resource.DISK, 0, 100)])
    items(gc, disk, clock, 50)
    with pytest.raises(ValueError, match="measured twice"):
        gc.collect()
    assert disk.gone == []


def test_nobody_is_asked_for_a_size_while_nothing_is_scarce(clock: FakeClock) -> None:
    disk = FakeDisk(free=100)
    gc = collector(disk, clock)
    (only,) = items(gc, disk, clock, 50)
    gc.collect()
    assert only.asked == 0
    disk.free = 99
    gc.collect()
    assert only.asked == 1


def test_disk_inodes_and_memory_are_relieved_in_one_walk(clock: FakeClock) -> None:
    disk = FakeDisk(free=60, free_inodes=5)
    memory = FakeGauge(Resource.MEMORY, 50, 100)
    gc = collector(disk, clock, minimum=100, minimum_inodes=10, gauges=[memory])
    neither, for_disk, for_memory, last = items(gc, disk, clock, 0, 50, 0, 50)
    for_memory.memory = 60
    for_memory.meanwhile = lambda: setattr(memory, "free", 110)
    neither.meanwhile = lambda: setattr(disk, "free_inodes", 10)
    collection = gc.collect()
    assert [(e.subject, e.reasons) for e in collection.evictions] == [
        (neither, ("inodes",)),
        (for_disk, ("disk", "inodes")),
        (for_memory, ("inodes", "memory")),
    ]
    assert last.disk.gone == ["0", "1", "2"]
    assert collection.wanted == {Resource.DISK: 40, Resource.INODES: 5, Resource.MEMORY: 50}


class InGroup(Item):
    """One that describes itself."""

    group = "a"

    def candidate(self, _now: float) -> Candidate:
        return Candidate(self.name, self.last_used(), {Resource.SIZE: self.size}, self.group)


def test_a_cap_of_a_group_takes_from_that_group_only(clock: FakeClock) -> None:
    disk = FakeDisk(free=0)
    cap = FakeGauge(Resource.SIZE, -10, 0, 40, group="b")
    gc = GarbageCollector(gauges=[cap, FakeGauge(Resource.SIZE, 900, 0, group="a")], clock=clock)
    for i in range(6):
        one = InGroup(str(i), disk, 25, clock)
        one.group = "ab"[i % 2]
        one.meanwhile = lambda: setattr(cap, "free", cap.free + 25)
        gc.register(one)
    collection = gc.collect()
    assert disk.gone == ["1", "3"]
    assert collection.reclaimed == {Resource.SIZE: 50}


def test_one_that_describes_itself_may_be_due_and_goes_without_pressure(clock: FakeClock) -> None:
    class Due(Item):
        def candidate(self, _now: float) -> Candidate:
            return Candidate(self.name, self.last_used(), {}, due="max-idle")

    disk = FakeDisk(free=500)
    gc = collector(disk, clock)
    due = Due("due", disk, 50, clock)
    gc.register(due)
    items(gc, disk, clock, 50)
    (eviction,) = gc.collect().evictions
    assert (eviction.subject, eviction.reasons) == (due, ("max-idle",))


def test_what_is_due_goes_on_after_the_target_is_met_and_nothing_else_does(clock: FakeClock) -> None:
    class Due(Item):
        def candidate(self, _now: float) -> Candidate:
            return Candidate(self.name, self.last_used(), {Resource.DISK: self.size}, due="max-idle")

    disk = FakeDisk(free=0)
    gc = collector(disk, clock)
    first, *_ = items(gc, disk, clock, 50, 50)
    first.brings = 100
    clock.advance(1)
    gc.register(Due("due", disk, 50, clock))
    gc.collect()
    assert disk.gone == ["0", "due"]


def test_a_plan_disposes_of_nothing(clock: FakeClock) -> None:
    disk = FakeDisk(free=0)
    gc = collector(disk, clock)
    (only,) = items(gc, disk, clock, 50)
    assert [step.candidate.subject for step in gc.plan().steps] == [only]
    assert disk.gone == []


def test_once_stop_says_so_the_collection_ends_and_says_what_it_did(clock: FakeClock) -> None:
    disk = FakeDisk(free=0)
    gc = collector(disk, clock, stop=lambda: len(disk.gone) == 2)
    items(gc, disk, clock, 10, 10, 10)
    assert len(gc.collect().evictions) == 2


def test_once_stop_says_so_nothing_goes_in_place_of_one_in_use_either(clock: FakeClock) -> None:
    disk = FakeDisk(free=0)
    stopping: list[bool] = []
    gc = collector(disk, clock, stop=lambda: bool(stopping))
    first, _ = items(gc, disk, clock, 100, 100)
    first.meanwhile, first.error = lambda: stopping.append(True), DisposableInUseError()
    gc.collect()
    assert disk.gone == []


def test_registering_twice_is_registering_once(clock: FakeClock) -> None:
    disk = FakeDisk(free=0)
    gc = collector(disk, clock, minimum=50)
    (only,) = items(gc, disk, clock, 10)
    gc.register(only)
    gc.collect()
    assert disk.gone == ["0"]
    assert not gc.unregister(only)


def test_unregister_says_whether_it_was_still_there_and_then_it_stays(clock: FakeClock) -> None:
    disk = FakeDisk(free=0)
    gc = collector(disk, clock)
    first, _ = items(gc, disk, clock, 100, 100)
    assert gc.unregister(first)
    assert not gc.unregister(first)
    gc.collect()
    assert disk.gone == ["1"]


def test_one_unregistered_after_the_plan_was_made_is_left_alone(clock: FakeClock) -> None:
    disk = FakeDisk(free=0)
    gc = collector(disk, clock)
    first, _ = items(gc, disk, clock, 100, 100)
    plan = gc.plan()
    gc.unregister(first)
    gc.execute(plan)
    assert disk.gone == ["1"]


def test_collect_all_takes_all_that_is_not_in_use_whatever_is_free(clock: FakeClock) -> None:
    disk = FakeDisk(free=900)
    gc = collector(disk, clock)
    _, used, *_ = items(gc, disk, clock, 50, 50, 0, None)
    used.acquire()
    collection = gc.collect_all()
    assert disk.gone == ["0", "2", "3"]
    assert kept(collection) == {"1": "in-use"}
    assert {e.reasons for e in collection.evictions} == {("all",)}
    assert collection.wanted == {}


def test_where_nothing_can_be_measured_nothing_goes(clock: FakeClock) -> None:
    disk = FakeDisk(free=0)
    disk.fails_after = 0
    gc = collector(disk, clock)
    items(gc, disk, clock, 50)
    for attempt in (gc.collect, gc.collect_all, gc.plan):
        with pytest.raises(MeasurementError, match=r"can't measure disk of /cache: Input/output error") as caught:
            attempt()
        assert caught.value.collection is None
    assert disk.gone == []


def test_one_gauge_that_fails_is_enough_for_nothing_to_go(clock: FakeClock) -> None:
    disk, memory = FakeDisk(free=0), FakeGauge(Resource.MEMORY, 1000)
    memory.broken = True
    gc = collector(disk, clock, gauges=[memory])
    items(gc, disk, clock, 50)
    with pytest.raises(MeasurementError):
        gc.collect()
    assert disk.gone == []


# One measurement for the plan, one before each disposal, one after it.
@pytest.mark.parametrize(("measured", "gone"), [(1, []), (2, ["0"]), (3, ["0"]), (4, ["0", "1"])])
def test_where_measuring_fails_on_the_way_no_more_goes_and_what_went_is_told(
    clock: FakeClock, measured: int, gone: list[str]
) -> None:
    disk = FakeDisk(free=0)
    heard: list[Eviction] = []

    def hear(eviction: Eviction) -> None:
        heard.append(eviction)
        clock.advance(2 * JUST_NOW_SECONDS)

    gc = collector(disk, clock, on_eviction=hear)
    items(gc, disk, clock, 20, 20, 20)
    disk.fails_after = measured
    with pytest.raises(MeasurementError) as caught:
        gc.collect()
    assert disk.gone == gone
    assert caught.value.collection is not None
    assert [e.subject.name for e in caught.value.collection.evictions if isinstance(e.subject, Item)] == gone
    assert tuple(heard) == caught.value.collection.evictions
    # What came back by the last one isn't known, if it was the measuring after it that failed; it is not called 0.
    amounts = [e.reclaimed.get(Resource.DISK) for e in heard]
    assert amounts == [20] * (measured // 2 - 1) + [None if measured % 2 == 0 else 20] if gone else not amounts


def test_a_size_that_raises_keeps_that_one_and_the_others_go(clock: FakeClock) -> None:
    class Broken(Item):
        def disk_size(self) -> int:
            raise OSError(5, "Input/output error")

    disk = FakeDisk(free=0)
    gc = collector(disk, clock)
    broken = Broken("broken", disk, 50, clock)
    gc.register(broken)
    items(gc, disk, clock, 100)
    assert kept(gc.collect()) == {"broken": "unmeasured"}
    assert disk.gone == ["0"]


def test_a_collection_that_a_disposal_starts_does_not_take_that_one_again(clock: FakeClock) -> None:
    disk = FakeDisk(free=0)
    gc = collector(disk, clock, minimum=200)
    first, _ = items(gc, disk, clock, 100, 100)
    nested: list[Collection] = []
    first.meanwhile = lambda: nested.append(gc.collect())
    gc.collect()
    assert disk.gone == ["1", "0"]
    assert [len(collection.evictions) for collection in nested] == [1]


def test_any_object_with_the_methods_is_a_disposable(clock: FakeClock) -> None:
    class Plain:
        gone = False

        def disk_size(self) -> int:
            return 50

        def memory_size(self) -> int:
            return 0

        def inode_count(self) -> int:
            return 7

        def last_used(self) -> float:
            return clock.time()

        def dispose(self) -> None:
            self.gone = True

    gc = collector(FakeDisk(free=0), clock)
    plain = Plain()
    disposable: Disposable = plain
    gc.register(disposable)
    (eviction,) = gc.collect().evictions
    assert plain.gone
    assert eviction.expected == {Resource.DISK: 50, Resource.MEMORY: 0, Resource.INODES: 7}


def test_it_looks_the_more_often_the_less_is_left_above_the_trigger(clock: FakeClock) -> None:
    disk = FakeDisk(free=65 * 10**9, capacity=10**11)
    gc = collector(disk, clock, minimum=10**9)
    assert gc.interval_seconds(*gc.measure()) == pytest.approx(4.0)
    disk.free = 9 * 10**9
    assert gc.interval_seconds(*gc.measure()) == pytest.approx(0.5)
    assert GarbageCollector().interval_seconds(*GarbageCollector().measure()) == 5


def test_what_a_disposal_brings_says_nothing_of_how_fast_writers_are(clock: FakeClock) -> None:
    disk = FakeDisk(free=200, capacity=1000)
    gc = collector(disk, clock)
    (only,) = items(gc, disk, clock, 500)
    gc.measure()
    clock.advance(10)
    disk.free = 90
    only.meanwhile = lambda: clock.advance(1)
    gc.collect()
    assert disk.free == 590
    assert gc.fill_rate(Resource.DISK) == pytest.approx(11)
