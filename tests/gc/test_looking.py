"""The look before a disposal: what it finds decides whether that goes, and how many others have to."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import NOW, FakeClock, FakeDisk, FakeGauge
from gcsidecar import Candidate, CollectionError, DisposableInUseError, GarbageCollector, Resource
from gcsidecar.gc.looking import SEARCH_SECONDS, Reserve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gcsidecar import Collection

SETTLE = 30.0


@dataclass
class Thing:
    """Something of which less is known than is so: `size` and `used_at` are planned with, `really` a look finds."""

    name: str
    scene: Scene
    size: int | None
    used_at: float
    really: Callable[[Candidate], Candidate | None] = lambda candidate: candidate
    due: str | None = None
    seconds: float = 0.0
    looks: int = field(default=0, init=False)

    def disk_size(self) -> int:
        return self.size or 0

    def memory_size(self) -> int:
        return 0

    def last_used(self) -> float:
        return self.used_at

    def candidate(self, _now: float) -> Candidate:
        return Candidate(self.name, self.used_at, {Resource.DISK: self.size}, due=self.due)

    def look(self, now: float) -> Candidate | None:
        self.looks += 1
        self.scene.clock.advance(self.seconds)
        return self.really(self.candidate(now))

    def dispose(self) -> None:
        self.scene.gone.append(self.name)
        self.scene.disk.free += self.scene.gives_back(self)


class Scene:
    """A disk on which 100 are to be free and nothing is."""

    def __init__(self, *, settle_seconds: float = 0.0, trigger: int = 100) -> None:
        self.clock, self.disk = FakeClock(), FakeDisk(free=0, capacity=10_000)
        self.gone: list[str] = []
        self.things: list[Thing] = []
        self.gives_back: Callable[[Thing], int] = lambda _thing: 0
        self.gc = GarbageCollector(
            "/cache", trigger, clock=self.clock, statvfs=self.disk.statvfs, settle_seconds=settle_seconds
        )

    def add(self, size: int | None, *, used: float | None = None, **more: object) -> Thing:
        """One that was used a second after the one before."""
        at = NOW - 1000 + len(self.things) if used is None else NOW - 1000 + used
        self.things.append(Thing(f"{len(self.things):02}", self, size, at, **more))  # type: ignore[arg-type]
        self.gc.register(self.things[-1])
        return self.things[-1]

    def collect(self) -> Collection:
        return self.gc.collect()


def of_size(size: int) -> Callable[[Candidate], Candidate]:
    return lambda candidate: replace(candidate, sizes={Resource.DISK: size})


def used_later(used: float) -> Callable[[Candidate], Candidate]:
    return lambda candidate: replace(candidate, last_used=NOW - 1000 + used)


def kept(collection: Collection) -> dict[str, str]:
    return {one.key: one.reason for one in collection.kept}


@pytest.mark.parametrize(("known", "count"), [(None, 10), (10, 10)])
def test_where_space_comes_back_late_one_goes_and_not_ten_of_which_too_little_was_known(
    known: int | None, count: int
) -> None:
    scene = Scene(settle_seconds=SETTLE)
    for _ in range(count):
        scene.add(known, really=of_size(100))
    assert len(scene.gc.plan().steps) == 10
    collection = scene.collect()
    assert scene.gone == ["00"]
    assert collection.evictions[0].expected == {Resource.DISK: 100}
    assert scene.gc.measure()[0].on_its_way[Resource.DISK] == 100
    scene.clock.advance(SETTLE - 1)
    assert scene.collect().evictions == ()


def test_one_that_is_smaller_than_was_known_is_made_up_for_by_the_next(clock: FakeClock) -> None:
    scene = Scene(settle_seconds=SETTLE)
    scene.add(100, really=of_size(10))
    for _ in range(3):
        scene.add(90)
    scene.collect()
    assert scene.gone == ["00", "01"]
    assert clock.now == NOW


def test_without_a_look_nothing_is_different() -> None:
    scene = Scene(settle_seconds=SETTLE)
    for _ in range(3):
        scene.add(100, really=lambda _candidate: None)
    collection = scene.collect()
    assert scene.gone == ["00"]
    assert collection.evictions[0].expected == {Resource.DISK: 100}


def test_what_turns_out_to_be_in_use_stays_with_its_reason_and_the_next_goes_in_its_place() -> None:
    scene = Scene(settle_seconds=SETTLE)
    scene.add(100, really=lambda candidate: replace(candidate, keep="at-work"))
    scene.add(100)
    scene.add(100)
    assert kept(scene.collect()) == {"00": "at-work"}
    assert scene.gone == ["01"]


def test_what_turns_out_to_bring_nothing_stays() -> None:
    scene = Scene()
    scene.add(100, really=of_size(0))
    assert kept(scene.collect()) == {"00": "no-size"}
    assert scene.gone == []


def test_what_is_due_and_turns_out_to_be_used_stays() -> None:
    scene = Scene(trigger=1)
    scene.disk.free = 1000
    scene.add(100, due="max-idle", really=lambda candidate: replace(candidate, due=None))
    scene.add(100, due="max-idle")
    assert kept(scene.collect()) == {"00": "used"}
    assert scene.gone == ["01"]


def test_where_everything_is_to_go_a_look_keeps_only_what_is_in_use() -> None:
    scene = Scene(trigger=1)
    scene.disk.free = 1000
    scene.add(100, really=of_size(0))
    scene.add(100, really=lambda candidate: replace(candidate, keep="leased"))
    assert kept(scene.gc.collect_all()) == {"01": "leased"}
    assert scene.gone == ["00"]


def test_what_was_used_later_than_was_known_goes_after_those_that_were_not() -> None:
    scene = Scene(settle_seconds=SETTLE)
    scene.add(50, really=used_later(2.5))
    for _ in range(4):
        scene.add(50)
    scene.collect()
    assert scene.gone == ["01", "02"]
    scene.disk.free = -50
    scene.collect()
    assert scene.gone == ["01", "02", "00"]


def test_what_was_put_off_goes_when_its_turn_comes_in_the_same_collection() -> None:
    scene = Scene(settle_seconds=SETTLE)
    first = scene.add(50, really=used_later(1.5))
    second = scene.add(50)
    third = scene.add(50)
    scene.collect()
    assert scene.gone == ["01", "00"]
    assert [first.looks, second.looks, third.looks] == [1, 1, 0], "none is looked at twice"


def test_the_last_one_goes_whenever_it_was_used() -> None:
    scene = Scene(settle_seconds=SETTLE)
    scene.add(100, really=used_later(999))
    scene.collect()
    assert scene.gone == ["00"]


def test_after_a_while_in_search_of_the_least_recently_used_the_best_of_those_seen_goes() -> None:
    scene = Scene(settle_seconds=SETTLE)
    for number in range(40):
        scene.add(100, really=used_later(900 - number), seconds=SEARCH_SECONDS / 4)
    scene.collect()
    assert scene.gone == ["03"]
    assert sum(thing.looks for thing in scene.things) == 4


def test_for_each_that_goes_the_search_begins_anew() -> None:
    scene = Scene(settle_seconds=SETTLE)
    for number in range(40):
        scene.add(50, really=used_later(900 - number), seconds=SEARCH_SECONDS / 4)
    scene.collect()
    assert scene.gone == ["03", "07"]


def test_of_the_reserve_no_more_is_read_than_is_asked_for() -> None:
    read: list[str] = []

    def planned() -> Iterator[Candidate]:
        for candidate in candidates([1, 2, 3]):
            read.append(candidate.key)
            yield candidate

    reserve = Reserve(planned())
    assert read == []
    assert reserve.pop() is not None
    assert read == ["0"]


def test_one_of_which_no_size_is_known_is_not_put_off_since_the_others_were_not_seen_either() -> None:
    scene = Scene(settle_seconds=SETTLE)
    for _ in range(5):
        scene.add(None, really=lambda candidate: used_later(900)(of_size(100)(candidate)))
    scene.collect()
    assert scene.gone == ["00"]
    assert sum(thing.looks for thing in scene.things) == 1


def test_where_others_free_space_during_a_look_nothing_goes() -> None:
    scene = Scene()

    def meanwhile(candidate: Candidate) -> Candidate:
        scene.disk.free = 100
        return candidate

    scene.add(100, really=meanwhile)
    collection = scene.collect()
    assert (scene.gone, collection.kept) == ([], ())


def test_what_can_not_be_looked_at_does_not_go_and_the_others_do() -> None:
    scene = Scene(settle_seconds=SETTLE)

    def breaks(_candidate: Candidate) -> Candidate:
        raise OSError(5, "Input/output error")

    def refuses(_candidate: Candidate) -> Candidate:
        raise DisposableInUseError("no", reason="busy")

    scene.add(100, really=breaks)
    scene.add(100, really=refuses)
    scene.add(100)
    with pytest.raises(CollectionError) as error:
        scene.collect()
    assert [failure.key for failure in error.value.collection.failures] == ["00"]
    assert kept(error.value.collection) == {"01": "busy"}
    assert scene.gone == ["02"]


def test_nothing_is_looked_at_while_collection_is_paused() -> None:
    scene = Scene(settle_seconds=0.0)
    scene.disk.capacity = 100
    for _ in range(20):
        scene.add(50)
    scene.collect()
    scene.clock.advance(1)
    scene.gc.measure()
    assert scene.gc.paused
    looks = sum(thing.looks for thing in scene.things)
    assert scene.collect().paused
    assert sum(thing.looks for thing in scene.things) == looks


def test_a_cap_is_held_to_what_a_look_found(clock: FakeClock) -> None:
    gauge = FakeGauge(Resource.DISK, free=0, trigger=100)
    scene = Scene(trigger=0)
    collector = GarbageCollector(gauges=[gauge], clock=clock, settle_seconds=SETTLE)
    for _ in range(3):
        collector.register(scene.add(None, really=of_size(200)))
    collector.collect()
    assert scene.gone == ["00"]


def candidates(times: Sequence[float]) -> list[Candidate]:
    return [Candidate(f"{number}", at, {}) for number, at in enumerate(times)]


@given(planned=st.lists(st.floats(0, 100)), put_off=st.lists(st.floats(0, 100)))
def test_what_is_in_reserve_comes_in_order_with_what_was_put_off_among_it(
    planned: list[float], put_off: list[float]
) -> None:
    reserve = Reserve(candidates(sorted(planned)))
    for candidate in candidates(put_off):
        reserve.put_off(candidate)
    came = []
    while (peeked := reserve.peek()) is not None:
        assert reserve.pop() is peeked
        came.append(peeked.last_used)
    assert came == sorted([*planned, *put_off])
    assert reserve.pop() is None
