"""How fast a resource fills, and so how soon it has to be looked at again.

The fastest rate ever shown decides when to look; the rate of the last minute only tells people what to expect.
"""

from __future__ import annotations

import math

from gcsidecar.gc.pressure import Measurement, Resource

SHORTEST_SECONDS = 0.020
LONGEST_SECONDS = 5.0
MINUTE_SECONDS = 60.0
# Below this two measurements are one: their difference over their distance would be noise.
RESOLUTION_SECONDS = 0.010

# A filesystem that has shown little so far may still meet a fast writer: an xfs was seen to lose 7.6 GB a second to one
# client, as pages are allocated before they are written, and a tmpfs 2.5. These are assumed at the least, in bytes or
# pieces a second. Where much is free it costs nothing, since 80 GB are looked at as seldom as any more.
ASSUMED_RATE = {
    Resource.DISK: 8e9,
    Resource.MEMORY: 8e9,
    Resource.SIZE: 8e9,
    Resource.INODES: 1e5,
    Resource.FOLDERS: 1e4,
}


class Pace:
    """Watches the measurements of one resource go by.

    Args:
        resource: Whose; decides which rate is assumed at the least.
    """

    __slots__ = ("_assumed", "_drop", "_elapsed", "_last", "fastest", "largest_drop")

    def __init__(self, resource: Resource) -> None:
        self._assumed = ASSUMED_RATE[resource]
        self._last: tuple[float, int] | None = None
        self._drop = 0.0
        self._elapsed = 0.0
        self.fastest = 0.0  # seen so far, in units a second
        self.largest_drop = 0  # between two measurements, in units: a burst is faster than what it comes to over time

    def saw(self, measurement: Measurement, monotonic: float) -> None:
        """Take in one measurement, made at `monotonic` seconds."""
        last, self._last = self._last, (monotonic, measurement.free)
        if last is None:
            return
        elapsed, drop = monotonic - last[0], last[1] - measurement.free
        if elapsed < RESOLUTION_SECONDS:
            self._last = last
            return
        weight = math.exp(-elapsed / MINUTE_SECONDS)
        self._drop = self._drop * weight + drop
        self._elapsed = self._elapsed * weight + elapsed
        self.fastest = max(self.fastest, drop / elapsed)
        self.largest_drop = max(self.largest_drop, drop)

    def could_take(self, seconds: float) -> float:
        """What writers may have taken in so long, unseen: as fast as ever, or in as large a burst as ever."""
        return max(self.fastest * seconds, self.largest_drop)

    def restart(self) -> None:
        """Take the next measurement as a new beginning: what came back by a disposal says nothing of the writers."""
        self._last = None

    @property
    def rate(self) -> float:
        """What the last minute or so took, in units a second; 0 while nothing fills."""
        return max(0.0, self._drop / self._elapsed) if self._elapsed else 0.0

    def seconds_left(self, headroom: int) -> float:
        """When `headroom` is used up at the present rate; `inf` while nothing fills."""
        rate = self.rate
        return headroom / rate if rate > 0 else math.inf

    def interval_seconds(self, headroom: int) -> float:
        """When to look again: half the time in which the fastest writer would use up `headroom`, within bounds."""
        fastest = max(self.fastest, self._assumed)
        return min(LONGEST_SECONDS, max(SHORTEST_SECONDS, headroom / fastest / 2))
