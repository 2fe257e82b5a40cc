"""Gauges for what a root is capped by: its own size, and the number of its folders.

On a disk that isn't ours alone its free space says nothing about a budget; then the root is its own capacity.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from gcsidecar.cache.measuring.growth import Growth
from gcsidecar.gc.clock import SYSTEM_CLOCK, Clock
from gcsidecar.gc.pressure import Level, Measurement, Resource, Threshold

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsidecar.cache.root import Root

# A share of max_size where collection stops, unless the config says otherwise.
TARGET_SHARE = 0.9


class FoldersGauge:
    """How many folders a root may still have."""

    def __init__(self, root: Root, most: int, clock: Clock = SYSTEM_CLOCK) -> None:
        self._root, self._most, self._clock = root, most, clock

    def measure(self) -> Measurement:
        """The folders that there are, out of those there may be."""
        free = self._most - self._root.census.count
        return Measurement(Resource.FOLDERS, self._most, free, self._clock.time(), self._root.name)

    def threshold(self, measurement: Measurement) -> Threshold:
        """Collection starts with one folder too many, and stops when it is gone."""
        return Threshold(Resource.FOLDERS, 0, 0, measurement.group)


class SizeGauge:
    """What a root may still take of its budget, as far as that is measured.

    A cap is held against an upper bound: what was measured, and what the root may have grown by since. Where that bound
    crosses the cap, growing folders are measured anew, by others; until they were, the gauge says what it knows.
    """

    def __init__(
        self,
        root: Root,
        most_bytes: int,
        target: Level | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
        statvfs: Callable[[int], os.statvfs_result] = os.statvfs,
    ) -> None:
        self._root, self._most_bytes, self._clock, self._statvfs = root, most_bytes, clock, statvfs
        self._target = Level(share=TARGET_SHARE) if target is None else target
        self._growth = Growth(root, clock)

    def measure(self) -> Measurement:
        """What is known to be left of the budget, and what is at the least; it waits for nobody who measures."""
        growth = self._growth
        growth.saw(self._free())
        free = self._most_bytes - self._root.used_bytes()
        # What is known to be over it needs no measuring to be acted on, and none helps where nothing can go.
        if free >= 0 and free < growth.most_bytes:
            growth.ask()
        least = free - growth.most_bytes
        return Measurement(Resource.SIZE, self._most_bytes, free, self._clock.time(), self._root.name, least)

    def threshold(self, measurement: Measurement) -> Threshold:
        """Collection starts above `max_size` and stops at `target_size`."""
        target = max(0, self._most_bytes - self._target.of(self._most_bytes))
        return Threshold(Resource.SIZE, 0, target, measurement.group)

    def _free(self) -> int | None:
        # Without it the bound can't be told, and growing folders are measured in their own time.
        with contextlib.suppress(OSError):
            found = self._statvfs(self._root.fd)
            return found.f_bfree * found.f_frsize
        return None
