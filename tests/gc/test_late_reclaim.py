"""Filesystems that give back late, or never: nothing more goes for what is on its way, and nothing in vain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import FakeClock, FakeDisk, FakeGauge, Item
from gcsidecar import Candidate, GarbageCollector, Resource
from gcsidecar.gc.reclaim import UNSEEN_FACTOR, LateReclaim

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gcsidecar import Collection, Eviction, Gauge

SETTLE, MINUTE, HOUR = 30.0, 60.0, 3600.0


class Scene:
    """A disk with many items that bring nothing by themselves; what comes back comes by hand."""

    def __init__(
        self,
        clock: FakeClock,
        *,
        settle_seconds: float = 0.0,
        size: int | None = 50,
        count: int = 40,
        gauges: Sequence[Gauge] = (),
    ) -> None:
        self.disk, self.clock = FakeDisk(free=0, capacity=10_000), clock
        self.after_each: Callable[[], object] = lambda: None
        self.gc = GarbageCollector(
            "/cache",
            100,
            clock=clock,
            statvfs=self.disk.statvfs,
            settle_seconds=settle_seconds,
            on_eviction=self._evicted,
            gauges=gauges,
        )
        self.items: list[Item] = []
        for i in range(count):
            clock.advance(1)
            self.items.append(Item(str(i), self.disk, size, clock, brings=0))
            self.gc.register(self.items[-1])

    def _evicted(self, _eviction: Eviction) -> None:
        self.after_each()

    def collect(self, *, after: float = 0.0) -> int:
        """Collect so many seconds from now; how many went."""
        self.clock.advance(after)
        self.collection: Collection = self.gc.collect()
        return len(self.collection.evictions)


# What is on its way


def test_while_the_filesystem_settles_nothing_more_goes_for_what_is_on_its_way(clock: FakeClock) -> None:
    scene = Scene(clock, settle_seconds=SETTLE)
    assert scene.collect() == 2
    assert scene.gc.measure()[0].on_its_way[Resource.DISK] == 100
    assert scene.collect(after=SETTLE - 1) == 0
    scene.disk.free += 100
    assert scene.collect(after=1) == 0
    assert scene.gc.measure()[0].on_its_way[Resource.DISK] == 0


def test_without_a_settle_time_nothing_is_on_its_way(clock: FakeClock) -> None:
    scene = Scene(clock)
    assert scene.collect() == 2
    assert scene.gc.measure()[0].on_its_way[Resource.DISK] == 0


def test_what_writers_take_meanwhile_is_made_up_for(clock: FakeClock) -> None:
    scene = Scene(clock, settle_seconds=SETTLE)
    assert scene.collect() == 2
    scene.disk.free -= 50
    assert scene.collect(after=1) == 1


def test_of_what_one_brings_at_once_nothing_is_taken_for_the_arrival_of_another(clock: FakeClock) -> None:
    scene = Scene(clock, settle_seconds=SETTLE)
    scene.items[1].brings = 20
    assert scene.collect() == 2
    assert scene.gc.measure()[0].on_its_way[Resource.DISK] == 80


def test_where_measuring_fails_after_a_disposal_it_counts_as_on_its_way_all_the_same(clock: FakeClock) -> None:
    scene = Scene(clock, settle_seconds=SETTLE)
    scene.items[0].meanwhile = lambda: setattr(scene.disk, "fails_after", scene.disk.measured)
    with pytest.raises(Exception, match="can't measure"):
        scene.collect()
    scene.disk.fails_after = None
    assert scene.collect() == 1


def test_what_comes_late_is_told_beside_what_each_reclaimed_and_never_twice(clock: FakeClock) -> None:
    scene = Scene(clock, settle_seconds=SETTLE)
    scene.items[0].brings = 20
    assert scene.collect() == 2
    assert scene.collection.reclaimed[Resource.DISK] == 20
    assert scene.gc.reclaimed_late(Resource.DISK) == 0
    scene.disk.free += 70
    scene.gc.measure()
    assert scene.gc.reclaimed_late(Resource.DISK) == 70
    scene.disk.free += 500  # somebody else's
    scene.gc.measure()
    assert scene.gc.reclaimed_late(Resource.DISK) == 80


def test_what_comes_between_two_disposals_of_one_collection_is_late(clock: FakeClock) -> None:
    scene = Scene(clock, settle_seconds=SETTLE)
    scene.after_each = lambda: setattr(scene.disk, "free", scene.disk.free + 30)
    assert scene.collect() == 2
    scene.gc.measure()
    assert scene.collection.reclaimed[Resource.DISK] == 0
    assert scene.gc.reclaimed_late(Resource.DISK) == 60


def test_where_measuring_fails_after_a_disposal_all_it_brings_comes_late(clock: FakeClock) -> None:
    scene = Scene(clock, settle_seconds=SETTLE)
    scene.items[0].brings = 50
    scene.items[0].meanwhile = lambda: setattr(scene.disk, "fails_after", scene.disk.measured)
    with pytest.raises(Exception, match="can't measure"):
        scene.collect()
    scene.disk.fails_after = None
    scene.gc.measure()
    assert scene.gc.reclaimed_late(Resource.DISK) == 50


def test_without_a_settle_time_nothing_comes_late(clock: FakeClock) -> None:
    scene = Scene(clock)
    scene.collect()
    scene.disk.free += 100
    scene.gc.measure()
    assert scene.gc.reclaimed_late(Resource.DISK) == 0


def late(*amounts: int) -> LateReclaim:
    """What is on its way from disposals that are all over at 0 s, with nothing free then."""
    made = LateReclaim(SETTLE)
    made.saw(0, 0.0)
    for amount in amounts:
        made.expect(amount, 0.0)
    made.concluded()
    return made


def test_what_writers_take_before_it_is_seen_is_not_waited_for_where_some_of_it_is_seen() -> None:
    """An xfs gives back 64 MiB within 10 ms, and in the 20 ms between two looks a writer has taken most of it."""
    coming = late(100)
    coming.saw(30, 0.02, fastest=3000.0)
    assert coming.on_its_way == 10
    assert coming.arrived_late == 30, "what was taken unseen was seen by nobody"


@pytest.mark.parametrize(("free", "seconds", "fastest", "left"), [(-50, 0.02, 1e6, 100), (0, 5.0, 1e6, 100)])
def test_where_nothing_is_seen_to_come_all_is_waited_for(free: int, seconds: float, fastest: float, left: int) -> None:
    """A btrfs may give back in half a minute, whatever a writer does meanwhile."""
    coming = late(100)
    coming.saw(free, seconds, fastest)
    assert coming.on_its_way == left


@given(st.lists(st.tuples(st.integers(-100, 100), st.floats(0.001, 5)), max_size=20), st.floats(0, 1e6))
def test_a_small_rise_is_no_sign_that_much_has_come(steps: list[tuple[int, float]], fastest: float) -> None:
    """Free space wavers by some KiB on any filesystem, and there are 50 looks a second."""
    coming = late(100_000)
    free, at, rises = 0, 0.0, 0
    for change, seconds in steps:
        free, at, rises = free + change, at + seconds / 10, rises + max(0, change)
        coming.saw(free, at, fastest)
    assert 100_000 - UNSEEN_FACTOR * rises <= coming.on_its_way <= 100_000 - rises or at >= SETTLE


# What never comes


def test_what_brings_nothing_pauses_the_collection_once_it_had_time_to_settle(clock: FakeClock) -> None:
    scene = Scene(clock, settle_seconds=SETTLE)
    assert scene.collect() == 2
    scene.gc.measure()
    assert not scene.gc.paused
    assert scene.collect(after=SETTLE) == 0
    assert scene.gc.paused
    assert scene.collection.paused
    assert [kept.reason for kept in scene.collection.kept] == ["paused"] * 2


def test_one_is_tried_after_a_minute_and_then_after_twice_as_long_up_to_an_hour(clock: FakeClock) -> None:
    scene = Scene(clock)
    scene.collect()
    scene.collect()
    assert scene.gc.paused
    for wait in [MINUTE * 2**i for i in range(6)] + [HOUR, HOUR]:
        assert scene.collect(after=wait - 1) == 0
        assert scene.collect(after=1) == 1
        assert scene.collect() == 0


def test_one_that_brings_what_it_should_ends_the_pause(clock: FakeClock) -> None:
    scene = Scene(clock)
    scene.collect()
    scene.collect()
    for item in scene.items:
        item.brings = 50
    assert scene.collect(after=MINUTE) == 1
    assert scene.collect() == 1
    assert not scene.gc.paused
    assert scene.disk.free == 100


def test_a_collection_is_judged_as_a_whole_and_not_by_its_single_disposals(clock: FakeClock) -> None:
    scene = Scene(clock)
    scene.items[1].brings = 60
    assert scene.collect() == 2
    scene.gc.measure()
    assert not scene.gc.paused


def test_a_long_collection_counts_as_one_failure(clock: FakeClock) -> None:
    scene = Scene(clock, size=10)
    assert scene.collect() == 10
    assert scene.collect() == 0
    assert scene.collect(after=MINUTE) == 1


def test_a_long_collection_is_judged_after_its_end_with_time_for_its_last_disposal(clock: FakeClock) -> None:
    scene = Scene(clock, settle_seconds=SETTLE)
    scene.items[1].meanwhile = lambda: clock.advance(SETTLE)
    assert scene.collect() == 2
    scene.clock.advance(SETTLE - 1)
    scene.gc.measure()
    assert not scene.gc.paused
    scene.disk.free += 100
    scene.collect(after=1)
    assert not scene.gc.paused


def test_no_verdict_is_given_where_a_writer_could_have_taken_the_difference(clock: FakeClock) -> None:
    scene = Scene(clock, settle_seconds=SETTLE)
    scene.disk.free = 300
    scene.gc.measure()
    scene.clock.advance(1)
    scene.disk.free = 0  # a writer of 300 a second
    assert scene.collect() == 2
    scene.clock.advance(SETTLE)
    scene.gc.measure()
    assert not scene.gc.paused


def test_unknown_sizes_are_no_promise_and_never_pause_it(clock: FakeClock) -> None:
    scene = Scene(clock, size=None, count=3)
    assert scene.collect() == 3
    scene.gc.measure()
    assert not scene.gc.paused


def test_collect_all_does_not_care_about_the_pause(clock: FakeClock) -> None:
    scene = Scene(clock)
    scene.collect()
    scene.collect()
    assert scene.gc.paused
    assert len(scene.gc.collect_all().evictions) == 38


class Capped(Item):
    """One of a group that has a budget of its own."""

    def candidate(self, _now: float) -> Candidate:
        return Candidate(self.name, self.last_used(), {Resource.DISK: self.size, Resource.SIZE: self.size}, "b")


def test_a_cap_is_kept_to_in_a_pause(clock: FakeClock) -> None:
    cap = FakeGauge(Resource.SIZE, 100, 0, 40, group="b")
    scene = Scene(clock, gauges=[cap])
    scene.collect()
    assert scene.collect() == 0
    assert scene.gc.paused
    for name in ("capped", "capped too"):
        clock.advance(1)
        scene.gc.register(Capped(name, scene.disk, 50, clock, brings=0))
    cap.free = -50
    scene.after_each = lambda: setattr(cap, "free", cap.free + 50)
    assert scene.collect(after=1) == 2
    assert scene.disk.gone[2:] == ["capped", "capped too"]
    assert scene.collect() == 0


def test_while_paused_the_one_that_is_tried_may_be_another_where_the_first_is_in_use(clock: FakeClock) -> None:
    scene = Scene(clock)
    scene.collect()
    scene.collect()
    scene.clock.advance(MINUTE)
    for item in scene.items[2:6]:
        item.acquire()
    assert scene.collect() == 1
    assert scene.disk.gone == ["0", "1", "6"]
