"""Who waits for whom, with real threads: nobody for a running disposal, but who asks about that very one."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from fakes import FakeClock, FakeDisk, Item
from gcsidecar import CollectionError, DisposableInUseError, GarbageCollector

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from gcsidecar import Collection

SECONDS = 10


class Slow(Item):
    """One whose disposal takes until it is told to end."""

    def __init__(self, disk: FakeDisk, clock: FakeClock) -> None:
        super().__init__("slow", disk, 100, clock)
        self.began, self.may_end = threading.Event(), threading.Event()
        self.meanwhile = self._wait

    def _wait(self) -> None:
        self.began.set()
        assert self.may_end.wait(SECONDS)


class Stage:
    """A collector that is in the midst of disposing of `slow`, on a thread of its own."""

    def __init__(self, clock: FakeClock) -> None:
        self.disk, self.clock = FakeDisk(free=0), clock
        self.gc = GarbageCollector("/cache", 100, clock=clock, statvfs=self.disk.statvfs)
        self.slow = Slow(self.disk, clock)
        clock.advance(1)
        self.other = Item("other", self.disk, 100, clock)
        self.gc.register(self.slow)
        self.gc.register(self.other)
        self.pool = ThreadPoolExecutor()
        self.collecting: Future[Collection] = self.pool.submit(self.gc.collect)
        assert self.slow.began.wait(SECONDS)

    @contextmanager
    def asking(self) -> Iterator[Future[bool]]:
        """Unregister the very one, on another thread; it is given a moment in which it must not return."""
        asked = self.pool.submit(self.gc.unregister, self.slow)
        with pytest.raises(TimeoutError):
            asked.result(0.05)
        yield asked


@pytest.fixture
def stage(clock: FakeClock) -> Iterator[Stage]:
    stage = Stage(clock)
    yield stage
    stage.slow.may_end.set()
    stage.pool.shutdown()


@pytest.mark.timeout(SECONDS)
def test_nobody_waits_for_a_running_disposal(stage: Stage) -> None:
    stage.gc.register(Item("new", stage.disk, 1, stage.clock))
    stage.gc.register(stage.slow)
    assert stage.gc.unregister(stage.other)
    assert stage.gc.plan().steps
    with stage.slow.acquired():
        stage.slow.last_used()
    assert not stage.collecting.done()


@pytest.mark.timeout(SECONDS)
def test_who_unregisters_the_very_one_waits_and_hears_that_it_is_gone(stage: Stage) -> None:
    with stage.asking() as asked:
        stage.slow.may_end.set()
        assert asked.result() is False
    assert stage.disk.gone == ["slow"]


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("error", [OSError("busy"), DisposableInUseError("taken meanwhile")])
def test_who_unregisters_the_very_one_waits_and_has_it_if_it_could_not_be_disposed_of(
    stage: Stage, error: Exception
) -> None:
    stage.slow.error = error
    with stage.asking() as asked:
        stage.slow.may_end.set()
        assert asked.result() is True
    if isinstance(error, OSError):
        with pytest.raises(CollectionError):
            stage.collecting.result()
    assert stage.gc.backed_off == 0
    assert not stage.gc.unregister(stage.slow)


@pytest.mark.timeout(SECONDS)
def test_a_second_collection_waits_for_the_first_and_then_finds_nothing_to_do(stage: Stage) -> None:
    second = stage.pool.submit(stage.gc.collect)
    with pytest.raises(TimeoutError):
        second.result(0.05)
    stage.slow.may_end.set()
    assert second.result().wants == ()
    assert stage.disk.gone == ["slow"]


@pytest.mark.timeout(SECONDS)
def test_one_may_unregister_itself_and_register_others_while_it_is_disposed_of(clock: FakeClock) -> None:
    disk = FakeDisk(free=0)
    gc = GarbageCollector("/cache", 100, clock=clock, statvfs=disk.statvfs)
    heard: list[bool] = []
    only, new = Item("only", disk, 100, clock), Item("new", disk, 100, clock)

    def meanwhile() -> None:
        heard.append(gc.unregister(only))
        gc.register(new)

    only.meanwhile = meanwhile
    gc.register(only)
    assert len(gc.collect().evictions) == 1
    assert heard == [True]
    assert not gc.unregister(only)
    assert gc.unregister(new)


@pytest.mark.timeout(60)
def test_of_many_threads_each_disposable_is_disposed_of_or_unregistered_never_both(clock: FakeClock) -> None:
    disk = FakeDisk(free=0, capacity=10**6)
    gc = GarbageCollector("/cache", 10**6, clock=clock, statvfs=disk.statvfs)
    made = [Item(str(i), disk, 1, clock) for i in range(300)]

    def come_and_go(some: list[Item]) -> list[str]:
        for one in some:
            gc.register(one)
        return [one.name for one in some if gc.unregister(one)]

    with ThreadPoolExecutor() as pool:
        collecting = [pool.submit(lambda: [gc.collect() for _ in range(20)]) for _ in range(2)]
        taken = [name for names in pool.map(come_and_go, [made[i::4] for i in range(4)]) for name in names]
        for future in collecting:
            future.result()
    gc.collect_all()
    assert sorted(taken + disk.gone) == sorted(one.name for one in made)
