"""The foremost few of very many rows by a key, kept while keys change: no change costs a look at all the others.

A pool of the foremost, and a bound that no row outside of it is before. All are looked at anew only when so many have
left the pool that the bound is reached.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SIZE = 256


class Foremost:
    """Of all rows those with the least keys. Not thread-safe: its owner guards it.

    Args:
        rows: All rows that have a key.
        key: The key of one.
        size: How many are kept at hand, and at least as many as anybody asks for.
    """

    def __init__(self, rows: Callable[[], Iterable[int]], key: Callable[[int], float], size: int = SIZE) -> None:
        self._rows, self._key, self._size = rows, key, size
        self._pool: dict[int, float] = {}
        self._bound: float | None = None  # none: all rows are in the pool

    def changed(self, row: int, key: float | None) -> None:
        """A row has another key, or none."""
        if key is None:
            self._pool.pop(row, None)
        elif row in self._pool or self._bound is None or key < self._bound:
            self._pool[row] = key
            if len(self._pool) > 2 * self._size:
                self._keep(heapq.nsmallest(self._size + 1, self._pool, key=self._pool.__getitem__))

    def first(self, count: int) -> list[int]:
        """The rows with the least keys, in order; of equal ones any."""
        found = self._first(count)
        if count and self._bound is not None and (len(found) < count or self._pool[found[-1]] > self._bound):
            self._bound = None
            rows = heapq.nsmallest(self._size + 1, self._rows(), key=self._key)
            self._pool = {row: self._key(row) for row in rows}
            self._keep(rows)
            found = self._first(count)
        return found

    def least(self) -> float | None:
        """The least key, or none where no row has one."""
        rows = self.first(1)
        return self._pool[rows[0]] if rows else None

    def _first(self, count: int) -> list[int]:
        return heapq.nsmallest(count, self._pool, key=self._pool.__getitem__)

    def _keep(self, rows: list[int]) -> None:
        """Keep these but the last, which is the bound from now on, if there are so many."""
        if len(rows) <= self._size:
            return
        bound = self._pool[rows.pop()]
        self._bound = bound if self._bound is None else min(bound, self._bound)
        self._pool = {row: self._pool[row] for row in rows}
