"""Disposables of a source, by the real collector: as if each were registered, but none is described before its turn."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from fakes import FakeClock, FakeDisk, Item
from gcsidecar import Candidate, CollectionError, DisposableInUseError, GarbageCollector, Resource
from gcsidecar.gc.planning import RESERVE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gcsidecar import Disposable, Threshold


class Shelf:
    """A source of items, the one that was put there first before the others."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = list(items)
        self.described = 0
        self.overdue: set[str] = set()

    def candidates(self, _now: float, _thresholds: Sequence[Threshold]) -> Iterator[Candidate]:
        return (self._candidate(item) for item in list(self.items))

    def due(self, _now: float, _thresholds: Sequence[Threshold]) -> Iterator[Candidate]:
        return (self._candidate(item) for item in list(self.items) if item.name in self.overdue)

    def has(self, disposable: Disposable) -> bool:
        return any(item is disposable for item in self.items)

    def _candidate(self, item: Item) -> Candidate:
        self.described += 1
        due = "expired" if item.name in self.overdue else None
        return Candidate(item.name, float(item.name), {Resource.DISK: item.size}, due=due, subject=item)


class Scene:
    """A full disk, and so many items of one byte on a shelf."""

    def __init__(self, count: int, *, minimum: int = 1) -> None:
        self.clock, self.disk = FakeClock(), FakeDisk(free=0)
        self.gc = GarbageCollector("/cache", minimum, clock=self.clock, statvfs=self.disk.statvfs)
        self.shelf = Shelf([Item(f"{number:06}", self.disk, 1, self.clock) for number in range(count)])
        self.gc.add_source(self.shelf)
        self.gc.add_source(self.shelf)

    def take_away_what_went(self) -> None:
        """As a source does when one of its own is gone."""
        for item in self.shelf.items[:]:
            if item.name in self.disk.gone:
                self.shelf.items.remove(item)
                self.gc.unregister(item)


def test_the_least_recently_used_of_sources_and_registered_ones_go_together() -> None:
    scene = Scene(4, minimum=3)
    beside = Item("beside", scene.disk, 1, scene.clock)
    beside.candidate = lambda _now: Candidate("beside", 1.5, {Resource.DISK: 1})  # type: ignore[attr-defined]
    scene.gc.register(beside)
    scene.gc.collect()
    assert scene.disk.gone == ["000000", "000001", "beside"]


def test_what_is_not_come_by_is_never_described() -> None:
    scene = Scene(10 * RESERVE)
    scene.gc.collect()
    assert scene.disk.gone == ["000000"]
    assert scene.shelf.described <= RESERVE + 2


def test_a_source_that_was_removed_is_asked_no_longer() -> None:
    scene = Scene(2)
    scene.gc.remove_source(scene.shelf)
    assert scene.gc.collect().evictions == ()
    assert scene.shelf.described == 0


def test_what_is_due_goes_without_any_pressure_and_nothing_else_is_described() -> None:
    scene = Scene(3)
    scene.disk.free = 500
    scene.shelf.overdue = {"000001"}
    assert [eviction.reasons for eviction in scene.gc.collect().evictions] == [("expired",)]
    assert (scene.disk.gone, scene.shelf.described) == (["000001"], 1)


def test_all_of_a_source_goes_where_all_is_to_go() -> None:
    scene = Scene(3)
    scene.disk.free = 500
    scene.gc.collect_all()
    assert scene.disk.gone == ["000000", "000001", "000002"]


def test_one_that_only_its_holder_knows_to_be_in_use_never_holds_up_the_others_however_many_there_are() -> None:
    scene = Scene(2 * RESERVE + 10)
    for item in scene.shelf.items[:-1]:
        item.error = DisposableInUseError("somebody reads it", reason="leased")
    collection = scene.gc.collect()
    assert scene.disk.gone == [scene.shelf.items[-1].name]
    assert len(collection.kept) == len(scene.shelf.items) - 1, "none of them is tried twice"


def test_what_failed_is_left_alone_for_a_while_and_forgotten_when_its_source_has_it_no_longer() -> None:
    scene = Scene(2)
    first = scene.shelf.items[0]
    first.error = PermissionError(13, "Permission denied")
    with pytest.raises(CollectionError):
        scene.gc.collect()
    assert (scene.disk.gone, scene.gc.backed_off) == (["000001"], 1)
    scene.take_away_what_went()
    scene.disk.free = 0
    kept = scene.gc.collect().kept
    assert [(one.key, one.reason) for one in kept] == [("000000", "backed-off")]
    scene.shelf.items.clear()
    assert not scene.gc.unregister(first)
    assert scene.gc.backed_off == 0


def test_one_that_its_source_has_no_longer_when_its_turn_comes_is_not_disposed_of() -> None:
    scene = Scene(3, minimum=2)
    first, second, _ = scene.shelf.items
    first.meanwhile = lambda: scene.shelf.items.remove(second)
    scene.gc.collect()
    assert scene.disk.gone == ["000000", "000002"]


def test_unregister_waits_while_another_thread_disposes_of_it() -> None:
    scene = Scene(1)
    item = scene.shelf.items[0]
    begun, go_on, told = threading.Event(), threading.Event(), threading.Event()

    def linger() -> None:
        begun.set()
        go_on.wait(10)

    item.meanwhile = linger
    collecting = threading.Thread(target=scene.gc.collect)
    collecting.start()
    assert begun.wait(10)

    def take_off() -> None:
        scene.gc.unregister(item)
        told.set()

    waiting = threading.Thread(target=take_off)
    waiting.start()
    assert not told.wait(0.1)
    go_on.set()
    assert told.wait(10)
    for thread in (collecting, waiting):
        thread.join()
