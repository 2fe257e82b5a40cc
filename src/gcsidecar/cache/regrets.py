"""Regrets: folders that came back under a name that was evicted not long ago; somebody wanted them after all."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Regret:
    """One folder that returned.

    Attributes:
        root: The name of its root.
        folder: Its name.
        evicted_at: When it was evicted, POSIX seconds.
        returned_at: When its name appeared again, POSIX seconds.
        disk_bytes: What it took when it was evicted, so what had to be fetched or made again; 0 where unknown.
    """

    root: str
    folder: str
    evicted_at: float
    returned_at: float
    disk_bytes: int
