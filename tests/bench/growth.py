"""By how much each cost grows from 10,000 to 100,000 folders: made from the points of other figures, not measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.row import Point, Row
from bench.samples import written

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FROM, TO = 10_000, 100_000
GOAL = 12.0
# Plot, line in it, what is said of it, its unit, and the line that is its base where only what lies over that grows.
_COSTS = (
    ("restart", "gcsidecar, to ready", "restart to ready", "s", None),
    ("rest", "gcsidecar", "processor time at rest, reconciles included", "%", None),
    ("plan", "gcsidecar, the default thresholds are crossed", "a plan at the default thresholds", "s", None),
    ("plan", "gcsidecar, all must go", "a plan where all must go", "s", None),
    ("memory", "gcsidecar", "RSS over what it has with 1,000 folders", "B", 1_000),
    ("scrape", "gcsidecar, kept alive", "a scrape of the default series", "s", None),
    ("lease", "gcsidecar, p99", "lease file made to gauge changed, p99", "s", None),
)


def rows(points: Iterable[Point]) -> Iterator[Row]:
    """A row for each cost that was measured at both sizes."""
    known = {(point.plot, point.line, point.size): point.value for point in points}
    for plot, line, what, unit, base_size in _COSTS:
        base = 0.0 if base_size is None else known.get((plot, line, base_size))
        before, after = known.get((plot, line, FROM)), known.get((plot, line, TO))
        if base is None or before is None or after is None or before <= base:
            continue
        yield Row(
            f"growth of {what}, {FROM:,} to {TO:,} folders",
            (after - base) / (before - base),
            "x",
            "of medians" if "p99" not in line else "of p99",
            GOAL,
            f"{written(before - base, unit)} to {written(after - base, unit)}",
            key=f"growth-{plot}{'-all' if 'all must' in line else ''}",
        )
