"""One budget for all that is measured now and then: so many entries a second together, and each its fair share of it.

It only says whose turn it is; what is measured, and how, is not its business.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from gcsidecar.gc.clock import Clock

K = TypeVar("K")


class Budget(Generic[K]):
    """Shares out entries among those that wait for a turn, to each as many, until it has what its turn costs.

    So small ones have their turns soon and often, and large ones seldom, but always one day (fair queueing, as for
    packets of different lengths). Nothing is saved up while nobody waits. Not thread-safe: its owner guards it.

    Args:
        per_second: Entries a second for all of them together.
        clock: Both clocks.
    """

    def __init__(self, per_second: float, clock: Clock) -> None:
        self._per_second, self._clock = per_second, clock
        self._at = clock.monotonic()
        self._given = 0.0  # to each that has waited since the beginning
        self._turns: dict[K, float] = {}  # how much has to be given for it
        self._queue: list[tuple[float, int, K]] = []
        self._numbers = itertools.count()
        self._ready: deque[K] = deque()
        self._owed: dict[K, float] = {}

    def ask(self, key: K, cost: float) -> None:
        """Wait for a turn that costs so many entries; once more changes nothing."""
        self._give()
        if key in self._turns or key in self._ready:
            return
        turn = self._given + max(1.0, cost + self._owed.pop(key, 0.0))
        self._turns[key] = turn
        heapq.heappush(self._queue, (turn, next(self._numbers), key))

    def take(self) -> K | None:
        """One whose turn it is, or none; it has paid."""
        self._give()
        return self._ready.popleft() if self._ready else None

    def charge(self, key: K, entries: float) -> None:
        """A turn has cost so many more than was paid: they are paid before the next one."""
        if entries > 0:
            self._owed[key] = entries

    def forget(self, key: K) -> None:
        """It waits no longer, and owes nothing."""
        self._turns.pop(key, None)
        self._owed.pop(key, None)
        if key in self._ready:
            self._ready.remove(key)

    def next_at(self) -> float:
        """When somebody's turn comes at the latest (monotonic); infinity while nobody waits."""
        self._give()
        if self._ready:
            return self._at
        if not self._turns:
            return math.inf
        return self._at + (self._queue[0][0] - self._given) * len(self._turns) / self._per_second

    def _give(self) -> None:
        now = self._clock.monotonic()
        left, self._at = (now - self._at) * self._per_second, now
        while self._queue:
            turn, _, key = self._queue[0]
            if self._turns.get(key) != turn:  # it was forgotten
                heapq.heappop(self._queue)
                continue
            needed = (turn - self._given) * len(self._turns)
            if needed > left:
                self._given += left / len(self._turns)
                return
            left, self._given = left - needed, turn
            heapq.heappop(self._queue)
            del self._turns[key]
            self._ready.append(key)
