"""The measuring of the folders of one filesystem: what is small in this process, in steps, what is much in others.

What comes when stands in the schedule; here it is seen to, and sizes are handed to the census.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from gcsidecar.cache.measuring.schedule import Schedule, Target
from gcsidecar.cache.measuring.sweep import Sweep
from gcsidecar.cache.surveying.surveyors import LARGE_ENTRIES, Surveyors
from gcsidecar.cache.walking.sizes import walk

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from gcsidecar.cache.root import Root
    from gcsidecar.cache.spec import MeasureSpec
    from gcsidecar.cache.walking.sizes import TreeSize
    from gcsidecar.cache.watching.hints import Noted
    from gcsidecar.gc.clock import Clock

CHUNK = 256
# So much is measured in this process at a stretch, and so fast in the long run; what is more goes to another one.
STRETCH_ENTRIES = 20_000
ENTRIES_PER_SECOND = 10_000
# So many others have before them while this thread has no time; what is handed over later goes in a better order.
AHEAD = 512


class Progress(NamedTuple):
    """What measuring has come to.

    Attributes:
        entries: How many files and directories were looked at so far, in whatever process.
        waiting: How many folders another process is to measure as soon as it can, and hasn't yet.
    """

    entries: int = 0
    waiting: int = 0


class Measuring:
    """Not thread-safe: the survey's thread has it.

    Args:
        roots: Whose folders.
        spec: What it may cost.
        wake: Called from other threads when there is something to be taken in; must return at once.
        clock: Both clocks.
    """

    def __init__(self, roots: Sequence[Root], spec: MeasureSpec, wake: Callable[[], None], clock: Clock) -> None:
        self._clock = clock
        self._schedule = Schedule(spec, clock)
        self._surveyors = Surveyors(spec, wake)
        self._sweep = Sweep(roots, spec, self._surveyors, clock)
        self._stretch, self._stretch_at = float(STRETCH_ENTRIES), clock.monotonic()
        self._entries = 0

    @property
    def progress(self) -> Progress:
        """What it has come to; may be asked by any thread."""
        return Progress(self._entries, self._surveyors.waiting)

    def close(self) -> None:
        """Let go of the processes."""
        self._surveyors.close()

    def heard(self, root: Root, noted: Noted) -> None:
        """Take in what has changed, and what somebody waits for."""
        for name in noted.wanted:
            self._schedule.want(Target(root, name))
        for name, arrived in noted.changed.items():
            (self._schedule.is_new if arrived else self._schedule.changes)(Target(root, name))

    def take_in(self) -> None:
        """Take in what others have measured."""
        for target, measured in self._surveyors.take():
            self._take(target, measured.size, measured.at)

    def next_job(self) -> Generator[None, None, None] | None:
        """What is to be measured here now, in steps, or none; what is for others is handed over."""
        while True:
            is_waited_for, target = self._schedule.is_waited_for, self._schedule.next()
            if target is None:
                return None
            if not self._is_for_others(target):
                return self._measure(target)
            # Where this process has too much to do, all else that is due now goes with it, in one piece.
            rest = [] if is_waited_for or self._stretch > 0 else self._schedule.take_all()
            self._surveyors.hand_over([target, *rest], before_others=is_waited_for)

    def hand_some_over(self) -> None:
        """There is something else to do here: of what is much in any case others do some meanwhile."""
        if self._surveyors.waiting < AHEAD and (some := self._schedule.take_some(AHEAD)):
            self._surveyors.hand_over(some)

    def rest(self) -> None:
        """There is nothing else to do, here or elsewhere: see to what is stale."""
        if not self._surveyors.waiting:
            self._sweep.look()

    def next_at(self) -> float:
        """When there is something to do (monotonic) if nobody wakes; infinity where there won't be."""
        busy = self._surveyors.waiting or self._surveyors.is_sweeping
        return min(self._schedule.next_at(), math.inf if busy else self._sweep.next_at)

    def _is_for_others(self, target: Target) -> bool:
        """Whether another process is to measure it: it is large, or too much was measured here a moment ago."""
        monotonic = self._clock.monotonic()
        gained = (monotonic - self._stretch_at) * ENTRIES_PER_SECOND
        self._stretch, self._stretch_at = min(STRETCH_ENTRIES, self._stretch + gained), monotonic
        folder = target.folder
        return self._stretch <= 0 or (folder is not None and folder.inodes >= LARGE_ENTRIES)

    def _measure(self, target: Target) -> Generator[None, None, None]:
        """Measure one; where it turns out to be large, others do."""
        root, at, seen = target.root, self._clock.time(), 0
        size: TreeSize | None = None
        try:
            steps = walk(root.fd, target.name, atime=root.spec.last_used == "atime", chunk=CHUNK)
            while size is None:
                try:
                    entries = next(steps)
                except StopIteration as end:
                    size = end.value
                    entries = size.entries
                self._stretch -= entries - seen
                seen = entries
                if size is None:
                    if entries >= LARGE_ENTRIES:
                        self._surveyors.hand_over([target])
                        return
                    yield
        except OSError:
            size = None
        self._take(target, size, at)

    def _take(self, target: Target, size: TreeSize | None, at: float) -> None:
        """Take in a size that was measured from `at` on (POSIX seconds), or that it can't be."""
        if size is None:
            self._schedule.could_not_be_measured(target)
            self._sweep.failed(target)
            return
        self._entries += size.entries
        folder = target.folder
        if target.is_apart:
            target.root.custody.measured_apart(target.name, size)
        elif folder is not None:
            target.root.census.measured(folder, size, at)
        self._schedule.was_measured(target, size.entries)
