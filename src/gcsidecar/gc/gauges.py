"""Gauges for disk space and inodes of a mounted filesystem, by `statvfs`.

What an ordinary user may take counts, as `df` shows it: what is reserved for root is neither capacity nor free.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gcsidecar.gc.clock import SYSTEM_CLOCK, Clock
from gcsidecar.gc.errors import MeasurementError
from gcsidecar.gc.pressure import Level, Measurement, Resource, Threshold

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def strictest(levels: Sequence[tuple[Level, Level]], measurement: Measurement) -> Threshold | None:
    """One threshold out of several pairs of trigger and target: of each field the largest, in the resource's unit."""
    if not levels or measurement.capacity <= 0:
        return None
    trigger = max(minimum.of(measurement.capacity) for minimum, _ in levels)
    target = max(target.of(measurement.capacity) for _, target in levels)
    return Threshold(measurement.resource, trigger, max(trigger, target), measurement.group)


class SpaceGauge:
    """Measures disk space or inodes of the filesystem that holds `where`.

    Args:
        resource: `Resource.DISK` or `Resource.INODES`.
        where: A path or an open descriptor.
        levels: Pairs of trigger and target; of each the strictest holds. None: it is only measured.
        clock: For the measurement's time.
        statvfs: The call itself.
    """

    def __init__(
        self,
        resource: Resource,
        where: str | int,
        levels: Sequence[tuple[Level, Level]] = (),
        *,
        clock: Clock = SYSTEM_CLOCK,
        statvfs: Callable[[str | int], os.statvfs_result] = os.statvfs,
    ) -> None:
        self._resource = resource
        self._where = where
        self._levels = tuple(levels)
        self._clock = clock
        self._statvfs = statvfs

    def measure(self) -> Measurement:
        """Capacity and free, as an ordinary user has them. A filesystem without inode counts has a capacity of 0.

        Raises:
            MeasurementError: `statvfs` failed.
        """
        try:
            found = self._statvfs(self._where)
        except OSError as error:
            raise MeasurementError(
                f"can't measure {self._resource} of {self._where}: {error.strerror}; is it still mounted?"
            ) from error
        if self._resource is Resource.DISK:
            free = found.f_bavail * found.f_frsize
            capacity = (found.f_blocks - found.f_bfree) * found.f_frsize + free
        else:
            free = found.f_favail
            capacity = found.f_files - found.f_ffree + free
        return Measurement(self._resource, capacity, free, self._clock.time())

    def threshold(self, measurement: Measurement) -> Threshold | None:
        """The strictest of all levels; none where there are none, or no capacity (btrfs shows no inodes)."""
        return strictest(self._levels, measurement)
