"""The order in which candidates are to go, whoever has them: those that are registered, and those of sources.

Pure, and read only as far as somebody asks; what goes is for the planner.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gcsidecar.gc.planning import Candidate, Measurements
    from gcsidecar.gc.pressure import Threshold
    from gcsidecar.gc.source import DisposableSource

# What candidates are sorted by.
Order = tuple[int, bool, float, str]


def order(candidate: Candidate, thresholds: Sequence[Threshold], now: float) -> Order:
    """What candidates are sorted by: priority, those of unknown size after all others, last use, key.

    What is known is preferred: else ten would go where one would do. Which thresholds are crossed plays no part, or
    more free space could mean another order, and that more disposals.

    Args:
        candidate: Which.
        thresholds: All there are: only a size that one of them asks for can be missed.
        now: POSIX seconds; a last use in the future counts as now.
    """
    unknown = None in candidate.sizes.values() and any(
        candidate.sizes.get(held.resource, 0) is None and held.group in {None, candidate.group} for held in thresholds
    )
    return candidate.priority, unknown, min(candidate.last_used, now), candidate.key


def _never() -> bool:
    return False


def in_order(
    measurements: Measurements,
    thresholds: Sequence[Threshold],
    now: float,
    far_enough: Callable[[], bool] = _never,
) -> Iterator[Candidate]:
    """All candidates in the order in which they are to go; once that is `far_enough`, only those that are due."""

    def place(candidate: Candidate) -> Order:
        return order(candidate, thresholds, now)

    def of(source: DisposableSource) -> Iterator[Candidate]:
        last: Candidate | None = None
        if not far_enough():
            for candidate in source.candidates(now, thresholds):
                if far_enough():
                    break
                yield candidate
                last = candidate
            else:
                return
        yield from (c for c in source.due(now, thresholds) if last is None or place(c) > place(last))

    listed = sorted((c for c in measurements.candidates if c.due is not None or not far_enough()), key=place)
    registered = (c for c in listed if c.due is not None or not far_enough())
    if not measurements.sources:
        return registered
    supplies = [of(source) for source in measurements.sources]
    if not listed and len(supplies) == 1:
        return supplies[0]
    return heapq.merge(registered, *supplies, key=place)
