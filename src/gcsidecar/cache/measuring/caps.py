"""Gauges for what a root is capped by: its own size, and the number of its folders.

On a disk that isn't ours alone its free space says nothing about a budget; then the root is its own capacity.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from gcsidecar.cache.measuring.sizes import measure
from gcsidecar.gc.clock import SYSTEM_CLOCK, Clock
from gcsidecar.gc.pressure import Level, Measurement, Resource, Threshold

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsidecar.cache.folders.folder import Folder
    from gcsidecar.cache.root import Root

# A share of max_size where collection stops, unless the config says otherwise.
TARGET_SHARE = 0.9
# Growing folders are measured for a cap at most so often, and never for more than a tenth of the time.
SHORTEST_SECONDS = 1.0
COST_SHARE = 0.1


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
    """What a root may still take of its budget.

    A cap is held against an upper bound: what was measured, and what the filesystem has lost since the growing folders
    were. When that bound crosses the cap, they are measured anew, and then it is known.
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
        self._free_last: int | None = None
        self._lost_bytes = 0
        self._again_at = 0.0

    def measure(self) -> Measurement:
        """What is measured of the budget, after the growing folders were measured again if it may be overrun."""
        free_now = self._free()
        if self._free_last is not None:
            # What others delete meanwhile must not hide what the root has taken: a rise takes nothing off.
            self._lost_bytes += max(0, self._free_last - free_now)
        self._free_last = free_now
        overrun = self._used() + self._lost_bytes > self._most_bytes
        if self._lost_bytes and overrun and self._clock.monotonic() >= self._again_at:
            self._measure_growing()
            self._lost_bytes = 0
        free = self._most_bytes - self._used()
        return Measurement(Resource.SIZE, self._most_bytes, free, self._clock.time(), self._root.name)

    def threshold(self, measurement: Measurement) -> Threshold:
        """Collection starts above `max_size` and stops at `target_size`."""
        target = max(0, self._most_bytes - self._target.of(self._most_bytes))
        return Threshold(Resource.SIZE, 0, target, measurement.group)

    def _used(self) -> int:
        return self._root.used_bytes()

    def _free(self) -> int:
        # Without it the bound can't be told, and growing folders are measured in their own time.
        with contextlib.suppress(OSError):
            found = self._statvfs(self._root.fd)
            return found.f_bfree * found.f_frsize
        return 0

    def _measure_growing(self) -> None:
        began = self._clock.monotonic()
        root, atime = self._root, self._root.spec.last_used == "atime"
        for folder in root.census.folders():
            if _is_growing(folder):
                with contextlib.suppress(OSError):
                    root.census.measured(folder, measure(root.fd, folder.name, atime=atime))
        ended = self._clock.monotonic()
        self._again_at = ended + max(SHORTEST_SECONDS, (ended - began) / COST_SHARE)


def _is_growing(folder: Folder) -> bool:
    """In use, or never measured, or changed since."""
    return bool(folder.leases) or folder.disk_bytes is None or folder.mtime_ns / 1e9 > folder.measured_at
