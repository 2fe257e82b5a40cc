"""A clock, a disk and disposables that are moved by hand, for tests of the real collector.

It lies here and not in `tests/gc`, since no package of tests can be called `gc`: Python's own module is.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gcsidecar import DisposableResource, DisposableSizeNotSupportedError, Measurement, MeasurementError, Threshold

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsidecar import Resource

NOW = 1_700_000_000.0


class FakeClock:
    """Both clocks, moved by hand."""

    def __init__(self, now: float = NOW) -> None:
        self.now, self.mono = now, 1000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.mono

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.mono += seconds


class FakeDisk:
    """A disk of one-byte blocks; `statvfs` stands in for the call of that name."""

    def __init__(self, free: int, capacity: int = 1000, *, free_inodes: int = 1000) -> None:
        self.capacity, self.free, self.free_inodes = capacity, free, free_inodes
        self.gone: list[str] = []
        self.measured = 0
        self.fails_after: int | None = None

    def statvfs(self, _where: str | int) -> os.statvfs_result:
        if self.fails_after is not None and self.measured >= self.fails_after:
            raise OSError(5, "Input/output error")
        self.measured += 1
        inodes = (1000, self.free_inodes, self.free_inodes)
        return os.statvfs_result((1, 1, self.capacity, self.free, self.free, *inodes, 0, 255))


class FakeGauge:
    """Any resource, with free set by hand."""

    def __init__(
        self, resource: Resource, free: int, trigger: int = 0, target: int | None = None, *, group: str | None = None
    ) -> None:
        self.resource, self.free, self.group = resource, free, group
        self.trigger, self.target = trigger, trigger if target is None else target
        self.broken = False

    def measure(self) -> Measurement:
        if self.broken:
            raise MeasurementError(f"can't measure {self.resource}: it is broken; mend it")
        return Measurement(self.resource, 1000, self.free, NOW, self.group)

    def threshold(self, _measurement: Measurement) -> Threshold | None:
        return Threshold(self.resource, self.trigger, self.target, self.group)


class Item(DisposableResource):
    """Something on a fake disk.

    Args:
        name: What `disk.gone` will say.
        disk: Where it lies.
        size: What it says it takes there; none: it can't tell.
        clock: Its last use is the time it is made.
        brings: What the disk really gets back by it; `size` unless given.
        memory: What it says it takes of memory; none: it can't tell.
    """

    def __init__(
        self,
        name: str,
        disk: FakeDisk,
        size: int | None,
        clock: FakeClock,
        *,
        brings: int | None = None,
        memory: int | None = 0,
    ) -> None:
        super().__init__(clock=clock)
        self.name, self.disk, self.size, self.memory = name, disk, size, memory
        self.brings = brings if brings is not None else (size or 0)
        self.error: Exception | None = None
        self.meanwhile: Callable[[], object] = lambda: None
        self.asked = 0

    def disk_size(self) -> int:
        self.asked += 1
        return _known(self.size)

    def memory_size(self) -> int:
        return _known(self.memory)

    def dispose(self) -> None:
        self.can_dispose()
        self.meanwhile()
        if self.error is not None:
            raise self.error
        self.disk.free += self.brings
        self.disk.gone.append(self.name)


def _known(size: int | None) -> int:
    if size is None:
        raise DisposableSizeNotSupportedError("nobody knows")
    return size
