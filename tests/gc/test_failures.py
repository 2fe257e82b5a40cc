"""Disposals that raise: the others go on, nobody misses it, and each is tried again later."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import pytest

from fakes import FakeClock, FakeDisk, FakeGauge, Item
from gcsidecar import Collection, CollectionError, GarbageCollector, GcsidecarError, MeasurementError, Resource

if TYPE_CHECKING:
    from collections.abc import Callable

MINUTE, HOUR = 60.0, 3600.0


class Broken(Item):
    """One whose disposal raises, and counts how often it was tried."""

    tried = 0

    def dispose(self) -> None:
        self.tried += 1
        if self.error is None:
            return super().dispose()
        raise self.error


@pytest.fixture
def disk() -> FakeDisk:
    return FakeDisk(free=0)


@pytest.fixture
def gc(disk: FakeDisk, clock: FakeClock) -> GarbageCollector:
    return GarbageCollector("/cache", 100, clock=clock, statvfs=disk.statvfs)


def broken(gc: GarbageCollector, disk: FakeDisk, clock: FakeClock, *errors: Exception | None) -> list[Broken]:
    made = []
    for i, error in enumerate(errors):
        clock.advance(1)
        made.append(Broken(str(i), disk, 50, clock))
        made[-1].error = error
        gc.register(made[-1])
    return made


def failing(attempt: Callable[[], Collection]) -> CollectionError:
    with pytest.raises(CollectionError) as caught:
        attempt()
    return caught.value


def test_the_others_go_on_and_the_error_holds_every_one_and_what_was_done(
    gc: GarbageCollector, disk: FakeDisk, clock: FakeClock
) -> None:
    one, two = OSError(13, "Permission denied"), ValueError("it is cursed")
    first, _, second, *_ = broken(gc, disk, clock, one, None, two, None, None)
    error = failing(gc.collect)
    assert error.exceptions == (one, two)
    assert disk.gone == ["1", "3"]
    assert [(f.subject, f.error) for f in error.collection.failures] == [(first, one), (second, two)]
    assert error.collection.reclaimed == {Resource.DISK: 100}
    assert "tried again later" in str(error)


def test_what_failed_stays_registered_and_the_next_collection_takes_others(
    gc: GarbageCollector, disk: FakeDisk, clock: FakeClock
) -> None:
    first, *_ = broken(gc, disk, clock, OSError(), None, None, None)
    failing(gc.collect)
    assert disk.gone == ["1", "2"]
    disk.free = 50
    collection = gc.collect()
    assert disk.gone == ["1", "2", "3"]
    assert [(k.subject, k.reason) for k in collection.kept] == [(first, "backed-off")]
    assert gc.backed_off == 1
    assert gc.unregister(first)
    assert gc.backed_off == 0


def test_it_is_left_alone_for_a_minute_and_then_for_twice_as_long_up_to_an_hour(
    gc: GarbageCollector, disk: FakeDisk, clock: FakeClock
) -> None:
    (only,) = broken(gc, disk, clock, OSError())
    for tried, wait in enumerate([MINUTE * 2**i for i in range(6)] + [HOUR, HOUR], start=1):
        failing(gc.collect)
        clock.advance(wait - 1)
        assert gc.collect().retry_at == pytest.approx(clock.time() + 1)
        assert only.tried == tried
        clock.advance(1)
    only.error = None
    gc.collect()
    assert disk.gone == ["0"]
    assert gc.backed_off == 0


def test_collect_all_tries_what_is_backed_off_all_the_same(
    gc: GarbageCollector, disk: FakeDisk, clock: FakeClock
) -> None:
    (only,) = broken(gc, disk, clock, OSError())
    failing(gc.collect)
    failing(gc.collect_all)
    only.error = None
    gc.collect_all()
    assert (only.tried, disk.gone) == (3, ["0"])


def test_another_reason_to_be_kept_is_named_before_the_back_off(disk: FakeDisk, clock: FakeClock) -> None:
    class Sometimes(Broken):
        def disk_size(self) -> int:
            if self.tried:
                raise OSError(5, "Input/output error")
            return super().disk_size()

    gc = GarbageCollector("/cache", 100, clock=clock, statvfs=disk.statvfs)
    one = Sometimes("one", disk, 50, clock)
    one.error = OSError()
    gc.register(one)
    failing(gc.collect)
    assert [kept.reason for kept in gc.collect().kept] == ["unmeasured"]


def test_one_that_unregisters_itself_and_then_fails_leaves_nothing_behind(
    gc: GarbageCollector, disk: FakeDisk, clock: FakeClock
) -> None:
    only = Item("only", disk, 50, clock)
    only.error, only.meanwhile = OSError(), lambda: gc.unregister(only)
    gc.register(only)
    failing(gc.collect)
    assert gc.backed_off == 0
    assert not gc.unregister(only)


def test_a_measurement_that_fails_later_still_tells_what_failed_before(disk: FakeDisk, clock: FakeClock) -> None:
    memory = FakeGauge(Resource.MEMORY, 500)
    gc = GarbageCollector("/cache", 100, gauges=[memory], clock=clock, statvfs=disk.statvfs)
    error = OSError()
    _, second = broken(gc, disk, clock, error, None)
    second.meanwhile = lambda: setattr(memory, "broken", True)
    with pytest.raises(MeasurementError) as caught:
        gc.collect()
    assert caught.value.collection is not None
    assert [failure.error for failure in caught.value.collection.failures] == [error]


def test_the_error_is_a_group_that_can_be_split_and_each_part_keeps_the_collection(
    gc: GarbageCollector, disk: FakeDisk, clock: FakeClock
) -> None:
    broken(gc, disk, clock, OSError("disk"), ValueError("size"))
    error = failing(gc.collect)
    ours, rest = error.split(OSError)
    assert isinstance(ours, CollectionError)
    assert isinstance(rest, CollectionError)
    assert [str(e) for e in ours.exceptions] == ["disk"]
    assert [str(e) for e in rest.exceptions] == ["size"]
    assert ours.collection is rest.collection is error.collection
    assert copy.copy(error).collection is error.collection


def test_it_can_be_caught_by_except_star_and_as_one_of_ours(
    gc: GarbageCollector, disk: FakeDisk, clock: FakeClock
) -> None:
    broken(gc, disk, clock, OSError("disk"), ValueError("size"))
    caught: list[BaseException] = []
    try:
        gc.collect()
    except* OSError as group:
        caught += group.exceptions
    except* ValueError as group:
        caught += group.exceptions
    assert [str(error) for error in caught] == ["disk", "size"]
    with pytest.raises(GcsidecarError):
        gc.collect_all()


def test_what_ends_the_program_is_not_held_back(gc: GarbageCollector, disk: FakeDisk, clock: FakeClock) -> None:
    only, _ = broken(gc, disk, clock, None, None)
    only.meanwhile = _interrupt
    with pytest.raises(KeyboardInterrupt):
        gc.collect()
    assert disk.gone == []
    assert gc.unregister(only)


def _interrupt() -> None:
    raise KeyboardInterrupt
