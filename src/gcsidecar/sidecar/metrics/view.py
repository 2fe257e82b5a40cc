"""What a scrape is made from: the last status and the books, with each reading beside what it is held to.

Arithmetic over values; it measures nothing, and no metric's name stands in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsidecar.gc.pressure import Resource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsidecar.gc.pressure import Measurement, Threshold
    from gcsidecar.sidecar.metrics.ledger import Books
    from gcsidecar.sidecar.stalls import Stall
    from gcsidecar.sidecar.status import FilesystemStatus, Status


@dataclass(frozen=True, slots=True)
class Reading:
    """One resource of a filesystem, or one cap of a root.

    Attributes:
        filesystem: The name of its filesystem.
        measurement: What was measured last.
        threshold: What it is held to, or none.
        rate: How fast it fills, in units a second.
        on_its_way: What evictions are still expected to bring.
    """

    filesystem: str
    measurement: Measurement
    threshold: Threshold | None
    rate: float
    on_its_way: int

    @property
    def resource(self) -> Resource:
        """What was measured."""
        return self.measurement.resource

    @property
    def root(self) -> str:
        """Whose cap it is; empty for what all roots of the filesystem share."""
        return self.measurement.group or ""

    @property
    def used(self) -> int:
        """What is taken of the capacity."""
        return self.measurement.capacity - self.measurement.free

    def deficit(self) -> int | None:
        """What is missing to the target."""
        return self.threshold.deficit(self.measurement, self.on_its_way) if self.threshold else None

    def pressure(self) -> float | None:
        """How near the trigger is; 1.0 is exactly at it."""
        return self.threshold.pressure(self.measurement) if self.threshold else None

    def seconds_to_trigger(self) -> float | None:
        """When collection starts at the present rate: 0 where it has to now, infinite while nothing fills."""
        if self.threshold is None:
            return None
        if self.threshold.crossed(self.measurement):
            return 0.0
        return self.threshold.headroom(self.measurement) / self.rate if self.rate > 0 else math.inf


@dataclass(frozen=True, slots=True)
class Sizes:
    """What is known of the sizes of the folders on one filesystem.

    Attributes:
        filesystem: Its name.
        folders: How many there are.
        unmeasured: Of how many the size isn't known.
        oldest_at: When that was measured which was measured the longest ago, POSIX seconds; none where none was.
    """

    filesystem: str
    folders: int
    unmeasured: int
    oldest_at: float | None


@dataclass(frozen=True, slots=True)
class View:
    """All that a scrape shows.

    Attributes:
        version: Of this program.
        status: The last one published.
        books: What was counted.
        stalls: How long tasks had to wait, as the kernel counts it.
        readings: Of resources, by filesystem.
        caps: Of caps, by root, of roots that there are.
    """

    version: str
    status: Status
    books: Books
    stalls: tuple[Stall, ...]
    readings: tuple[Reading, ...]
    caps: tuple[Reading, ...]

    def foreign_bytes(self) -> Iterator[tuple[str, int]]:
        """What is used on each filesystem and not ours; 0 where ours seem to take more, measured at other moments."""
        ours: dict[str, int] = {}
        for root in self.status.roots:
            if root.filesystem is not None and root.tally is not None:
                taken = sum(amount.disk_bytes for amount in root.tally.by_state.values()) + root.tally.own_bytes
                ours[root.filesystem] = ours.get(root.filesystem, 0) + taken
        for reading in self.readings:
            if reading.resource is Resource.DISK:
                yield reading.filesystem, max(0, reading.used - ours.get(reading.filesystem, 0))

    def sizes(self) -> Iterator[Sizes]:
        """What is known of sizes on each filesystem."""
        for filesystem in self.status.filesystems:
            tallies = [root.tally for root in self.status.roots if root.filesystem == filesystem.name and root.tally]
            folders = sum(amount.folders for tally in tallies for amount in tally.by_state.values())
            oldest = min((at for tally in tallies if (at := tally.oldest_measured_at) is not None), default=None)
            yield Sizes(filesystem.name, folders, sum(tally.unmeasured for tally in tallies), oldest)


def view(version: str, status: Status, books: Books, stalls: tuple[Stall, ...] = ()) -> View:
    """Put together what belongs together."""
    roots = {root.name for root in status.roots}
    found = [reading for filesystem in status.filesystems for reading in _readings(filesystem)]
    shared = tuple(reading for reading in found if reading.measurement.group is None)
    return View(version, status, books, stalls, shared, tuple(reading for reading in found if reading.root in roots))


def _readings(filesystem: FilesystemStatus) -> Iterator[Reading]:
    held = {(threshold.resource, threshold.group): threshold for threshold in filesystem.thresholds}
    for measurement in filesystem.readings:
        key = (measurement.resource, measurement.group)
        coming = filesystem.on_its_way.get(measurement.resource, 0) if measurement.group is None else 0
        yield Reading(filesystem.name, measurement, held.get(key), filesystem.rates.get(key, 0.0), coming)
