"""The sweep: sizes that nobody has renewed for long are measured again, slowly, while nothing else is to do.

It finds them, and gives them to the crew in batches that are worth a process.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gcsidecar.cache.measuring.schedule import Target

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gcsidecar.cache.measuring.crew import Crew
    from gcsidecar.cache.root import Root
    from gcsidecar.cache.spec import MeasureSpec
    from gcsidecar.gc.clock import Clock

# A batch takes at least so long, unless the oldest has waited for so large a share of `stale_after` longer; and at most
# so long, so that what is new comes in between.
LEAST_SECONDS = 10.0
PATIENCE_SHARE = 0.1
MOST_SECONDS = 120.0
# All sizes are looked through so often at most, and at least.
LOOK_SECONDS = 60.0
LOOK_ANYWAY_SECONDS = 600.0
# What could not be measured is not tried again before.
AGAIN_SECONDS = 3600.0


class Sweep:
    """Of the roots of one filesystem. Not thread-safe: the survey's thread has it.

    Args:
        roots: Which.
        spec: What is stale, and how fast it goes.
        crew: Who measures.
        clock: Both clocks.
    """

    def __init__(self, roots: Sequence[Root], spec: MeasureSpec, crew: Crew, clock: Clock) -> None:
        self._roots, self._crew, self._clock = tuple(roots), crew, clock
        self._stale_seconds = math.inf if spec.stale_after is None else float(spec.stale_after)
        self._rate = spec.sweep_entries_per_second
        self._failed: dict[Target, float] = {}
        self.next_at = -math.inf if math.isfinite(self._stale_seconds) else math.inf

    def failed(self, target: Target) -> None:
        """It can't be measured now: it must not hold up the others."""
        monotonic = self._clock.monotonic()
        self._failed = {known: until for known, until in self._failed.items() if until > monotonic}
        self._failed[target] = monotonic + AGAIN_SECONDS

    def look(self) -> None:
        """Begin a batch, if it is time and there is one; called when nothing else is to do."""
        monotonic = self._clock.monotonic()
        if monotonic < self.next_at or self._crew.is_sweeping:
            return
        known = sorted(self._ages(monotonic), key=lambda found: -found[0])
        stale = [(target, inodes) for age, inodes, target in known if age > self._stale_seconds]
        entries, oldest = sum(inodes for _, inodes in stale), known[0][0] if known else 0.0
        patience = self._stale_seconds * (1 + PATIENCE_SHARE)
        if stale and (entries >= self._rate * LEAST_SECONDS or oldest > patience):
            self._begin(stale)
            return
        due_in = (patience if stale else self._stale_seconds) - oldest
        self.next_at = monotonic + min(LOOK_ANYWAY_SECONDS, max(LOOK_SECONDS, due_in))

    def _ages(self, monotonic: float) -> Iterator[tuple[float, int, Target]]:
        """How old each size is, how much it is, and whose; one that could never be measured is as old as can be."""
        now = self._clock.time()
        for root in self._roots:
            for folder in root.census.folders():
                target = Target(root, folder.name)
                if self._failed.get(target, -math.inf) <= monotonic:
                    yield now - folder.measured_at, folder.inodes, target

    def _begin(self, stale: Sequence[tuple[Target, int]]) -> None:
        """Have the oldest of one root measured: all roots share one pace."""
        root, left, names = stale[0][0].root, self._rate * MOST_SECONDS, list[str]()
        for target, inodes in stale:
            if target.root is root and left > 0:
                names.append(target.name)
                left -= max(1, inodes)
        self._crew.sweep(root, names)
