"""The ledger: plain numbers that only grow, counted from the values that the work hands over.

Thread-safe, and nothing more: it knows no metric's meaning, no status and no scrape.
"""

from __future__ import annotations

import bisect
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Spread:
    """Observations by size: how many lie in each bucket (not added up; the last one has no bound), and their sum."""

    counts: tuple[int, ...]
    total: float = 0.0

    def with_one(self, value: float, buckets: tuple[float, ...]) -> Spread:
        """The same with one observation more; one that is exactly at a bound lies within it."""
        index = bisect.bisect_left(buckets, value)
        counts = (*self.counts[:index], self.counts[index] + 1, *self.counts[index + 1 :])
        return Spread(counts, self.total + value)


def no_spread(buckets: tuple[float, ...]) -> Spread:
    """No observations yet."""
    return Spread((0,) * (len(buckets) + 1))


@dataclass(slots=True)
class Entry:
    """What one event adds, under (metric, label values); all of it is seen at once, or none."""

    counts: dict[tuple[str, Key], float] = field(default_factory=dict)
    observed: dict[tuple[str, Key], tuple[float, tuple[float, ...]]] = field(default_factory=dict)

    def count(self, name: str, *labels: str, amount: float = 1) -> None:
        """Add to a counter; never less than 0."""
        key = (name, labels)
        self.counts[key] = self.counts.get(key, 0) + max(0, amount)

    def observe(self, name: str, *labels: str, value: float, buckets: tuple[float, ...]) -> None:
        """Note one observation of a histogram."""
        self.observed[name, labels] = (value, buckets)


@dataclass(frozen=True, slots=True)
class Books:
    """A copy of the ledger at one moment: by metric and label values."""

    counts: Mapping[str, Mapping[Key, float]] = field(default_factory=dict)
    spreads: Mapping[str, Mapping[Key, Spread]] = field(default_factory=dict)


class Ledger:
    """Counters and histograms since the start of the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, dict[Key, float]] = {}
        self._spreads: dict[str, dict[Key, Spread]] = {}
        self._followed: dict[tuple[str, Key, str], float] = {}

    def enter(self, entry: Entry) -> None:
        """Add what an event brings."""
        with self._lock:
            for (name, labels), amount in entry.counts.items():
                row = self._counts.setdefault(name, {})
                row[labels] = row.get(labels, 0) + amount
            for (name, labels), (value, buckets) in entry.observed.items():
                spreads = self._spreads.setdefault(name, {})
                spreads[labels] = spreads.get(labels, no_spread(buckets)).with_one(value, buckets)

    def follow(self, name: str, *labels: str, source: str, total: float) -> None:
        """Count by how much a total has grown that `source` keeps itself; one that fell has begun anew, at 0."""
        followed = (name, labels, source)
        with self._lock:
            before = self._followed.get(followed, 0.0)
            self._followed[followed] = total
            row = self._counts.setdefault(name, {})
            row[labels] = row.get(labels, 0) + (total - before if total >= before else total)

    def books(self) -> Books:
        """What has been entered so far."""
        with self._lock:
            return Books(
                {name: dict(row) for name, row in self._counts.items()},
                {name: dict(row) for name, row in self._spreads.items()},
            )
