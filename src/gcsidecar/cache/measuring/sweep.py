"""The sweep: sizes that nobody has renewed for long are measured again, slowly, while nothing else is to do.

It finds them, and gives them to surveyors in batches that are worth a process.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from gcsidecar.cache.measuring.schedule import Target

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gcsidecar.cache.root import Root
    from gcsidecar.cache.spec import MeasureSpec
    from gcsidecar.cache.surveying.surveyors import Surveyors
    from gcsidecar.gc.clock import Clock

# A batch takes at least so long or has so many folders, unless the oldest size has waited for so large a share of
# `stale_after` longer; and at most so long, so that what is new comes in between.
LEAST_SECONDS = 10.0
MOST_FOLDERS = 256
PATIENCE_SHARE = 0.1
MOST_SECONDS = 120.0
# It looks for stale sizes so often at most, and at least.
LOOK_SECONDS = 60.0
LOOK_ANYWAY_SECONDS = 600.0
# What could not be measured is not tried again before.
AGAIN_SECONDS = 3600.0


class _Known(NamedTuple):
    """How old a size is, and how much it is to measure it anew."""

    target: Target
    age_seconds: float
    entries: int


class Sweep:
    """Of the roots of one filesystem. Not thread-safe: the survey's thread has it.

    Args:
        roots: Which.
        spec: What is stale, and how fast it goes.
        surveyors: Who measures.
        clock: Both clocks.
    """

    def __init__(self, roots: Sequence[Root], spec: MeasureSpec, surveyors: Surveyors, clock: Clock) -> None:
        self._roots, self._surveyors, self._clock = tuple(roots), surveyors, clock
        self._stale_seconds = math.inf if spec.stale_after is None else float(spec.stale_after)
        self._rate = spec.sweep_entries_per_second
        self._again_at: dict[Target, float] = {}
        self.next_at = -math.inf if math.isfinite(self._stale_seconds) else math.inf

    def failed(self, target: Target) -> None:
        """It can't be measured now: it is tried again later, and must not hold up the others."""
        self._again_at[target] = self._clock.monotonic() + AGAIN_SECONDS

    def look(self) -> None:
        """Begin a batch, if it is time and there is one; called when nothing else is to do."""
        monotonic = self._clock.monotonic()
        if monotonic < self.next_at or self._surveyors.is_sweeping:
            return
        known = sorted(self._oldest(monotonic), key=lambda found: -found.age_seconds)
        stale = [one for one in known if one.age_seconds > self._stale_seconds]
        oldest_seconds, patience_seconds = (
            known[0].age_seconds if known else 0.0,
            self._stale_seconds * (1 + PATIENCE_SHARE),
        )
        is_much = len(stale) >= MOST_FOLDERS or sum(one.entries for one in stale) >= self._rate * LEAST_SECONDS
        if stale and (is_much or oldest_seconds > patience_seconds):
            self._begin(stale)
            return
        due_in = (patience_seconds if stale else self._stale_seconds) - oldest_seconds
        self.next_at = monotonic + min(LOOK_ANYWAY_SECONDS, max(LOOK_SECONDS, due_in))

    def _oldest(self, monotonic: float) -> Iterator[_Known]:
        """Of each root the oldest sizes that it knows, and what could not be measured the last time."""
        now = self._clock.time()
        for root in self._roots:
            folders = [f for f in root.census.stalest(MOST_FOLDERS) if Target(root, f.name) not in self._again_at]
            if not folders and self._again_at:  # all of the oldest can't be measured
                folders = [f for f in root.census.folders() if Target(root, f.name) not in self._again_at]
            for folder in folders:
                yield _Known(Target(root, folder.name), now - folder.measured_at, folder.inodes)
        self._again_at = {target: at for target, at in self._again_at.items() if target.folder is not None}
        for target, at in self._again_at.items():
            if at <= monotonic:
                yield _Known(target, math.inf, 1)

    def _begin(self, stale: Sequence[_Known]) -> None:
        """Have the oldest of one root measured: all roots share one pace."""
        root, left, names = stale[0].target.root, self._rate * MOST_SECONDS, list[str]()
        for one in stale:
            if one.target.root is root and left > 0:
                names.append(one.target.name)
                self._again_at.pop(one.target, None)
                left -= max(1, one.entries)
        self._surveyors.sweep(root, names)
