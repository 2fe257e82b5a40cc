"""Waiting longer after each failure: a minute at first, doubling to an hour."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

FIRST_SECONDS = 60.0
LONGEST_SECONDS = 3600.0


def delay_seconds(failures: int) -> float:
    """How long to wait after so many failures in a row (1 or more)."""
    return min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(failures - 1, 16))


class Backoff:
    """Who failed how often, and until when each is left alone. Not thread-safe: its owner guards it."""

    __slots__ = ("_failed",)

    def __init__(self) -> None:
        self._failed: dict[Hashable, tuple[int, float]] = {}

    def failed(self, key: Hashable, monotonic: float) -> float:
        """Note one more failure; returns when it may be tried again, by the monotonic clock."""
        failures = self._failed.get(key, (0, 0.0))[0] + 1
        until = monotonic + delay_seconds(failures)
        self._failed[key] = (failures, until)
        return until

    def forget(self, key: Hashable) -> None:
        """It succeeded, or is no longer of interest."""
        self._failed.pop(key, None)

    def waiting(self, monotonic: float) -> dict[Hashable, float]:
        """Who is still to be left alone, each with the seconds that are left."""
        return {key: until - monotonic for key, (_, until) in self._failed.items() if until > monotonic}

    def __len__(self) -> int:
        return len(self._failed)
