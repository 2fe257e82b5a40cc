"""The look at a folder before it goes: how large it is now, and whether somebody is at work in it without a lease.

All that is scarce waits for it, so it is bounded. Whether a folder goes is decided elsewhere.
"""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsidecar.cache.walking.sizes import TreeSize, bulk_here
from gcsidecar.cache.walking.walk import Walk, Window

if TYPE_CHECKING:
    from gcsidecar.cache.folders.folder import Folder
    from gcsidecar.cache.spec import RootSpec
    from gcsidecar.cache.use.lease import LeasePatterns
    from gcsidecar.gc.clock import Clock

AT_WORK = "at-work"
# What a look may take: 5,000 files are counted in some 15 ms; on a cold disk the time is up after far fewer.
MOST_ENTRIES = 5_000
MOST_SECONDS = 0.025
CHUNK = 256
# With min_age: 0 nobody can be at work, and a size is trusted for so long.
TRUSTED_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Look:
    """What a look has found.

    Attributes:
        size: What was counted.
        at: When it began, POSIX seconds.
        is_whole: Whether that is all there is; else it is a lower bound.
        is_at_work: Whether something in it was changed less than `min_age` ago, and since its last lease has ended. It
            ends with the first such thing.
    """

    size: TreeSize
    at: float
    is_whole: bool
    is_at_work: bool


class Looks:
    """The looks at folders of one root, and where somebody was at work. Thread-safe.

    Args:
        spec: The root.
        root_fd: It, open.
        patterns: Its leases; one that comes or goes is no work.
        clock: Both clocks.
    """

    def __init__(self, spec: RootSpec, root_fd: int, patterns: LeasePatterns, clock: Clock) -> None:
        self._root_fd, self._clock, self._is_lease = root_fd, clock, patterns.is_inside
        self._atime, self._min_age_seconds = spec.last_used == "atime", float(spec.min_age)
        self._lock = threading.Lock()
        # By name, the oldest entry first; both are of use for `min_age` only.
        self._until: dict[str, float] = {}
        self._released_at: dict[str, float] = {}

    def is_due(self, folder: Folder) -> bool:
        """Whether what is known of a folder is too old to act on, or nothing is."""
        age_seconds = self._clock.time() - folder.measured_at
        # One of the future was measured before the clock was set back.
        return folder.disk_bytes is None or not 0 <= age_seconds < (self._min_age_seconds or TRUSTED_SECONDS)

    def look(self, folder: Folder) -> Look:
        """Look at a folder now, and remember it if somebody is at work in it.

        Raises:
            OSError: It can't be looked at.
        """
        now, until = self._clock.time(), self._clock.monotonic() + MOST_SECONDS
        # A file from far in the future says nothing; clocks of other hosts may be ahead a little.
        after = max(now - self._min_age_seconds, self._released_at.get(folder.name, 0.0))
        window = Window(after, now + self._min_age_seconds, self._is_lease)
        walk = Walk(atime=self._atime, window=window, bulk=bulk_here())
        with closing(walk.begin(self._root_fd, folder.name)) as descent:
            while descent.levels and not walk.is_changing:
                walk.step(descent, CHUNK)
                if walk.entries >= MOST_ENTRIES or self._clock.monotonic() >= until:
                    break
            is_whole = not descent.levels
        if walk.is_changing:
            self._note(self._until, folder.name, now + self._min_age_seconds)
        return Look(TreeSize.of(walk.figures), now, is_whole, walk.is_changing)

    def at_work_until(self, name: str) -> float:
        """Until when a folder stays since somebody was at work in it, POSIX seconds; then it is looked at again."""
        return self._until.get(name, 0.0)

    def released(self, name: str) -> None:
        """A folder's last lease has ended: what was changed in it until now was its holder's work."""
        if self._min_age_seconds:
            self._note(self._released_at, name, self._clock.time())

    def _note(self, times: dict[str, float], name: str, at: float) -> None:
        """Remember a time, and forget those that are of no use any more; there may be very many."""
        with self._lock:
            times.pop(name, None)
            times[name] = at
            while (oldest := next(iter(times))) != name and times[oldest] < at - self._min_age_seconds:
                del times[oldest]
