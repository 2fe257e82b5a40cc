"""What a collector remembers between collections: how fast things fill, and what disposals have brought.

It takes in measurements and disposals, and answers what is on its way, how soon to look again, and whether to pause.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from gcsidecar.gc.pace import LONGEST_SECONDS, Pace
from gcsidecar.gc.pressure import Measurement, Resource, Threshold
from gcsidecar.gc.reclaim import LateReclaim, Shortfall

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gcsidecar.gc.clock import Clock
    from gcsidecar.gc.planning import Measurements


class Account:
    """The account of one collector. Thread-safe."""

    def __init__(self, clock: Clock, settle_seconds: float) -> None:
        self._clock = clock
        self._settle_seconds = settle_seconds
        self._lock = threading.Lock()
        self._paces: dict[tuple[Resource, str | None], Pace] = {}
        self._late: dict[Resource, LateReclaim] = {}
        self._shortfall = Shortfall()

    @property
    def comes_late(self) -> bool:
        """Whether what is deleted may come back late; else it is there at once."""
        return self._settle_seconds > 0

    def saw(self, readings: Sequence[Measurement]) -> Mapping[Resource, int]:
        """Take in measurements; returns what is still on its way back, by resource."""
        monotonic = self._clock.monotonic()
        with self._lock:
            for reading in readings:
                pace = self._pace(reading.resource, reading.group)
                pace.saw(reading, monotonic)
                if reading.group is None:
                    self._expected(reading.resource).saw(reading.free, monotonic, pace.fastest)
                if reading.resource is Resource.DISK and reading.group is None:
                    self._shortfall.judge(reading, pace.could_take, monotonic)
            return {resource: late.on_its_way for resource, late in self._late.items()}

    def attempted(self) -> None:
        """A disposal is over, however it ended; what is free next says nothing of how fast writers are."""
        with self._lock:
            for pace in self._paces.values():
                pace.restart()

    def disposed(self, expected: Mapping[Resource, int | None], before: Sequence[Measurement], began: float) -> None:
        """A disposal that began at `began` (monotonic) is over, `before` was measured before it, and nothing since."""
        monotonic = self._clock.monotonic()
        with self._lock:
            for reading in before:
                if reading.group is not None:
                    continue
                amount = expected.get(reading.resource) or 0
                self._expected(reading.resource).expect(amount, monotonic)
                if reading.resource is Resource.DISK:
                    self._shortfall.expect(amount, reading, began)

    def concluded(self) -> None:
        """A collection is over: once what it freed had time to come, it is judged as a whole."""
        with self._lock:
            self._shortfall.concluded(self._clock.monotonic() + self._settle_seconds)
            for late in self._late.values():
                late.concluded()

    def interval_seconds(self, measurements: Measurements, thresholds: Sequence[Threshold]) -> float:
        """How soon to measure again: before the fastest writer could use up half of any headroom."""
        with self._lock:
            intervals = [self._interval_seconds(held, measurements.of(held)) for held in thresholds]
        return min(intervals, default=LONGEST_SECONDS)

    def rate(self, resource: Resource, group: str | None = None) -> float:
        """How fast it fills at present, in units a second; 0 while it doesn't."""
        with self._lock:
            return self._pace(resource, group).rate

    def reclaimed_late(self, resource: Resource) -> int:
        """What disposals have brought later than right after each, in bytes or pieces; never more than was expected."""
        with self._lock:
            return self._expected(resource).arrived_late

    @property
    def paused(self) -> bool:
        """Whether disposals have brought clearly less than they should."""
        return self._shortfall.paused

    def steps_allowed(self) -> int | None:
        """How many disposals may be made now; none is no limit."""
        with self._lock:
            return self._shortfall.steps_allowed(self._clock.monotonic())

    def _interval_seconds(self, held: Threshold, reading: Measurement) -> float:
        free = reading.free if reading.least_free is None else reading.least_free
        pace = self._pace(held.resource, held.group)
        if held.resource is Resource.SIZE:
            # A budget fills no faster than the disk it lies on. By its own measurements it would: what one finds at
            # once may have been written in an hour.
            pace = self._paces.get((Resource.DISK, None), pace)
        return pace.interval_seconds(max(0, free - held.trigger))

    def _pace(self, resource: Resource, group: str | None) -> Pace:
        return self._paces.setdefault((resource, group), Pace(resource))

    def _expected(self, resource: Resource) -> LateReclaim:
        return self._late.setdefault(resource, LateReclaim(self._settle_seconds))
