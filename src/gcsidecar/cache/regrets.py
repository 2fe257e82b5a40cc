"""Regrets: folders that came back under a name that was evicted not long ago; somebody wanted them after all."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# So many evicted names are remembered; the oldest are forgotten.
MOST_NAMES = 10_000


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


class Regrets:
    """The names that were evicted from one root not long ago. Thread-safe.

    Args:
        root: The name of the root.
        window_seconds: For how long a name is remembered; 0 or none: no return is a regret.
    """

    def __init__(self, root: str, window_seconds: float | None) -> None:
        self._root = root
        self.window_seconds = window_seconds or 0.0
        self._lock = threading.Lock()
        # Oldest first.
        self._evicted: dict[str, tuple[float, int]] = {}

    def evicted(self, name: str, at: float, disk_bytes: int) -> None:
        """A folder of this name was evicted at `at` (POSIX seconds), which took so much."""
        if self.window_seconds:
            with self._lock:
                self._evicted.pop(name, None)
                self._evicted[name] = (at, disk_bytes)
                self._forget_oldest()

    def returned(self, name: str, at: float) -> Regret | None:
        """A folder of this name arrived at `at`: the regret, if it is one."""
        with self._lock:
            evicted_at, disk_bytes = self._evicted.pop(name, (None, 0))
        if evicted_at is None or at - evicted_at > self.window_seconds:
            return None
        return Regret(self._root, name, evicted_at, max(at, evicted_at), disk_bytes)

    def forget(self, name: str) -> None:
        """It is put back by ourselves: nobody had to make it again."""
        with self._lock:
            self._evicted.pop(name, None)

    def remember(self, earlier: Iterable[tuple[str, float, int]]) -> None:
        """Take in what was evicted before this process began, oldest first: names, when, and their bytes."""
        with self._lock:
            known = self._evicted
            self._evicted = {name: (at, disk_bytes) for name, at, disk_bytes in earlier if name not in known} | known
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        while len(self._evicted) > MOST_NAMES:
            del self._evicted[next(iter(self._evicted))]
